"""Jobs in parallel processes: the launcher that `train --seeds` and `reproduce --jobs` share."""

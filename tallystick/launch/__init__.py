"""Many jobs side by side: the launcher that `train --seeds` and `reproduce --jobs` share."""

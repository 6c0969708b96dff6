"""codefix: repair a codebase of Python functions by running it (paper, section 5)."""

"""How the process gets its memory."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's names (mallopt(3)) for: how much free memory at the heap's end is kept; above which size a block is a map of
its own, given back as soon as it is freed."""
KEPT = 2**30


def keep_freed() -> None:
    """Keep freed memory for the next allocation, where the C library is glibc.

    A training step allocates some hundred tensors of a few megabytes. By default each is mapped afresh, and the kernel
    fills it with zeros page by page: a third of a tiny model's step. At most `KEPT` bytes are kept.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for what in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
        mallopt(what, KEPT)

"""Make glibc malloc retain freed pages."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3): how much free memory is kept at the end of the heap, and the size from which on a block
gets a mapping of its own, which is returned to the kernel when the block is freed."""
RETAINED = 2**30
"""Maximum number of bytes of freed memory that the process keeps."""


def retain_freed_pages() -> None:
    """Keep freed memory for later allocations, if the C library is glibc.

    A training step allocates about a hundred tensors of a few megabytes. By default the kernel maps each anew and
    zeroes it page by page, which takes a third of a tiny model's step.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
        mallopt(parameter, RETAINED)

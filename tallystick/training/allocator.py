"""Make glibc malloc retain freed pages."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""mallopt(3): free memory kept at the end of the heap; block size from which a block is mapped by itself, and so given
back as soon as it is freed."""
RETAINED = 2**30
"""Bytes of freed memory that the process keeps at most."""


def retain_freed_pages() -> None:
    """Keep freed memory for the next allocation, if the C library is glibc.

    A training step allocates some hundred tensors of a few megabytes. By default each is mapped afresh and the kernel
    fills it with zeros page by page, which takes a third of a tiny model's step.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
        mallopt(parameter, RETAINED)

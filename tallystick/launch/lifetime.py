"""Processes that end with their parent."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.process import BaseProcess

PR_SET_PDEATHSIG = 1
"""Option of Linux's prctl(2) that sets the signal sent to a process when its parent dies."""


def die_with_parent() -> None:
    """Make this process die as soon as its parent ends, in whatever way; call it first in a child process.

    On Linux the kernel kills it, even if the parent ended by SIGKILL or this process is busy. There the parent is the
    thread that started this process, so start it from a long-lived thread. Elsewhere a thread waits for the parent.
    """
    parent = multiprocessing.parent_process()
    assert parent, "only a child process has a parent to die with"
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent.pid:  # the parent died before prctl was called
            os._exit(1)
    else:
        threading.Thread(target=_wait_for, args=(parent,), daemon=True).start()


def _wait_for(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)

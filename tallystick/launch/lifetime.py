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
"""Linux: the signal that the kernel sends to a process whose parent has died (prctl(2))."""


def die_with_parent() -> None:
    """Kill this process as soon as its parent ends, however it ends; call it first thing in a child process.

    On Linux the kernel does it, so it works under SIGKILL, too, and while the process computes. The parent is then the
    thread that started this process: start it from a thread that stays. Elsewhere a thread waits for the parent.
    """
    parent = multiprocessing.parent_process()
    assert parent, "only a child process has a parent to die with"
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent.pid:  # it died before the kernel was told
            os._exit(1)
    else:
        threading.Thread(target=_wait_for, args=(parent,), daemon=True).start()


def _wait_for(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)

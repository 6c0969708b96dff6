"""Users of the system that commands run as, so that the host's files and processes are not theirs."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

FIRST_OWN = 0x7000_0000
"""Lowest of the user ids given to one Shell alone: above those of containers, below 2**31, so that nobody has them."""
NOBODY = 65534
CAPABILITIES_VERSION = 0x20080522


def choose(pid: int) -> int | None:
    """Return the user id for the commands of the helper `pid`; None: they keep ours, for only root can change it.

    It belongs to this helper alone. In a user namespace that does not have so many it is that of nobody, if any.
    """
    if os.geteuid() != 0:
        return None
    return next((uid for uid in (FIRST_OWN + pid, NOBODY) if _exists(uid)), None)


def is_own(uid: int | None) -> bool:
    """Tell whether all processes of a user id are those of one Shell."""
    return uid is not None and uid >= FIRST_OWN


def become(uid: int) -> None:
    """Drop root for a user id, and for the group of the same number, for ever."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def drop_capabilities() -> None:
    """Give up what root may do beyond others, which root of a user namespace that has no other user keeps."""
    header = struct.pack("Ii", CAPABILITIES_VERSION, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, bytes(24)):
        raise OSError(ctypes.get_errno(), "the kernel refused to drop capabilities")


def _exists(uid: int) -> bool:
    """Tell whether the user namespace that we are in has a user id."""
    ranges = [map(int, line.split()) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(first <= uid < first + count for first, _, count in ranges)

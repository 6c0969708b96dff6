"""Landlock (Linux): a process gives up access to files, to TCP and to signals beyond its own, for ever.

No privilege is needed. The constants are those of linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System calls, the same on every architecture."""
VERSION = 1
"""Flag of CREATE_RULESET that asks for the version."""
PATH_BENEATH = 1
"""Type of a rule about a folder and all below it."""
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_BLOCK = 1 << 6, 1 << 11
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
BIND_TCP, CONNECT_TCP = 1, 2
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1, 2
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""Rights that a rule about a file, not a folder, may name."""
READ = EXECUTE | READ_FILE | READ_DIR
FIRST_WITH = {"TRUNCATE": 3, "TCP": 4, "IOCTL_DEV": 5, "SCOPE": 6}
"""Versions that brought what earlier ones cannot restrict."""
PR_SET_NO_NEW_PRIVS = 38
_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """Return the version of Landlock in this kernel, 0 if there is none."""
    return max(0, _libc.syscall(CREATE_RULESET, None, 0, VERSION))


def forbid_new_privileges() -> None:
    """Make set-uid programs run without their privileges, in this process and all that it starts."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process (prctl(2))."""
    _check(_libc.prctl(option, value, 0, 0, 0))


def ruleset(read: list[str], write: list[str], devices: list[str]) -> int:
    """Build rules that allow to read and run `read`, everything in the folders `write`, and to use `devices`.

    All other files, TCP, and signals and abstract sockets outside are refused, as far as this kernel's version can.
    Paths that do not exist are passed over. Returns a file descriptor for `restrict`.
    """
    rights = all_rights(version())
    rules = _create(rights, BIND_TCP | CONNECT_TCP, SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS)
    for paths, allowed in (
        (read, READ),
        (write, rights & ~(MAKE_CHAR | MAKE_BLOCK)),
        (devices, READ_FILE | WRITE_FILE | TRUNCATE),
    ):
        for path in filter(os.path.exists, paths):
            _allow(rules, path, allowed & rights)
    return rules


def signal_scope() -> int:
    """Build rules that refuse but one thing: signals to processes that do not descend from those restricted."""
    return _create(0, 0, SCOPE_SIGNALS)


def restrict(rules: int) -> None:
    """Restrict this process and all that it starts from now on by rules from `ruleset`, for ever."""
    _check(_libc.syscall(RESTRICT_SELF, rules, 0))


def all_rights(landlock_version: int) -> int:
    """Return the rights over files that a version of Landlock knows."""
    return (1 << (16 if landlock_version >= 5 else 12 + min(landlock_version, 3))) - 1


def _create(files: int, tcp: int, scope: int) -> int:
    now = version()
    tcp = tcp if now >= FIRST_WITH["TCP"] else 0
    scope = scope if now >= FIRST_WITH["SCOPE"] else 0
    attributes = struct.pack("QQQ", files, tcp, scope)
    return _check(_libc.syscall(CREATE_RULESET, attributes, len(attributes), 0))


def _allow(rules: int, path: str, rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= FILE_RIGHTS
        _check(_libc.syscall(ADD_RULE, rules, PATH_BENEATH, struct.pack("=Qi", rights, fd), 0))
    finally:
        os.close(fd)


def _check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

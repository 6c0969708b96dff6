"""Seccomp (Linux): a filter that refuses system calls which no command of a coding agent needs.

It names what it refuses, and refuses all calls newer than NEWEST, so that a new kernel opens nothing. Programs of
another architecture (32 bits on a kernel of 64) are ended.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NEWEST = 451
"""The highest system call that is let through (cachestat, Linux 6.5)."""
PR_SET_SECCOMP, MODE_FILTER = 22, 2
LOAD, JUMP_EQUAL, JUMP_ABOVE, JUMP_ANY_BIT, AND, RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
ALLOW, KILL = 0x7FFF0000, 0x80000000
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
"""Offsets in the data that a filter looks at (struct seccomp_data)."""
NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""
TERMINAL_INJECTION = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: they type into a terminal."""
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, SOCK_STREAM = 1, 2, 10, 16, 1

# Numbers on x86_64 and aarch64; None: there is no such call.
CALLS: dict[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # mounts and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    # parts of the kernel with a history of holes
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    "modify_ldt": (154, None),
    # the machine itself
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "iopl": (172, None),
    "ioperm": (173, None),
    "vhangup": (153, 58),
    # memory that no limit counts
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
}
SHARED: dict[str, tuple[int | None, int | None]] = {
    # what outlives the command where the host's IPC namespace is shared
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}
BY_PATH: dict[str, tuple[int | None, int | None]] = {
    # changes of mode, owner, times and attributes of a file named by its path: Landlock does not look at them
    "chmod": (90, None),
    "fchmodat": (268, 53),
    "chown": (92, None),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
}
CLONE, CLONE3, IOCTL, SOCKET, SOCKETPAIR, UTIMENSAT = (56, 220), (435, 435), (16, 29), (41, 198), (53, 199), (280, 88)


def supported() -> bool:
    """Tell whether the system calls of this machine's architecture are known."""
    return platform.machine() in ARCHITECTURES


def program(namespaces: bool, own_user: bool) -> bytes:
    """Build the filter. `namespaces`: the command has files, a network and IPC of its own; `own_user`: a user."""
    filters = _Filter(list(ARCHITECTURES).index(platform.machine()))
    filters.refuse(CALLS)
    filters.refuse_if(CLONE, _low(0), [(JUMP_ANY_BIT, NEW_NAMESPACES)])
    filters.refuse_if(IOCTL, _low(1), [(JUMP_EQUAL, request) for request in TERMINAL_INJECTION])
    filters.refuse({"clone3": CLONE3}, errno.ENOSYS)  # its flags lie in memory; the C library falls back to clone
    if namespaces:
        filters.allow_only(SOCKET, _low(0), (AF_UNIX, AF_INET, AF_INET6, AF_NETLINK), errno.EAFNOSUPPORT)
    else:
        filters.refuse({"socket": SOCKET, **SHARED})
        # A pair of any other type than a stream can be connected anew, to a socket of the host.
        filters.allow_only(SOCKETPAIR, _low(1), (SOCK_STREAM,), errno.EPERM, mask=0xF)
    if not namespaces and not own_user:
        filters.refuse(BY_PATH)
        for half in (_low(1), _low(1) + 4):  # the path: without one, the call changes an open file
            filters.refuse_if(UTIMENSAT, half, [(JUMP_ANY_BIT, 0xFFFFFFFF)])
    return filters.assemble()


def install(filter_program: bytes) -> None:
    """Put this process and all that it starts under the filter; new privileges must be forbidden before."""
    code = ctypes.create_string_buffer(filter_program, len(filter_program))
    header = struct.pack("HxxxxxxP", len(filter_program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, header, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel refused the seccomp filter")


class _Filter:
    """A filter under construction: instructions (code, jump if true, jump if false, constant)."""

    def __init__(self, column: int):
        self.column = column
        self.code: list[tuple[int, int, int, int]] = [
            (LOAD, 0, 0, ARCHITECTURE),
            (JUMP_EQUAL, 1, 0, list(ARCHITECTURES.values())[column]),
            (RETURN, 0, 0, KILL),
            (LOAD, 0, 0, NUMBER),
            (JUMP_ABOVE, 0, 1, NEWEST),
            (RETURN, 0, 0, _error(errno.ENOSYS)),
        ]

    def refuse(self, calls: dict[str, tuple[int | None, int | None]], error: int = errno.EPERM) -> None:
        for numbers in calls.values():
            number = numbers[self.column]
            if number is not None:
                self.code += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, _error(error))]

    def refuse_if(self, call: tuple[int, int], offset: int, tests: list[tuple[int, int]]) -> None:
        """Refuse a call if the word at `offset` passes one of the tests."""
        body = [(LOAD, 0, 0, offset)]
        for test, value in tests:
            body += [(test, 0, 1, value), (RETURN, 0, 0, _error(errno.EPERM))]
        self._when(call, body)

    def allow_only(
        self, call: tuple[int, int], offset: int, values: tuple[int, ...], error: int, mask: int = 0xFFFFFFFF
    ) -> None:
        """Refuse a call unless the word at `offset`, under the mask, is among the values."""
        body = [(LOAD, 0, 0, offset), (AND, 0, 0, mask)]
        body += [(JUMP_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
        self._when(call, [*body, (RETURN, 0, 0, _error(error))])

    def _when(self, call: tuple[int, int], body: list[tuple[int, int, int, int]]) -> None:
        """Run `body` for one call alone, then load the call's number again."""
        self.code += [(JUMP_EQUAL, 0, len(body) + 1, call[self.column]), *body, (LOAD, 0, 0, NUMBER)]

    def assemble(self) -> bytes:
        return b"".join(struct.pack("HBBI", *instruction) for instruction in [*self.code, (RETURN, 0, 0, ALLOW)])


def _low(argument: int) -> int:
    """Return the offset of an argument's low half; its high half follows (both architectures are little-endian)."""
    return ARGUMENTS + 8 * argument


def _error(number: int) -> int:
    return 0x00050000 | number

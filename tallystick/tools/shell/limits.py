"""Limits on what one command may use, and the watch over them."""

from __future__ import annotations

import math
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
RESERVE = 1 << 30
"""Bytes of the disk that are always left free: below that, commands are ended."""
SHARE = 20
"""How many times as long as a look at all files took no other is taken."""


@dataclass(frozen=True)
class Limits:
    """Resources that one command may use."""

    memory: int = 2 << 30
    """Bytes of address space of a process, and of resident memory of all the command's processes together."""
    processes: int = 256
    file_size: int = 256 << 20
    """Bytes of the largest file that can be written."""
    disk: int = 1 << 30
    """Bytes that commands may add to the copy, and that all its files may have together to be read by `files`."""
    files: int = 50_000
    """Files and folders that commands may add."""
    open_files: int = 1024


def apply(limits: Limits, timeout: float, others: int) -> None:
    """Set the kernel's limits on this process; `others`: threads that already run under the same user."""
    seconds = math.ceil(timeout) + 1
    for kind, most in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_NPROC, limits.processes + others),
        (resource.RLIMIT_FSIZE, limits.file_size),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def threads_of(uid: int) -> int:
    """Count the threads that run under a user: RLIMIT_NPROC counts them, too."""
    count = 0
    for pid in _pids():
        try:
            if os.lstat(f"/proc/{pid}").st_uid == uid:
                count += os.lstat(f"/proc/{pid}/task").st_nlink - 2
        except OSError:  # it ended in the meantime
            continue
    return count


def descendants(pid: int) -> dict[int, int]:
    """Map the descendants of a process, parents first, to their resident memory in bytes."""
    parents, memory = {}, {}
    for other in _pids():
        try:
            fields = Path(f"/proc/{other}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:  # it ended in the meantime
            continue
        parents[other], memory[other] = int(fields[1]), int(fields[21]) * PAGE
    found, new = {}, {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new}
        found |= {child: memory[child] for child in new}
    return found


def _pids() -> list[int]:
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]


class Watch:
    """Says when a command goes beyond limits that the kernel does not set: those of all its processes together."""

    def __init__(self, limits: Limits, folder: str):
        self.limits, self.folder = limits, folder
        self._before: tuple[int, int] | None = None
        self._next_look = 0.0

    def start(self) -> None:
        """Take note, before the first command, of what the folder takes up."""
        if self._before is None:
            self._before = usage(self.folder)

    def excess(self) -> str:
        """Describe the limit that the command has gone beyond, or return ""."""
        processes = descendants(os.getpid())
        if len(processes) > self.limits.processes:
            return f"more than {self.limits.processes} processes"
        if sum(processes.values()) > self.limits.memory:
            return f"more than {self.limits.memory >> 20} MiB of memory"
        if _free(self.folder) < RESERVE:
            return f"less than {RESERVE >> 20} MiB left on the disk"
        return self._usage_excess() if time.monotonic() > self._next_look else ""

    def _usage_excess(self) -> str:
        """Look at all files; the more there are, the longer it is until the next look."""
        assert self._before, "start comes first"
        began = time.monotonic()
        space, files = (now - before for now, before in zip(usage(self.folder), self._before, strict=True))
        self._next_look = time.monotonic() + SHARE * (time.monotonic() - began)
        if space > self.limits.disk:
            return f"more than {self.limits.disk >> 20} MiB of disk"
        return f"more than {self.limits.files} files" if files > self.limits.files else ""


def _free(folder: str) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def usage(folder: str) -> tuple[int, int]:
    """Return the space and the number of the files and folders below a folder."""
    space = files = 0
    for path, folders, names in os.walk(folder):
        for name in (*folders, *names):
            files += 1
            try:
                space += os.lstat(f"{path}/{name}").st_blocks * 512
            except OSError:  # it was removed in the meantime, or its path is too long
                continue
    return space, files

"""Files that are replaced whole or not at all, and locks on them."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)
"""Error numbers of file systems, some network ones, that do not support locks."""


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` write a file beside `path`, then rename it: a reader sees either the old file or the new one.

    Raises OSError if that fails; the old file is then untouched.
    """
    _check_replaceable(path)
    with writing(path):
        beside = beside_name(path)
        try:
            beside.touch()
            mode = beside.stat().st_mode  # the umask's: safetensors makes its files private
            write(beside)
            beside.chmod(mode)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def make_folder(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a folder beside `path`, then rename it: either the whole folder is there or none.

    Raises OSError if that fails.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = beside_name(path)
        beside.mkdir()
    try:
        write(beside)
        with writing(path):
            beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make an OSError raised in the block say which path cannot be written, and why."""
    try:
        yield
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error


def beside_name(path: Path) -> Path:
    """Return a temporary name beside `path`, after removing temporary files that killed processes have left."""
    prefix = f".{path.name}."
    for left in path.parent.iterdir():
        pid = left.name.removeprefix(prefix)
        if left.name.startswith(prefix) and pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    return path.with_name(f"{prefix}{os.getpid()}")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's process
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write or replace a text file."""
    replace_file(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write or replace a JSON file. Raises ValueError for NaN and infinities, which JSON does not have."""
    write_text(path, to_json(value) + "\n")


def to_json(value: object) -> str:
    """Return a value as JSON text. Raises ValueError for NaN and infinities, which JSON does not have."""
    return json.dumps(value, indent=1, allow_nan=False)


def parse_json(text: str) -> Any:
    """Read a JSON document. Raises ValueError for anything else: NaN and infinities, or too deep a nesting, too."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


def check_writable(path: Path) -> None:
    """Check, before the work, that a file can be written there. Raises OSError."""
    _check_replaceable(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}; create it, or choose another path")
    with writing(path):
        beside = beside_name(path)
        beside.touch()
        beside.unlink(missing_ok=True)


def _check_replaceable(path: Path) -> None:
    """Raise OSError for what must not be replaced by a file: a folder, or a device, which root could replace."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the name of a file")
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} is a device or pipe: give the name of a file")


def check_makable(path: Path) -> None:
    """Check, before the work, that a file or folder can be made there, with the folders that lead to it."""
    first = path
    while not first.parent.exists():
        first = first.parent
    check_writable(first)


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Lock a file or folder; yield whether the lock was obtained, always True with `wait`.

    The lock is released when the process ends, in whatever way. On a file system without locks it is always obtained.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield _lock(descriptor, wait)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True

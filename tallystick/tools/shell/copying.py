"""Throw-away copies of repositories: files in, files out."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path


def copy(repo: str | os.PathLike[str] | Mapping[str, str], target: str) -> list[str]:
    """Copy a folder, or write the files of a mapping, into the empty folder `target`.

    Returns the names of what a folder holds but the copy does not: sockets, pipes, devices, and links out of it.
    """
    if isinstance(repo, Mapping):
        _write(repo, target)
        return []
    source = os.path.realpath(repo)
    if not Path(source).is_dir():
        raise ValueError(f"{os.fspath(repo)!r} is not a folder; a shell needs one, or a mapping of file names to text")
    if _below(os.path.realpath(target), source):
        raise ValueError(f"{os.fspath(repo)!r} holds the folder for temporary files; set TMPDIR to one outside it")
    left_out: list[str] = []
    try:
        _copy_folder(source, target, source, left_out)
    except OSError as error:
        raise ValueError(f"cannot copy {os.fspath(repo)!r}: {error}") from None
    return sorted(left_out)


def _copy_folder(source: str, target: str, root: str, left_out: list[str]) -> None:
    for entry in os.scandir(source):
        path = f"{target}/{entry.name}"
        if entry.is_symlink():
            link = link_within(entry.path, root)
            if link is not None:
                Path(path).symlink_to(link)
                continue
        elif entry.is_dir():
            Path(path).mkdir()
            _copy_folder(entry.path, path, root, left_out)
            continue
        elif entry.is_file():
            _copy_file(entry, path)
            continue
        left_out.append(os.path.relpath(entry.path, root))


def _copy_file(entry: os.DirEntry[str], path: str) -> None:
    shutil.copyfile(entry.path, path)
    status = entry.stat()
    Path(path).chmod(status.st_mode & 0o777)  # without the set-uid bits
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def link_within(path: str, root: str) -> str | None:
    """Return what a symlink says, relative if it was absolute; None if it leads out of `root`."""
    link, folder = str(Path(path).readlink()), str(Path(path).parent)
    goal = os.path.realpath(path)
    if not _below(goal, root):
        return None
    if not link.startswith("/") and _below(os.path.normpath(f"{folder}/{link}"), root):
        return link
    return os.path.relpath(goal, folder)


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root + os.sep)


def _write(files: Mapping[str, str], target: str) -> None:
    for name, text in files.items():
        parts = name.split("/")
        if "\0" in name or any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"{name!r} is not the name of a file in the copy; use a relative path such as 'src/a.py'")
        path = Path(target, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
        except (OSError, UnicodeError) as error:
            raise ValueError(f"cannot write the file {name!r}: {error}") from None


def read(folder: str, limit: int) -> dict[str, str]:
    """Read the regular files below a folder: names, in order, to text; bytes that are not UTF-8 become surrogates.

    Symlinks, pipes and the like are passed over, for what wrote them is not trusted. Raises OSError where all files
    together are longer than `limit` bytes.
    """
    make_accessible(folder)
    lengths = _regular(folder)
    if sum(lengths.values()) > limit:
        raise OSError(errno.EFBIG, f"the files of the copy have more than {limit >> 20} MiB together")
    return {name: _text(f"{folder}/{name}") for name in sorted(lengths)}


def _regular(folder: str) -> dict[str, int]:
    """Map the names of the regular files below a folder to their lengths."""
    lengths = {}
    for path, _, files in os.walk(folder, onerror=_raise):
        for name in files:
            status = os.lstat(f"{path}/{name}")
            if stat.S_ISREG(status.st_mode):
                lengths[os.path.relpath(f"{path}/{name}", folder)] = status.st_size
    return lengths


def _text(path: str) -> str:
    return Path(path).read_bytes().decode("utf-8", "surrogateescape")


def make_accessible(folder: str) -> None:
    """Undo every `chmod` that would keep us out of a folder or of what is below it."""
    _let_us_in(folder)
    for path, folders, files in os.walk(folder, onerror=_raise):
        for name in (*folders, *files):
            _let_us_in(f"{path}/{name}")


def _let_us_in(path: str) -> None:
    mode = os.lstat(path).st_mode
    least = 0o700 if stat.S_ISDIR(mode) else 0o400
    if not stat.S_ISLNK(mode) and mode & least != least:
        Path(path).chmod(stat.S_IMODE(mode) | least)


def _raise(error: OSError) -> None:
    raise error


def give(folder: str, uid: int) -> None:
    """Make a user the owner of a folder and of all below it."""
    os.chown(folder, uid, uid)
    for path, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(f"{path}/{name}", uid, uid, follow_symlinks=False)

"""Changes of a folder: which files differ from how they were, as a list, as a diff of git's form, or carried over."""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tallystick.tools.shell import copying
from tallystick.tools.shell.results import lines

LINK = "120000"
"""A link's mode."""
LONGEST = 4 << 20
"""Bytes of the longest file that is compared line by line."""


@dataclass(frozen=True)
class Entry:
    """A file or symbolic link, as it was when it was looked at."""

    mode: str
    """As git has it: 100644, 100755 for a program, 120000 for a link."""
    digest: bytes
    """SHA-256 of a file's bytes; what a link says."""
    stamp: tuple[int, ...] = field(compare=False)
    """What changes whenever the file does; the bytes need not be read again while it is the same."""


Entries = dict[str, Entry]
"""The files and links of a folder by name."""


@dataclass(frozen=True)
class Change:
    """A file or link that is no longer as it was."""

    name: str
    before: Entry | None
    after: Entry | None

    @property
    def kind(self) -> str:
        """One word: added, removed or changed."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"

    @property
    def parts(self) -> list[Change]:
        """Itself, or a removal and an addition where a file has become a link, or a link a file."""
        modes = {entry.mode for entry in (self.before, self.after) if entry}
        if len(modes) == 2 and LINK in modes:
            return [Change(self.name, self.before, None), Change(self.name, None, self.after)]
        return [self]


def look(folder: str, known: Entries | None = None) -> Entries:
    """Read all files and links below a folder, but for those that are `known` and have the same stamp.

    Pipes, devices and what cannot be read, or is removed in the meantime, are passed over.
    """
    found: Entries = {}
    for path, folders, files in os.walk(folder):
        for base in (*files, *folders):
            name = os.path.relpath(f"{path}/{base}", folder)
            try:
                entry = _entry(f"{path}/{base}", (known or {}).get(name))
            except OSError:
                continue
            if entry:
                found[name] = entry
    return found


def _entry(path: str, known: Entry | None) -> Entry | None:
    status = os.lstat(path)
    stamp = (status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if known and known.stamp == stamp:
        return known
    if stat.S_ISLNK(status.st_mode):
        return Entry(LINK, os.fsencode(Path(path).readlink()), stamp)
    if not stat.S_ISREG(status.st_mode):
        return None
    mode = "100755" if status.st_mode & 0o100 else "100644"
    with Path(path).open("rb") as file:
        return Entry(mode, hashlib.file_digest(file, "sha256").digest(), stamp)


def compare(before: Entries, after: Entries) -> list[Change]:
    """List what differs, by name."""
    names = sorted({*before, *after})
    return [Change(n, before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)]


def diff(changes: list[Change], old: str, new: str) -> Iterator[str]:
    """Yield the lines of a unified diff between two folders, as `git apply` and `patch -p1` read it."""
    for change in changes:
        for part in change.parts:
            yield from _head(part)
            yield from _body(part, _text(part.before, f"{old}/{part.name}"), _text(part.after, f"{new}/{part.name}"))


def _head(change: Change) -> Iterator[str]:
    a, b = quoted(f"a/{change.name}"), quoted(f"b/{change.name}")
    yield f"diff --git {a} {b}\n"
    if change.before is None and change.after:
        yield f"new file mode {change.after.mode}\n"
    elif change.after is None and change.before:
        yield f"deleted file mode {change.before.mode}\n"
    elif change.before and change.after and change.before.mode != change.after.mode:
        yield f"old mode {change.before.mode}\nnew mode {change.after.mode}\n"


def _body(change: Change, old: str | None, new: str | None) -> Iterator[str]:
    before = quoted(f"a/{change.name}") if change.before else "/dev/null"
    after = quoted(f"b/{change.name}") if change.after else "/dev/null"
    if old is None or new is None:
        yield f"Binary files {before} and {after} differ\n"
        return
    a, b = (f"{name}\t" if " " in name and name[0] != '"' else name for name in (before, after))
    for line in difflib.unified_diff(lines(old), lines(new), a, b):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _text(entry: Entry | None, path: str) -> str | None:
    """Return the text of a file, or what a link says; None if it is not text, or too long to be compared."""
    if entry is None:
        return ""
    data = entry.digest if entry.mode == LINK else Path(path).read_bytes()
    if b"\0" in data or len(data) > LONGEST:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def quoted(name: str) -> str:
    """Return a file's name as git writes it: between quotes, with escapes, if it has unusual characters."""
    if name.isprintable() and not {'"', "\\"} & {*name}:
        return name
    return '"' + "".join(map(_escaped, os.fsencode(name).decode("latin-1"))) + '"'


def _escaped(byte: str) -> str:
    if byte in '"\\':
        return f"\\{byte}"
    return byte if 32 <= ord(byte) < 127 else f"\\{ord(byte):03o}"


def carry_over(changes: list[Change], source: str, target: str) -> None:
    """Make the changes, which the folder `source` has, in the folder `target`.

    Raises ValueError, before anything is written, if a file there is no longer as it was or lies behind a link, or if
    a link would lead out of the folder.
    """
    for change in changes:
        _check(change, source, target)
    for change in changes:
        if change.after is None:
            _remove(target, change.name)
    for change in changes:
        if change.after:
            _replace(f"{source}/{change.name}", Path(target, change.name), change.after)


def _check(change: Change, source: str, target: str) -> None:
    path, shown = Path(target, change.name), quoted(change.name)
    links = [parent for parent in list(path.parents)[: change.name.count("/")] if parent.is_symlink()]
    if links:
        raise ValueError(f"{shown} lies behind the link {links[0]}, so nothing is written; use -o for a copy")
    if change.after and change.after.mode == LINK and copying.link_within(f"{source}/{change.name}", source) is None:
        raise ValueError(f"{shown} is a link that leads out of the folder, so nothing is written; use -o for a copy")
    now = _entry(str(path), None) if os.path.lexists(path) and not path.is_dir() else None
    linked = now and change.before and now.mode == change.before.mode == LINK  # the copy's may be another text
    if now != change.before and not linked:
        raise ValueError(f"{shown} is no longer as it was when it was copied, so nothing is written; use -o for a copy")


def _remove(folder: str, name: str) -> None:
    """Remove a file, and the folders that are then empty."""
    path = Path(folder, name)
    path.unlink()
    for parent in list(path.parents)[: name.count("/")]:
        if any(parent.iterdir()):
            break
        parent.rmdir()


def _replace(source: str, path: Path, entry: Entry) -> None:
    """Copy a file or link over another, or where there is none; a file keeps its owner and rights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.lstat() if path.exists() and not path.is_symlink() else None
    beside = path.with_name(f".tallystick-{os.getpid()}")
    shutil.copy(source, beside, follow_symlinks=False)
    if entry.mode != LINK and old:
        with suppress(PermissionError):
            os.chown(beside, old.st_uid, old.st_gid)
        rights = stat.S_IMODE(old.st_mode) & ~0o111
        beside.chmod(rights | (rights & 0o444) >> 2 if entry.mode == "100755" else rights)
    beside.replace(path)

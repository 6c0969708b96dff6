"""The result of one simple command, and helpers that all commands share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

UNCERTAIN = "\0"
"""Stands for text that differs between Python versions. A command line that would show it is Unknown."""


class Unknown(Exception):
    """A command line that the fast shell does not know, so that it cannot say what the real one would print."""


class Result(NamedTuple):
    """A simple command's output and exit status."""

    stdout: str = ""
    stderr: str = ""
    returncode: int = 0


def lines(text: str) -> list[str]:
    """Split at newlines alone; each line keeps its own."""
    whole = text.split("\n")
    rest = whole.pop()
    kept = [line + "\n" for line in whole]
    return [*kept, rest] if rest else kept


def read(files: Mapping[str, str], names: tuple[str, ...], complaint: str) -> tuple[dict[str, str], str]:
    """Look up files: those that exist, and an error message for each that does not, as `complaint` has it."""
    for name in names:
        if name == "-" or "/" in name:
            raise Unknown(f"the file {name}")
    found = {name: files[name] for name in names if name in files}
    missing = [name for name in names if name not in files]
    return found, "".join(f"{complaint.format(name)}: No such file or directory\n" for name in missing)

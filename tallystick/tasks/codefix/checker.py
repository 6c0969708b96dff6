"""Judge a repair by running the code: it must print what the code without bugs prints, and not only by accident."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tallystick.tasks.codefix.bugs import Case
from tallystick.tools.shell import Ran, python
from tallystick.tools.shell.results import Unknown

Execute = Callable[[Mapping[str, str]], Ran]
"""Runs `python main.py` on files in a sandbox."""

_CONSTANT = re.compile(r"\b(v[0-9]+)( ?= ?)([0-9]+)\b")


@dataclass(frozen=True)
class Verdict:
    """What a repair is worth."""

    passed: bool
    """Whether the code prints what it should."""
    only_relevant: bool
    """Whether no other file was changed, added or removed than those that had to be changed."""
    reason: str
    """Why the code does not pass; else empty."""
    changed: tuple[str, ...]
    """The files that were changed, added or removed."""


def judge(case: Case, files: Mapping[str, str], execute: Execute | None = None) -> Verdict:
    """Judge the files that are left: they must print what the reference prints, also with other constants in both.

    execute: runs code that goes beyond the part of Python that is interpreted here; None: such code does not pass.
    """
    reason = "" if files == case.reference else _fault(case.reference, files, execute)
    return Verdict(not reason, only_relevant(case, files), reason, changed(case, files))


def changed(case: Case, files: Mapping[str, str]) -> tuple[str, ...]:
    """The files that were changed, added or removed."""
    return tuple(sorted(name for name in {*files, *case.files} if files.get(name) != case.files.get(name)))


def only_relevant(case: Case, files: Mapping[str, str]) -> bool:
    """Whether no other files were changed than those that had to be."""
    return {*changed(case, files)} <= case.relevant


def _fault(reference: Mapping[str, str], files: Mapping[str, str], execute: Execute | None) -> str:
    """What is wrong with the code; else empty."""
    reason = _compare(reference, files, execute)
    if not reason and _compare(_shift(reference), _shift(files), execute):
        return "prints what it should only for the constants that it has"
    return reason


def _compare(reference: Mapping[str, str], files: Mapping[str, str], execute: Execute | None) -> str:
    """What is wrong with the output, compared with the reference's; else empty."""
    wanted = python.run(reference, "main.py", "/repo")
    assert wanted.returncode == 0, "the reference runs"
    try:
        result = python.run(files, "main.py", "/repo")
        output, returncode = result.stdout, result.returncode
    except Unknown as unknown:
        if execute is None:
            return f"cannot be interpreted: {unknown}"
        ran = execute(files)
        output, returncode = ran.output, ran.returncode
    if returncode:
        return "ends with an error"
    return "" if output == wanted.stdout else "does not print what it should"


def _shift(files: Mapping[str, str]) -> dict[str, str]:
    """Change the constants that variables are given, each file's and variable's by a number of its own.

    A value that was copied to another file, or printed as a literal, is then no longer the right one.
    """

    def shift(name: str, text: str) -> str:
        def other(found: re.Match[str]) -> str:
            return f"{found[1]}{found[2]}{int(found[3]) + 1 + zlib.crc32(f'{name} {found[1]}'.encode()) % 997}"

        return _CONSTANT.sub(other, text)

    return {name: shift(name, text) for name, text in files.items()}

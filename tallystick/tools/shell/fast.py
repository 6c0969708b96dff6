"""An in-process shell for making trajectories: it prints what bash and its tools would print, without a process.

It interprets command lines of simple commands joined by `&&`, `||`, `;` and `|`, with quotes, file name patterns and
`2>&1`. What it does not know it refuses with Unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from tallystick.tools.shell import Ran, coreutils, python
from tallystick.tools.shell.grep import grep
from tallystick.tools.shell.results import UNCERTAIN, Result, Unknown
from tallystick.tools.shell.sed import sed

__all__ = ["FastShell", "Unknown"]

_COMMANDS: dict[str, Callable[[dict[str, str], tuple[str, ...], str | None], Result]] = {
    "cat": coreutils.cat,
    "echo": coreutils.echo,
    "grep": grep,
    "head": coreutils.head,
    "ls": coreutils.ls,
    "sed": sed,
    "sort": coreutils.sort,
    "tac": coreutils.tac,
    "tail": coreutils.tail,
    "wc": coreutils.wc,
}
_PART = r"""[^\s'"|&;<>()$`\\#*?{}~!\[\]]|'[^']*'|"[^"$`\\!]*"|[*?]"""
_TOKEN = re.compile(rf" *(?:(?P<operator>&&|\|\||;|\||2>&1(?![^ |&;]))|(?P<word>(?:{_PART})+)) *")


class Word(NamedTuple):
    """One word of a command; pattern: a regular expression of file names, where it has * or ? outside of quotes."""

    text: str
    pattern: re.Pattern[str] | None


class Stage(NamedTuple):
    """A simple command of a pipeline; merged: its errors go into its output."""

    words: tuple[Word, ...]
    merged: bool
    plain: tuple[str, ...]
    """The words' texts; empty where one of them is a pattern."""


class Pipeline(NamedTuple):
    """Simple commands joined by |, and the operator that stands before."""

    operator: str
    stages: tuple[Stage, ...]


class FastShell:
    """A shell on files in memory: a folder without subfolders, of text files without the character NUL.

    root: the folder as a traceback shows it.
    """

    def __init__(self, files: Mapping[str, str], root: str = "/repo"):
        self._files = dict(files)
        self._python = python.Interpreter(root)

    def run(self, command: str) -> Ran:
        """Run a command line. Raises Unknown for one that this shell does not know; the files may then be changed."""
        output, returncode = "", 0
        for operator, stages in parse(command):
            if operator == ";" or (returncode == 0) == (operator == "&&"):
                stdout, stderr, returncode = self._pipeline(stages)
                output += stdout + stderr
        if UNCERTAIN in output:
            raise Unknown("output that depends on the Python version")
        return Ran(output, returncode)

    def files(self) -> dict[str, str]:
        """Copy the files as they are now."""
        return dict(self._files)

    def close(self) -> None:
        """Release what the last run has loaded."""
        self._python.close()

    def __enter__(self) -> FastShell:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _pipeline(self, stages: tuple[Stage, ...]) -> Result:
        stdin: str | None = None
        result = Result()
        for i, stage in enumerate(stages):
            result = self._stage(stage, stdin)
            if i < len(stages) - 1:
                if result.stderr:
                    raise Unknown("an error message beside a pipe")
                stdin = result.stdout
        return result

    def _stage(self, stage: Stage, stdin: str | None) -> Result:
        words = stage.plain or tuple(text for word in stage.words for text in self._expand(word))
        name, arguments = words[0], words[1:]
        if name == "python":
            if len(arguments) != 1:
                raise Unknown(f"python {' '.join(arguments)}")
            result = self._python.run(self._files, arguments[0])
        elif name in _COMMANDS:
            if stdin and UNCERTAIN in stdin and name != "grep":
                raise Unknown("text that depends on the Python version")
            result = _COMMANDS[name](self._files, arguments, stdin)
            if result.stdout and result.stderr:
                raise Unknown("output and errors in an order that depends on buffers")
        else:
            raise Unknown(f"the command {name}")
        return Result(result.stdout + result.stderr, "", result.returncode) if stage.merged else result

    def _expand(self, word: Word) -> list[str]:
        """Replace a pattern by the names of the files that it matches, if any does."""
        if word.pattern is None:
            return [word.text]
        matches = word.pattern.fullmatch
        return sorted(name for name in self._files if matches(name)) or [word.text]


def parse(command: str) -> list[Pipeline]:
    """Split a command line into pipelines. Raises Unknown for what is not among the syntax known here."""
    parts = command.split(" && ")
    if len(parts) > 1:
        try:  # agents repeat parts of command lines; a part that is cut within quotes is Unknown
            return [pipeline for i, part in enumerate(parts) for pipeline in _parse(part, "&&" if i else ";")]
        except Unknown:
            pass
    return [*_parse(command)]


@lru_cache(1024)
def _parse(command: str, operator: str = ";") -> tuple[Pipeline, ...]:
    """Split a command line, or a part of one, into pipelines; operator: what stands before."""
    pipelines: list[Pipeline] = []
    stages: list[Stage] = []
    words: list[Word] = []
    merged = False
    for sign, text in [*_tokens(command), (";", "")]:
        if sign == "2>&1":
            merged = True
        elif sign:
            if not words:
                raise Unknown(f"the command line {command}")
            plain = () if any(word.pattern for word in words) else tuple(word.text for word in words)
            stages.append(Stage(tuple(words), merged, plain))
            words, merged = [], False
            if sign != "|":
                pipelines.append(Pipeline(operator, tuple(stages)))
                stages, operator = [], sign
        elif merged:
            raise Unknown(f"the command line {command}")
        else:
            words.append(_word(text))
    return tuple(pipelines)


def _tokens(command: str) -> list[tuple[str, str]]:
    """(operator, "") or ("", word)."""
    tokens = []
    end = 0
    for found in _TOKEN.finditer(command):
        if found.start() != end:
            break
        tokens.append((found["operator"] or "", found["word"] or ""))
        end = found.end()
    if end < len(command):
        raise Unknown(f"the command line {command}")
    return tokens


@lru_cache(1024)
def _word(text: str) -> Word:
    parts = re.findall(_PART, text)
    plain = "".join(part[1:-1] if part[0] in "'\"" else part for part in parts)
    if not any(part in "*?" for part in parts):
        return Word(plain, None)
    start = r"(?!\.)" if text[0] in "*?" else ""  # no name that begins with a dot
    shapes = [
        {"*": "[^/]*", "?": "[^/]"}.get(part) or re.escape(part[1:-1] if part[0] in "'\"" else part) for part in parts
    ]
    return Word(plain, re.compile(start + "".join(shapes)))

"""Print to the terminal: results on stdout, everything else on stderr; tokens coloured by role."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

import numpy as np
from rich.console import Console
from rich.text import Text

from tallystick.episode import MARKS, Role
from tallystick.tasks import Task
from tallystick.tools import BASH, split_answer
from tallystick.trajectory import cut

NEWLINE = "\n"
WIDTH = 80 if os.environ.get("COLUMNS") == "0" else None
"""Width of the terminal where COLUMNS=0, on which rich would print nothing; None: rich finds it out."""
STYLES = {
    Role.PROMPT: "bold",
    Role.THOUGHT: "green",
    Role.COMMAND: "blue",
    Role.OBSERVATION: "dim",
    Role.OUTPUT: "bold magenta",
    Role.NOTE: "yellow",
}
DIFF_STYLES = {"+++": "bold", "---": "bold", "diff ": "bold", "@@": "cyan", "+": "green", "-": "red"}
SHELL_MARKS = ("[call]", "[/call]", "[obs]", "[/obs]")
VISIBLE = str.maketrans({" ": "␣", "\n": "⏎", "\t": "⇥"})


class Results(Console):
    """A console for results: it prints on stdout, also while `alone` keeps everything else away from it."""

    _kept: TextIO | None = None

    @property
    def file(self) -> TextIO:
        """The stream of results."""
        return self._kept or sys.stdout

    def on_broken_pipe(self) -> None:
        """Raise, so that `main` ends the command; rich would exit with 1."""
        raise BrokenPipeError

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep stdout for results: everything else that is printed, as by a task's own code, goes to stderr."""
        self._kept = sys.stdout
        try:
            with redirect_stdout(sys.stderr):
                yield
        finally:
            self._kept = None


OUT, ERR = Results(highlight=False, width=WIDTH), Console(stderr=True, highlight=False, width=WIDTH)


def result(text: str) -> None:
    """Print a result without formatting."""
    print(text, file=OUT.file)


def visible(token: str) -> str:
    """Return a token with spaces, newlines and tabs as ␣, ⏎ and ⇥, and other unprintable characters escaped."""
    shown = token.translate(VISIBLE)
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in shown)


def visible_line(tokens: Iterable[str]) -> str:
    """Join tokens by spaces into one line, each made `visible`."""
    return " ".join(map(visible, tokens))


def printable(text: str) -> str:
    """Return a text of several lines with its unprintable characters, such as a terminal's commands, escaped."""
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


def coloured(ids: np.ndarray, roles: np.ndarray, task: Task) -> Text:
    """Colour a stretch of an episode by role: symbols with spaces between, or a text task's texts, line by line."""
    text = Text()
    for role, symbols in cut(ids, roles, task.vocab.tokens):
        shown = _as_text(role, list(symbols), task) if task.text else f"{visible_line(symbols)} "
        text.append(shown, STYLES[role])
    return text


def _as_text(role: Role, symbols: list[str], task: Task) -> str:
    """Return a segment as text that ends its line, without marks; a command has a prompt before it.

    A return code is told where it is not 0.
    """
    text = printable(task.format([word for word in symbols if word not in (*MARKS, *SHELL_MARKS)]))
    if role == Role.COMMAND:
        text = f"$ {text.removeprefix(BASH)}"
    elif role == Role.OBSERVATION:
        code, text = split_answer(text)
        if code not in ("0", ""):
            text = f"{text}{_line_end(text)}[return code {code}]"
    elif text and role in (Role.OUTPUT, Role.THOUGHT):
        text = f"{NEWLINE}{text}"
    return text + _line_end(text)


def _line_end(text: str) -> str:
    """Return what ends the text's last line, if it has one that has not ended."""
    return "" if text.endswith(NEWLINE) or not text else NEWLINE


class Trace:
    """A sink that prints an episode on stderr while it runs, coloured by role."""

    def __init__(self, task: Task):
        self._task = task
        self._skip = 1  # [BOS]

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Print a block."""
        ERR.print(coloured(ids[self._skip :], roles[self._skip :], self._task), end="", soft_wrap=True)
        self._skip = 0

    def close(self, ok: bool) -> None:
        """End the line."""
        print(file=sys.stderr)


def coloured_diff(patch: str) -> Text:
    """Colour a unified diff for a terminal."""
    text = Text()
    for line in printable(patch).splitlines(keepends=True):
        text.append(line, next((style for start, style in DIFF_STYLES.items() if line.startswith(start)), ""))
    return text


def plural(number: int, word: str) -> str:
    """Return a number with its word: 1 file, 2 files."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def note(line: str) -> None:
    """Print a line of progress."""
    ERR.print(line, markup=False, soft_wrap=True)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table as a result, its columns aligned to the right and never truncated."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        result("  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)))


def listing(rows: dict[str, str]) -> None:
    """Print names with their descriptions, one line each."""
    width = max(map(len, rows))
    for name, about in rows.items():
        OUT.print(f"{name:<{width}}  {about}", markup=False, soft_wrap=True)

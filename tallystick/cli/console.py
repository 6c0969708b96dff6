"""Print for the terminal: results on stdout, everything else on stderr; tokens coloured by role."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from rich.console import Console
from rich.text import Text

from tallystick.episode import Role
from tallystick.trajectory import cut

OUT, ERR = Console(highlight=False), Console(stderr=True, highlight=False)

STYLES = {
    Role.PROMPT: "bold",
    Role.THOUGHT: "green",
    Role.COMMAND: "blue",
    Role.OBSERVATION: "dim",
    Role.OUTPUT: "bold magenta",
    Role.NOTE: "yellow",
}
VISIBLE = str.maketrans({" ": "␣", "\n": "⏎", "\t": "⇥"})


def visible(token: str) -> str:
    """Return a token with its blanks, newlines and tabs as ␣, ⏎ and ⇥; other unprintable characters are escaped."""
    shown = token.translate(VISIBLE)
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in shown)


def visible_line(tokens: Iterable[str]) -> str:
    """Return tokens in one line with spaces between, each of them `visible`."""
    return " ".join(map(visible, tokens))


def coloured(ids: np.ndarray, roles: np.ndarray, tokens: tuple[str, ...]) -> Text:
    """Return a stretch of an episode coloured by role; tokens: the vocabulary's strings by id."""
    text = Text()
    for role, symbols in cut(ids, roles, tokens):
        text.append(f"{visible_line(symbols)} ", STYLES[role])
    return text


def note(line: str) -> None:
    """Print a line of progress."""
    ERR.print(line, markup=False, soft_wrap=True)


def listing(rows: dict[str, str]) -> None:
    """Print names and what they are, one line each."""
    width = max(map(len, rows))
    for name, about in rows.items():
        OUT.print(f"{name:<{width}}  {about}", markup=False, soft_wrap=True)

"""What the commands print with: results on stdout, everything else on stderr; colours by role."""

from __future__ import annotations

from rich.console import Console

from tallystick.episode import Role

STYLES = {
    Role.PROMPT: "bold",
    Role.THOUGHT: "green",
    Role.COMMAND: "blue",
    Role.OBSERVATION: "dim",
    Role.OUTPUT: "bold magenta",
    Role.NOTE: "yellow",
}


OUT, ERR = Console(highlight=False), Console(stderr=True, highlight=False)


def note(line: str) -> None:
    """A line of progress."""
    ERR.print(line, markup=False, soft_wrap=True)


def listing(rows: dict[str, str]) -> None:
    """A name and what it is, one line each."""
    width = max(map(len, rows))
    for name, about in rows.items():
        OUT.print(f"{name:<{width}}  {about}", markup=False, soft_wrap=True)

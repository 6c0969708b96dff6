"""Turing machines as small text files.

A row is ``STATE READ WRITE L|R NEXT``. A ``*`` to read stands for every symbol that no other row of the state reads;
a ``*`` to write leaves the symbol unchanged. The first row's state is the initial one; a state without rows halts.
``blank SYMBOL`` (default _) names the symbol of unwritten cells; ``answer state`` or ``answer tape`` (default) tells
which the machine answers with at its halt. # begins a comment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MACHINES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.txt")))
DIGITS = "0123456789"
MARKS = ("|", ">")
"""Marks in a prompt, which consists of these, the digits, the tape's symbols and the states."""


@dataclass(frozen=True)
class Machine:
    """A Turing machine."""

    rows: dict[tuple[str, str], tuple[str, str, str]]
    """Rows: (symbol written, L or R, next state) by (state, symbol read), for every symbol of the tape."""
    states: list[str]
    """States that have rows; the first is the initial state."""
    halts: list[str]
    """States without rows."""
    symbols: list[str]
    """Symbols of the tape, including the blank."""
    blank: str
    """Symbol of unwritten cells."""
    answers_tape: bool
    """Whether the answer is read from the tape; otherwise it is the halting state."""


def read(name: str) -> Machine:
    """Read a built-in machine or a user's file. Raises ValueError if it is neither, or does not describe a machine."""
    path = Path(__file__).parent / f"{name}.txt" if name in MACHINES else Path(name)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"unknown machine {name!r}; there are: {', '.join(MACHINES)}, or your own file") from None
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse(text: str) -> Machine:
    """Parse a file's text. Raises ValueError, in one line, if it does not describe a machine."""
    rows: dict[tuple[str, str], tuple[str, str, str]] = {}
    settings = {"blank": "_", "answer": "tape"}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if len(words) == 2 and words[0] in settings:
            settings[words[0]] = words[1]
        elif len(words) == 5 and words[3] in ("L", "R") and (words[0], words[1]) not in rows:
            rows[words[0], words[1]] = words[2], words[3], words[4]
        elif words:
            raise ValueError(f"line {number}, {' '.join(words)!r}, is not STATE READ WRITE L|R NEXT, or is a duplicate")
    machine = _machine(rows, **settings)
    _check(machine, settings["answer"])
    return machine


def _machine(rows: dict[tuple[str, str], tuple[str, str, str]], blank: str, answer: str) -> Machine:
    states = list(dict.fromkeys(state for state, _ in rows))
    halts = list(dict.fromkeys(to for _, _, to in rows.values() if to not in states))
    used = [symbol for (_, symbol), (written, _, _) in rows.items() for symbol in (symbol, written)]
    symbols = [symbol for symbol in dict.fromkeys([*used, blank]) if symbol != "*"]
    full = {}
    for state in states:
        for symbol in symbols:
            row = rows.get((state, symbol), rows.get((state, "*")))
            if row:
                full[state, symbol] = (symbol if row[0] == "*" else row[0], *row[1:])
    return Machine(full, states, halts, symbols, blank, answer == "tape")


def _check(machine: Machine, answer: str) -> None:
    """Raise ValueError for missing rows, and for names that would be ambiguous in a prompt."""
    missing = [f"{q} {s}" for q in machine.states for s in machine.symbols if (q, s) not in machine.rows]
    states = [name for name in (*machine.states, *machine.halts) if name in (*machine.symbols, *DIGITS, *MARKS)]
    marks = [symbol for symbol in machine.symbols if symbol in MARKS]
    if answer not in ("state", "tape"):
        raise ValueError(f"answer must be state or tape, got {answer!r}")
    if not machine.rows or len(machine.symbols) < 2:
        raise ValueError("a machine needs rows, STATE READ WRITE L|R NEXT, and at least two symbols")
    if missing:
        raise ValueError(
            f"no row for {missing[0]}; a state needs one for each of {' '.join(machine.symbols)}, or for *"
        )
    if marks:
        raise ValueError(f"{marks[0]!r} cannot be a symbol of the tape: prompts use {' and '.join(MARKS)} as marks")
    if states:
        raise ValueError(
            f"{states[0]!r} cannot name a state: neither a symbol of the tape, nor a digit, nor a mark can"
        )

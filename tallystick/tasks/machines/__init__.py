"""Turing machines as small text files.

A row is ``STATE READ WRITE L|R NEXT``. ``*`` reads whatever the state's other rows do not; written, it leaves the
symbol. A state without rows halts; that of the first row is the start. ``blank SYMBOL`` (default _) names what the tape
is full of, ``answer state`` or ``answer tape`` (default) what the machine answers at its halt; # begins a comment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MACHINES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.txt")))
DIGITS = "0123456789"
MARKS = ("|", ">")
"""With the digits what a prompt has beside the tape's symbols and the states."""


@dataclass(frozen=True)
class Machine:
    """What a file says."""

    rows: dict[tuple[str, str], tuple[str, str, str]]
    """(state, symbol read) -> (symbol written, L or R, next state), for every symbol of the tape."""
    states: list[str]
    """Those that have rows; the first is the start."""
    halts: list[str]
    """Those that have none."""
    symbols: list[str]
    """What stands on the tape."""
    blank: str
    """One of them."""
    answers_tape: bool
    """Whether the answer is read off the tape; else it is the halting state."""


def read(name: str) -> Machine:
    """A built-in machine, or a user's file. Raises ValueError, in one line, for what is neither or is no machine."""
    path = Path(__file__).parent / f"{name}.txt" if name in MACHINES else Path(name)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"no machine {name!r}; there are: {', '.join(MACHINES)}, or your own file") from None
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse(text: str) -> Machine:
    """The machine that a file's text describes. Raises ValueError, in one line, for what is not understood."""
    rows: dict[tuple[str, str], tuple[str, str, str]] = {}
    settings = {"blank": "_", "answer": "tape"}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if len(words) == 2 and words[0] in settings:
            settings[words[0]] = words[1]
        elif len(words) == 5 and words[3] in ("L", "R") and (words[0], words[1]) not in rows:
            rows[words[0], words[1]] = words[2], words[3], words[4]
        elif words:
            raise ValueError(f"line {number}, {' '.join(words)!r}, is not STATE READ WRITE L|R NEXT, or comes twice")
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
    """Raises ValueError for rows that are missing, and for names that a prompt could not tell apart."""
    missing = [f"{q} {s}" for q in machine.states for s in machine.symbols if (q, s) not in machine.rows]
    names = [*machine.states, *machine.halts]
    clash = [*({*names} & {*machine.symbols, *DIGITS, *MARKS}), *({*machine.symbols} & {*MARKS})]
    if answer not in ("state", "tape"):
        raise ValueError(f"answer {answer}: it is 'state' or 'tape'")
    if not machine.rows or len(machine.symbols) < 2:
        raise ValueError("a machine has rows, STATE READ WRITE L|R NEXT, and at least two symbols")
    if missing:
        raise ValueError(f"no row for {missing[0]}; a state has one for each of {' '.join(machine.symbols)}, or for *")
    if clash:
        raise ValueError(f"{clash[0]!r} cannot be the name of a state, or of a symbol: digits are for symbols only")

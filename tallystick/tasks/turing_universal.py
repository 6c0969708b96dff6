"""A universal Turing machine: the rows of a machine stand in the prompt, and the program searches for them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import permutations

from tallystick.tasks.machines import DIGITS, MACHINES, MARKS, Machine, read
from tallystick.tasks.numbers import short
from tallystick.tasks.shape import one_of
from tallystick.tasks.turing import Problem, TapeTask, parts, simulate

STATES = "ABCDEFGIJKMNOPQSTUVWXYZ"
"""Names of states, without H, which halts, and L and R, the moves."""
HALT = "H"
HALTING = 1 / 16
"""Share of a random machine's rows that lead to the halt; about a third of the machines have none."""
WIDEST = 9
"""Maximum number of digits of the number of steps in random problems, often with leading zeros: models trained on two
digits failed at the prompts of long runs (dev/LOG.md)."""
CHAMPIONS = ("bb2", "bb3", "bb4", "bb5")
MIRROR = str.maketrans("LR", "RL")
ROW = re.compile(f"[{STATES}][01][01][LR][{STATES}{HALT}]")
TAPE = re.compile(rf"[01]*(\|[0-9]{{1,15}})?(>[{STATES}]?)?")


class TuringUniversal(TapeTask):
    """Run the Turing machine that the prompt describes: A01RB A11LB B01LA B11RH |6>A answers H (a line each).

    A row gives state, symbol read, symbol written, move and next state. The last line gives the symbols on the tape,
    with the head on the first, the number of steps after which the run is stopped, if any, and the initial state.
    `length` is that number of steps. At each step the program reads the tape, searches for the line that contains state
    and symbol, with which only a row begins, and follows it: 16 tokens per step. It answers with its last state. It has
    no thoughts: the memory is the prompt, however long the run.

    A random problem has 2 to 5 states with any names, a halt in one of 16 rows, lines in random order, and a random
    tape. The busy beavers are never among the random machines, under any names or mirrored; they are the worst cases,
    run from the blank tape. turing-universal:bb5, or your file of a machine on 0 and 1, runs only that machine, with
    its states renamed A, B, C and so on.

    It is local and covered even for unseen machines: one of 23 states and one of 2 symbols are copied from the line
    found to the next search, and the last 8 tokens, beginning with the copied state, make only a few hundred contexts,
    all of which occur in a few thousand steps of any machines. With names longer than one symbol, as in logic-graph,
    that does not hold.
    """

    symbols = (*"01", *DIGITS[2:], *MARKS, *STATES, HALT, *"LR", "\n")
    tools = ("tape:01", "search")
    blank = "0"
    shape = f"({one_of(STATES)}[01][01][LR]{one_of(STATES + HALT)}\n)+[01]*(\\|[0-9]+)?>{one_of(STATES)}"

    def __init__(self, options: str = "", variant: str | None = None):
        super().__init__(options, variant)
        self._rows = rows_of(options) if options else []

    def sample(self, length, rng):
        """Draw a machine, a tape of at most `length` cells, and a state; the run is stopped after `length` steps."""
        rows = self._rows or random_rows(rng)
        tape = "".join(rng.choices("01", k=rng.randint(1, length)))
        steps = str(length).zfill(rng.randint(1, WIDEST))
        return _prompt(rng.sample(rows, len(rows)), f"{tape}|{steps}>{rng.choice(rows)[0]}")

    def worst_cases(self, length):
        """List the busy beavers of 2 to 5 states, or the option's machine, on the blank tape."""
        machines = [self._rows] if self._rows else map(rows_of, CHAMPIONS)
        return [_prompt(rows, f"|{length}>{rows[0][0]}") for rows in machines]

    def token_limit(self, prompt):
        """Return 20 tokens per step, or ten billion for a run that is not stopped."""
        steps = self.problem_of(prompt).steps
        return 10_000_000_000 if steps is None else 1_000_000 + 20 * (steps + len(prompt))

    def parse(self, text):
        """Parse lines as in a prompt, or a built-in machine instead of rows: "bb4", "bb4 |107", "bb4 0110|40>B"."""
        words = text.split()
        if words and words[0] in MACHINES:
            words[:1] = rows_of(words[0])
        rows = [word for word in words if ROW.fullmatch(word)] or self._rows
        tape = "".join(word for word in words if not ROW.fullmatch(word))
        if not TAPE.fullmatch(tape) or not _complete(rows):
            raise ValueError(
                f"{short(text)!r} is not a problem; write a row A01RB for every state A-Z (not {HALT}, L, R) and "
                f"symbol, or one of {', '.join(CHAMPIONS)}; then, if wanted, a tape of 0 and 1, |STEPS, > and a state"
            )
        tape += "" if ">" in tape else ">"
        return _prompt(rows, tape if tape[-1] != ">" else tape + rows[0][0])

    def problem_of(self, prompt):
        """Parse the last line of a prompt."""
        last = len(prompt) - prompt[::-1].index("\n")
        cells, steps, state = parts(prompt[last:])
        return Problem(cells, int("".join(steps)) if steps else None, state[0])

    def answer(self, prompt):
        """Compute the last state by simulation."""
        rows = {(q, s): (written, move, to) for q, s, written, move, to in "".join(prompt).split("\n")[:-1]}
        machine = Machine(rows, list(dict.fromkeys(q for q, _ in rows)), [HALT], ["0", "1"], "0", False)
        return [simulate(machine, *self.problem_of(prompt))[0]]

    def solve(self, w):
        """Read the tape, find the row and follow it; the next state is in the line found."""
        tape, state = w.tape, w.prompt[-1]
        moves = {"L": tape.left, "R": tape.right}
        while state != HALT:
            symbol = tape.read()
            if symbol == "[EOS]":
                break
            ((_, _, written, move, state),) = w.find(state, symbol)
            tape.write(written)
            moves[move]()
        w.answer()
        w.output(state)


def rows_of(name: str) -> list[str]:
    """Return a machine's rows, with its states renamed in order. Raises ValueError if a prompt cannot describe it."""
    machine = read(name)
    if {*machine.symbols} != {"0", "1"} or machine.blank != "0" or len(machine.halts) > 1:
        raise ValueError(f"{name}: turing-universal runs machines on 0 and 1, blank 0, with one state that halts")
    if len(machine.states) > len(STATES):
        raise ValueError(f"{name} has {len(machine.states)} states; turing-universal has names for {len(STATES)}")
    names = dict(zip(machine.states, STATES, strict=False)) | dict.fromkeys(machine.halts, HALT)
    return [f"{names[q]}{s}{written}{move}{names[to]}" for (q, s), (written, move, to) in machine.rows.items()]


def random_rows(rng: random.Random) -> list[str]:
    """Draw a machine of 2 to 5 states that is not a busy beaver."""
    while True:
        names = STATES[: rng.randint(2, 5)]
        rows = [
            f"{q}{s}{rng.choice('01')}{rng.choice('LR')}{HALT if rng.random() < HALTING else rng.choice(names)}"
            for q in names
            for s in "01"
        ]
        if frozenset(rows) not in _champions():
            return _renamed(rows, names, rng.sample(STATES, len(names)))


@cache
def _champions() -> set[frozenset[str]]:
    """Return the tables of the busy beavers, under all names and mirrored."""
    tables: set[frozenset[str]] = set()
    for rows in map(rows_of, CHAMPIONS):
        names = sorted({row[0] for row in rows})
        for order in permutations(names):
            renamed = _renamed(rows, names, order)
            tables |= {frozenset(renamed), frozenset(row.translate(MIRROR) for row in renamed)}
    return tables


def _renamed(rows: Iterable[str], names: Sequence[str], new: Sequence[str]) -> list[str]:
    return [row.translate(str.maketrans(dict(zip(names, new, strict=True)))) for row in rows]


def _complete(rows: Sequence[str]) -> bool:
    """Return whether each named state has exactly one row for each symbol."""
    named = {state for row in rows for state in (row[0], row[-1])} - {HALT}
    return bool(rows) and sorted(row[:2] for row in rows) == sorted(q + s for q in named for s in "01")


def _prompt(rows: Iterable[str], tape: str) -> list[str]:
    return [*"\n".join([*rows, tape])]

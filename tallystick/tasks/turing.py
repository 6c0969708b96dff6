"""Turing machines on the tape (paper, theorem 2.2), 5 tokens per step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tallystick.tasks.base import Defaults, Task
from tallystick.tasks.machines import DIGITS, MARKS, Machine, read
from tallystick.tasks.numbers import short
from tallystick.tasks.shape import one_of

MARGIN = 1000
"""Number of cells kept on both sides of the head in a simulation, to avoid a check for the end at each step."""


class Problem(NamedTuple):
    """The parts of a prompt."""

    cells: list[str]
    """Symbols on the tape, with the head on the first."""
    steps: int | None
    """Number of steps after which the run is stopped; None for never."""
    state: str
    """Initial state."""


class TapeTask(Task):
    """A machine that runs on the tape, stopped after `length` steps or at its halt."""

    takes_options = True
    defaults = Defaults(train_length=40, check=(10, 20, 40, 80, 160), eval=(40, 100, 1000, 10_000))
    max_length = 100_000_000

    def problem_of(self, prompt: Sequence[str]) -> Problem:
        """Parse a prompt."""
        raise NotImplementedError

    def tape(self, prompt):
        """Return the problem's cells, with the head on the first."""
        return self.problem_of(prompt).cells, 0

    def tape_limit(self, prompt):
        """Return the number of steps, each of which writes once."""
        return self.problem_of(prompt).steps


class Turing(TapeTask):
    """Run a Turing machine: turing:increment (default), multiplication, palindrome, bb2 to bb5, or your own file.

    `length` is a number of steps. The prompt has the symbols on the tape, with the head on the first; `|40` if the run
    is stopped after 40 steps; `>`; and the state, if it is not the machine's initial one. Random problems have random
    tapes and states, and are stopped after `length` steps. The worst case is the blank tape, which is never among them:
    a model trained on a few dozen random steps runs the machine from its start, for any number of steps; `>` alone
    runs to the halt.

    The program counts no steps. The tape is closed after the last one, and a machine that reads [EOS] then answers with
    its state, so a stopped run is as local as any other and has an answer that can be checked. At a halt the answer is
    the halting state, or the symbols from the head to the first blank (none if the tape has just been closed). A busy
    beaver answers with its state: its blank, 0, also stands among its ones, so that their end is not visible.
    """

    def __init__(self, options: str = "", variant: str | None = None):
        super().__init__(options, variant)
        self.machine = machine = read(options or "increment")
        self.blank = machine.blank
        self.symbols = list(dict.fromkeys([*machine.symbols, *DIGITS, *MARKS, *machine.states, *machine.halts]))
        self.shape = rf"{one_of(machine.symbols)}*(\|[0-9]+)?>{one_of(machine.states[1:])}?"
        self.tools = (f"tape:{' '.join(machine.symbols)}",)
        self._between = "" if all(len(symbol) == 1 for symbol in self.symbols) else " "

    def sample(self, length, rng):
        """Draw a tape of at most `length` cells, not all blank, and a state; the run stops after `length` steps."""
        machine = self.machine
        cells = rng.choices(machine.symbols, k=rng.randint(1, length))
        if set(cells) == {self.blank}:
            cells[0] = next(symbol for symbol in machine.symbols if symbol != self.blank)
        state = rng.choice(machine.states)
        return [*cells, "|", *str(length), ">", *([state] if state != machine.states[0] else [])]

    def worst_cases(self, length):
        """List the blank tape."""
        return [["|", *str(length), ">"]]

    def token_limit(self, prompt):
        """Return twice the tokens of all steps and of the answer, or a billion for a run that is not stopped."""
        steps = self.problem_of(prompt).steps
        return 1_000_000_000 if steps is None else 1_000_000 + 10 * (steps + len(prompt))

    def parse(self, text):
        """Parse "1011", "1011|40>" or "1011|40>B", separated by spaces if a symbol or state has several characters."""
        prompt = text.split() if self._between else list(text)
        prompt += [] if ">" in prompt else [">"]
        if not self._is_problem(prompt):
            raise ValueError(
                f"{short(text)!r} is not a problem; write a tape of {' '.join(self.machine.symbols)}, then, if wanted, "
                f"|STEPS> and the initial state, one of {' '.join(self.machine.states)}"
            )
        return prompt[:-1] if prompt[-1] == self.machine.states[0] else prompt

    def format(self, tokens):
        """Join the symbols, by spaces if a symbol or state has several characters."""
        return self._between.join(tokens)

    def problem_of(self, prompt):
        """Parse a prompt; without a state, the run starts in the machine's first."""
        cells, steps, state = parts(prompt)
        return Problem(cells, int("".join(steps)) if steps else None, [*state, self.machine.states[0]][0])

    def _is_problem(self, prompt: Sequence[str]) -> bool:
        cells, steps, state = parts(prompt)
        known = {*cells} <= {*self.machine.symbols} and {*steps} <= {*DIGITS} and {*state} <= {*self.machine.states}
        return known and len(state) <= 1 and len(steps) < 16 and (bool(steps) or "|" not in prompt)

    def answer(self, prompt):
        """Compute the machine's answer by simulation on a list of cells that grows at both ends."""
        problem = self.problem_of(prompt)
        state, word, steps = simulate(self.machine, *problem)
        if state in self.machine.states or not self.machine.answers_tape:
            return [state]
        return [] if steps == problem.steps else word

    def solve(self, w):
        """Think the state, read, write and move; state and symbol decide what comes next."""
        machine, tape = self.machine, w.tape
        rows, halts, moves = machine.rows, machine.halts, {"L": tape.left, "R": tape.right}
        state = machine.states[0] if w.prompt[-1] == ">" else w.prompt[-1]
        while state not in halts:
            w.think(state)
            symbol = tape.read()
            if symbol == "[EOS]":
                break
            written, move, state = rows[state, symbol]
            tape.write(written)
            moves[move]()
        w.answer()
        if state in halts and machine.answers_tape:
            while (symbol := tape.read()) not in (self.blank, "[EOS]"):
                w.output(symbol)
                tape.right()
        else:
            w.output(state)


def parts(prompt: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Split a prompt into its cells, the digits of its steps, and its state, each of which may be empty."""
    prompt = list(prompt)
    end = prompt.index(">")
    bar = prompt.index("|") if "|" in prompt[:end] else end
    return prompt[:bar], prompt[bar + 1 : end], prompt[end + 1 :]


def simulate(machine: Machine, cells: list[str], steps: int | None, state: str) -> tuple[str, list[str], int]:
    """Run a machine for `steps` steps or to its halt.

    Returns the last state, the symbols from the head to the first blank, and the number of steps done.
    """
    number = {symbol: i for i, symbol in enumerate(machine.symbols)}
    states, size = [*machine.states, *machine.halts], len(number)
    table = [
        (number[written], 1 if move == "R" else -1, states.index(to) * size)
        for written, move, to in (machine.rows[q, s] for q in machine.states for s in machine.symbols)
    ]
    blank, halt = number[machine.blank], len(table)
    row, at, q, done = [number[cell] for cell in cells], 0, states.index(state) * size, 0
    while q < halt and done != steps:
        margin = min(at, len(row) - 1 - at)
        if margin < MARGIN:
            more = [blank] * (MARGIN + len(row))
            row, at, margin = more + row + more, at + len(more), MARGIN
        for _ in range(margin if steps is None else min(margin, steps - done)):
            row[at], move, q = table[q + row[at]]
            at += move
            done += 1
            if q >= halt:
                break
    word = [machine.symbols[i] for i in [*row[at:], blank]]
    return states[q // size], word[: word.index(machine.blank)], done

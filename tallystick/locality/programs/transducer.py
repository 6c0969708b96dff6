"""A program's machine as arrays, filled with the steps that problems meet."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy import ndarray as Array

from tallystick.episode import BLOCK, BOS, ID_DTYPE, ROLE_DTYPE, Role
from tallystick.kernels import numba_jit
from tallystick.locality.extraction import Machine, Refusal, Step
from tallystick.locality.programs import loops, phrases
from tallystick.locality.programs.loops import COMPARED, FILLED, HEARD, LAST, PHRASE, UNKNOWN, advance
from tallystick.locality.programs.phrases import LONGEST, Phrase
from tallystick.tasks import Task
from tallystick.tasks.guard import paused
from tallystick.tools import arrays

REPLAYED = 100_000
"""Maximum number of answers in all replays, which takes about two seconds; a program that needs more is left to
Python."""
NOWHERE = -1
"""Stands for the state before the first answer."""


class Origin(NamedTuple):
    """The place of a step in the machine."""

    state: int
    """The state, or NOWHERE."""
    answer: str
    """The answer that leads on, or the prompt's last symbol."""


class Transducer:
    """The machine of a task, or of a part of a mixture, whose tools are pointers and a tape.

    grammar: what its tokens do, see `tools.arrays`.
    """

    def __init__(self, part: Task, grammar: Array):
        self.part, self.grammar = part, grammar
        self.machine = Machine(part, REPLAYED)
        self.origins: list[Origin] = []
        """The place of each step."""
        self._is_said_at_once = not part.notes and not any(tool.reads_memory for tool in part.built_tools)
        """Whether blocks depend on which symbols are said by one call, which the machine does not know."""
        self._starts: dict[str, int] = {}
        self.entries_SV = np.full((16, len(part.vocab)), UNKNOWN, np.int32)
        self.phrases_PC = np.zeros((16, phrases.COLUMNS), np.int32)
        self.said_W, self.remembered_W = np.zeros(64, ID_DTYPE), np.zeros(64, ID_DTYPE)
        self.roles_W = np.zeros(64, ROLE_DTYPE)
        self._phrases = self._said = 0

    def start(self, final: str) -> int:
        """Return the first phrase before the first answer; final: the prompt's last symbol. Raises Refusal."""
        if final not in self._starts:
            with _extracting():
                step = self.machine.start(final)
            self._starts[final] = self._add(Origin(NOWHERE, final), step)
        return self._starts[final]

    def follow(self, phrase: int, heard: int) -> int:
        """Extract the step after a phrase by an answer; return its first phrase. Raises Refusal."""
        state = int(self.phrases_PC[phrase, phrases.TO])
        answer = self.part.vocab.tokens[heard]
        with _extracting():
            following = self.machine.step(state, answer)
        first = self._add(Origin(state, answer), following)
        self.entries_SV = _with_room(self.entries_SV, len(self.machine.states), UNKNOWN)
        self.entries_SV[state, heard] = first
        return first

    def _add(self, origin: Origin, step: Step | None) -> int:
        if step is None:
            raise Refusal(f"the program fails: {self.machine.failures[origin.state, origin.answer]}")
        self.machine.check_constants()
        tokens = [action.token for action in step.actions]
        plain = self.grammar[tokens, 0] == arrays.SAY
        if self._is_said_at_once and (plain[1:] & plain[:-1]).any():
            raise Refusal("the program says several symbols, which an Episode without a memory may take at once")
        answered, heard = False, arrays.NONE
        if origin.state != NOWHERE:
            answered, heard = self.machine.states[origin.state].answered, self.part.vocab.ids[origin.answer]
        first, to = self._phrases, UNKNOWN if step.to is None else step.to
        for phrase in phrases.cut(self.part, self.grammar, answered, heard, tokens):
            self._append(phrase, to)
        self.origins.append(origin)
        return first

    def _append(self, phrase: Phrase, to: int) -> None:
        """Append a phrase of the step that comes next; to: the state that the step leads to."""
        begin, number = self._said, self._phrases
        self.said_W = _with(self.said_W, begin, phrase.tokens)
        self.roles_W = _with(self.roles_W, begin, phrase.roles)
        self.remembered_W = _with(self.remembered_W, begin, phrase.remembered)
        self.phrases_PC = _with_room(self.phrases_PC, number + 1, 0)
        self.phrases_PC[number] = phrase.numbers(begin, to, len(self.origins))
        self._said, self._phrases = begin + len(phrase.tokens), number + 1

    def run(self, task: Task, prompt: list[str], first: int = 0) -> Run:
        """Begin a problem; first: size of its first block, by default that of an Episode's."""
        return Run(self, task, prompt, first)

    def place_of(self, task: Task, prompt: list[str], position: int) -> str:
        """Describe, for a message, where the machine is in a problem when it has said the token at a position."""
        run = self.run(task, prompt, position + 1)
        next(run.blocks(), None)
        state, answer = self.origins[run.step]
        if state == NOWHERE:
            return f"at its start, where the prompt ends in {answer}"
        tool, _, key, _ = self.machine.states[state]
        frames = key if isinstance(key, tuple) else ()
        return f"in control state {state} ({' > '.join(frame[0] for frame in frames)}), where {tool} reads {answer}"


@contextmanager
def _extracting() -> Iterator[None]:
    """Keep what is not the program's from running during a replay, which looks at all code that runs."""
    if sys.getprofile() is not None:
        raise Refusal("a profiler is running, and the extraction needs its place")
    collects = gc.isenabled()
    gc.disable()  # garbage may be a generator that ends
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _call(*given: Array) -> int:
    """Call the loop; the time in which numba loads or compiles it is not the program's."""
    if advance.signatures:
        return advance(*given)
    with paused():
        return numba_jit.run(advance, *given)


def _with_room(array: Array, length: int, fill: int) -> Array:
    """Return the array, or one at least twice as long if it is shorter than `length`."""
    if length <= len(array):
        return array
    longer = np.full((max(length, 2 * len(array)), *array.shape[1:]), fill, array.dtype)
    longer[: len(array)] = array
    return longer


def _with(array: Array, begin: int, values: list[int]) -> Array:
    """Return the array with at most LONGEST values from `begin` on, and room for a copy of as many behind each."""
    array = _with_room(array, begin + 2 * LONGEST, 0)
    array[begin : begin + len(values)] = values
    return array


class Run:
    """One problem being solved by a machine."""

    def __init__(self, transducer: Transducer, task: Task, prompt: list[str], first: int):
        self.stuck: tuple[Array, Array] | None = None
        """The tokens since the last block, if the machine cannot go on, or if its output is not the answer."""
        self._transducer = transducer
        self._own = task.part_of(prompt)[1]
        ids = np.array(task.vocab.encode(prompt), ID_DTYPE)
        self._state = arrays.start(task, prompt, ids)
        self._truth = np.zeros(0, np.int32)
        self._run = np.zeros(loops.REGISTERS, np.int64)
        # as an Episode's first block, which is handed on after a token that is said
        self._empty(max(first or BLOCK, len(prompt) + 2))
        self._run[FILLED] = 1 + len(prompt)
        self._ids[0], self._ids[1 : 1 + len(prompt)] = BOS, ids
        self._roles[: 1 + len(prompt)] = Role.PROMPT

    def _empty(self, size: int) -> None:
        """Begin a block of so many tokens; phrases may reach beyond it."""
        self._size = size
        self._ids, self._roles = np.empty(size + LONGEST, ID_DTYPE), np.empty(size + LONGEST, ROLE_DTYPE)

    @property
    def step(self) -> int:
        """The last step of which a token was said."""
        return int(self._transducer.phrases_PC[self._run[LAST], phrases.STEP])

    def blocks(self) -> Iterator[tuple[Array, Array]]:
        """Yield blocks of ids and roles, as `Episode` hands them to a sink, up to the end or until it is stuck."""
        try:
            self._transducer.machine.check_constants()
            self._run[[PHRASE, LAST]] = self._transducer.start(self._own[-1])
            yield from self._blocks()
        except Refusal:
            self.stuck = self._unfinished()

    def _unfinished(self) -> tuple[Array, Array]:
        filled = int(self._run[FILLED])
        return self._ids[:filled], self._roles[:filled]

    def _blocks(self) -> Iterator[tuple[Array, Array]]:
        while True:
            reason = self._advance()
            failed = reason == loops.WRONG or (reason == loops.ENDED and self._is_short())
            if self._run[FILLED] - failed >= self._size:  # the program does not say the last token where that is wrong
                yield from self._full()
            if failed:
                self.stuck = self._unfinished()
            elif reason == loops.ENDED:
                ids, roles = self._unfinished()
                if len(ids):
                    yield ids.copy(), roles.copy()  # without the rest of the buffer, since the sink may keep them
            if failed or reason == loops.ENDED:
                return

    def _full(self) -> Iterator[tuple[Array, Array]]:
        """Yield a block that is full, and begin the next one with what was said beyond it."""
        (ids, roles), size = self._unfinished(), self._size
        self._empty(BLOCK)
        self._run[FILLED] = beyond = len(ids) - size
        self._ids[:beyond], self._roles[:beyond] = ids[size:], roles[size:]
        for begin in range(0, size, BLOCK):
            end = min(begin + BLOCK, size)
            yield ids[begin:end], roles[begin:end]

    def _advance(self) -> int:
        """Run to the end of a block, or of the episode, and give the loop what it needs meanwhile."""
        machine, run = self._transducer, self._run
        while True:
            said = machine.said_W, machine.roles_W, machine.remembered_W
            known = machine.entries_SV, machine.phrases_PC, *said, self._truth
            reason = _call(run, *known, *self._state.arrays, self._ids, self._roles)
            if reason == loops.NO_ROOM:
                self._state.grow(LONGEST)
            elif reason == loops.NEW_STEP:
                run[PHRASE] = machine.follow(int(run[LAST]), int(run[HEARD]))
            elif reason == loops.NEEDS_TRUTH:
                self._compute_truth()
            else:
                return reason

    def _compute_truth(self) -> None:
        part = self._transducer.part
        ids, truth = part.vocab.ids, part.truth(self._own)
        self._truth = np.fromiter(map(ids.get, truth, repeat(-1)), np.int32, len(truth))

    def _is_short(self) -> bool:
        part = self._transducer.part
        return bool(part.answers_by_token and self._run[COMPARED] < len(self._truth))


def of(part: Task) -> Transducer | None:
    """Return the machine of a task or a mixture's part, still without steps; None for tools that are not compiled."""
    grammar = arrays.grammar_of(part)
    return None if grammar is None else Transducer(part, grammar)

"""Traces: recordings of a task's program on many problems, with its control state before each question."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from itertools import product
from types import FrameType

import numpy as np

from tallystick.episode import Recorder
from tallystick.tasks import runner
from tallystick.tasks.annotate.annotated_task import BASE, AnnotatedTask
from tallystick.tasks.annotate.control import Site, open_frames
from tallystick.tasks.base import Task
from tallystick.tasks.guard import task_code
from tallystick.tasks.worst_cases import PatternRandom
from tallystick.vocab import loss_mask

MARK = "\0"
"""Note recorded before each question, in place of the notes that may be said there."""
PROBLEMS, QUESTIONS = 4000, 40_000
"""Maximum number of random problems recorded at the training length, and of their questions."""
ROWS, ROW_PROBLEMS, ROW_QUESTIONS = 3, 20, 5000
"""Number of last lengths of `check` that are recorded, and maximum number of problems and questions at each."""
WIDE = 16
"""Maximum number of values of a narrow local; a wide one, with more, has notes of its own."""

State = tuple[int, tuple[Hashable, ...]]
"""A control state: the index of its site, and the values of the live locals there."""
Local = tuple[int, int]
"""A live local: the index of its site, and its index among the live locals there."""


class Sites:
    """The sites of a program, numbered in the order in which they are met."""

    def __init__(self) -> None:
        self.all: list[Site] = []
        self._numbers: dict[tuple[int, ...], int] = {}

    def state(self, frame: FrameType) -> State:
        """Return the control state of a program whose innermost frame is this one."""
        frames = open_frames(frame, BASE)
        number = self._number(frames)
        return number, self.all[number].values(frames)

    def number(self, frame: FrameType) -> int:
        """Return the index of the site of a program whose innermost frame is this one; cheaper than `state`."""
        return self._number(open_frames(frame, BASE))

    def _number(self, frames: list[FrameType]) -> int:
        key = tuple([x for frame in frames for x in (id(frame.f_code), frame.f_lasti)])
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.all)
            self.all.append(Site.of(frames))
        return number


class Use(IntEnum):
    """The use of a trace, beyond providing states."""

    STATES = 0
    """Provide states only: random problems after the first ones of each row."""
    NOTES = 1
    """Find where notes are needed, and their contents: worst cases, and the first random problems of each row."""
    MERGES = 2
    """Find the values that notes must distinguish: latching problems."""


@dataclass(frozen=True)
class _Run:
    """One recorded problem."""

    recorder: Recorder
    row: int
    """0 at the training length, else the number of the row of `check`, from 1."""
    use: Use


class Traces:
    """Concatenated traces, as arrays over tokens [N] and over questions [Q].

    They contain worst cases and random problems of the training length (row 0) and of the last lengths of `check` (rows
    1 to ROWS), where nothing may grow any more; then the latching problems.
    """

    def __init__(self, task: Task):
        self.task, self.sites = task, Sites()
        self._numbers: dict[State, int] = {}
        self._asked: list[int] = []  # index of the state at each question
        self._runs: list[_Run] = []
        self._marked = AnnotatedTask(task, [MARK], self._ask, "")
        self.lengths = (task.defaults.train_length, *task.defaults.check[-ROWS:])
        """Length of the problems of each row."""
        for row, length in enumerate(self.lengths):
            self._record_row(row, length)
        for prompt in _latching(task, self.lengths[0]):
            self._record(prompt, 0, Use.MERGES)
        self.states = list(self._numbers)
        """States, in the order in which they were met."""
        self._to_arrays()

    def _record_row(self, row: int, length: int) -> None:
        """Record the task's worst cases, then enough random problems, then the generic worst cases.

        The order matters, since states, and with them notes, are numbered in the order in which they are met.
        """
        worst, every = self.task.worst_problems(length), self.task.every_worst_case(length)
        for prompt in worst:
            self._record(prompt, row, Use.NOTES)
        self._record_random(row, length)
        for prompt in every:
            if prompt not in worst:
                self._record(prompt, row, Use.NOTES)

    def _record_random(self, row: int, length: int) -> None:
        """Record random problems until there are enough of them or of their questions."""
        begin = len(self._asked)
        problems, questions = (ROW_PROBLEMS, ROW_QUESTIONS) if row else (PROBLEMS, QUESTIONS)
        for i in range(problems):
            use = Use.NOTES if len(self._asked) - begin < ROW_QUESTIONS else Use.STATES
            self._record(self.task.problem("notes", 0, length, i, up_to=row == 0), row, use)
            if len(self._asked) - begin >= questions:
                break

    def _record(self, prompt: list[str], row: int, use: Use) -> None:
        recorder = Recorder()
        runner.run(self._marked, prompt, recorder)
        self._runs.append(_Run(recorder, row, use))

    def _ask(self, frame: FrameType) -> Sequence[str]:
        self._asked.append(self._numbers.setdefault(self.sites.state(frame), len(self._numbers)))
        return (MARK,)

    def _to_arrays(self) -> None:
        recorders = [run.recorder for run in self._runs]
        lengths = [len(recorder.ids) for recorder in recorders]
        self.vocab = self._marked.vocab
        """The task's vocabulary with the mark."""
        self.mark = len(self.vocab) - 1
        """Id of the mark."""
        self.ids = np.concatenate([recorder.ids for recorder in recorders]).astype(np.int32)
        """Token ids, int32 [N]."""
        self.said = loss_mask(np.concatenate([recorder.roles for recorder in recorders]))
        """Whether the program says the token, bool [N]."""
        self.run = np.repeat(np.arange(len(lengths)), lengths)
        """Index of the token's trace, [N]."""
        self.row = np.array([run.row for run in self._runs])[self.run]
        """Row of the token's trace, [N]."""
        self.use = np.array([run.use for run in self._runs])[self.run]
        """Use of the token's trace, [N]."""
        self.questions = np.flatnonzero(self.ids == self.mark)
        """Position of the mark before each question, [Q]."""
        self.state = np.array(self._asked, np.int64)
        """Index of the state at each question, [Q]."""
        self.site = np.array([site for site, _ in self.states], np.int64)[self.state]
        """Index of the site at each question, [Q]."""

    @property
    def symbols(self) -> frozenset[str]:
        """The task's symbols."""
        return frozenset(self.task.symbols)

    @property
    def reads_prompt(self) -> bool:
        """Whether the program reads w.prompt."""
        return self._marked.reads_prompt

    @cached_property
    def trained_states(self) -> list[State]:
        """States met at the training length, in order."""
        trained = self.row[self.questions] == 0
        return [self.states[number] for number in np.unique(self.state[trained]).tolist()]

    @cached_property
    def trained_values(self) -> dict[Local, set[Hashable]]:
        """Values of each local at the training length."""
        values: dict[Local, set[Hashable]] = {}
        for site, held in self.trained_states:
            for i, value in enumerate(held):
                values.setdefault((site, i), set()).add(value)
        return values

    @cached_property
    def counts(self) -> dict[Local, int]:
        """Number of values of each local at the training length."""
        return {local: len(values) for local, values in self.trained_values.items()}

    def states_by_row(self) -> Iterator[tuple[State, int]]:
        """Yield each state with each row in which it is met, in order."""
        rows = self.row[self.questions].tolist()
        for number, row in sorted(set(zip(self.state.tolist(), rows, strict=True))):
            yield self.states[number], row


def _latching(task: Task, length: int) -> list[list[str]]:
    """Return latching problems, which begin with one draw and continue with another, for all pairs of a few draws.

    They distinguish what a program keeps of the first symbol, whatever follows; wide locals are never merged.
    """
    count, prompts = min(len(task.symbols), WIDE), []
    for first, rest in product([(i + 0.5) / count for i in range(count)], repeat=2):
        with task_code(task, f"drawing {first} and then {rest} for a problem of length {length}"):
            rng = PatternRandom(lambda number, first=first, rest=rest: rest if number else first, 64 + 20 * length)
            prompts.append(tuple(task.sample(length, rng)))
    return [list(prompt) for prompt in dict.fromkeys(prompts)]

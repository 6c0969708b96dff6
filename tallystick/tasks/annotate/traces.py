"""Traces: a task's program recorded on many problems, with its control state before each question."""

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
"""Recorded before each question, in place of the notes that may be said there."""
PROBLEMS, QUESTIONS = 4000, 40_000
"""Random problems recorded at the training length, and the number of questions that ends them earlier."""
ROWS, ROW_PROBLEMS, ROW_QUESTIONS = 3, 20, 5000
"""Likewise at each of the last ROWS lengths of `check`."""
WIDE = 16
"""A local with more values is wide: notes say it by itself."""

State = tuple[int, tuple[Hashable, ...]]
"""A control state: the number of its site, and the values of the live locals there."""
Local = tuple[int, int]
"""A live local: the number of its site, and its place among the live locals there."""


class Sites:
    """Numbers the sites of a program in the order in which they are met."""

    def __init__(self):
        self.all: list[Site] = []
        self._numbers: dict[tuple[int, ...], int] = {}

    def state(self, frame: FrameType) -> State:
        """The control state of a program whose innermost frame is this one."""
        frames = open_frames(frame, BASE)
        number = self._number(frames)
        return number, self.all[number].values(frames)

    def number(self, frame: FrameType) -> int:
        """The number of its site: cheaper, as no local is looked at."""
        return self._number(open_frames(frame, BASE))

    def _number(self, frames: list[FrameType]) -> int:
        key = tuple([x for frame in frames for x in (id(frame.f_code), frame.f_lasti)])
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.all)
            self.all.append(Site.of(frames))
        return number


class Use(IntEnum):
    """The use of a trace, beyond the states that it shows."""

    STATES = 0
    """None: random problems beyond the first ones of each row."""
    NOTES = 1
    """To find where notes are needed and what they must say: worst cases, and the first random problems of each row."""
    MERGES = 2
    """To find the values that notes must tell apart: latching problems."""


@dataclass(frozen=True)
class _Run:
    """One recorded problem."""

    recorder: Recorder
    row: int
    """0 at the training length, then the number of the row of `check`, from 1."""
    use: Use


class Traces:
    """Traces end to end, as arrays over tokens [N] and over questions [Q].

    They hold worst cases and random problems of the training length (row 0) and of the last lengths of `check` (rows 1
    to ROWS), where nothing may grow any more; then the latching problems.
    """

    def __init__(self, task: Task):
        self.task, self.sites = task, Sites()
        self._numbers: dict[State, int] = {}
        self._asked: list[int] = []  # number of the state at each question
        self._runs: list[_Run] = []
        self._marked = AnnotatedTask(task, [MARK], self._ask, "")
        self.lengths = (task.defaults.train_length, *task.defaults.check[-ROWS:])
        """The length of the problems of each row."""
        for row, length in enumerate(self.lengths):
            self._record_row(row, length)
        for prompt in _latching(task, self.lengths[0]):
            self._record(prompt, 0, Use.MERGES)
        self.states = list(self._numbers)
        """The states met, in order."""
        self._to_arrays()

    def _record_row(self, row: int, length: int) -> None:
        """Record the task's worst cases, random problems until there are enough, and then the generic worst cases.

        States, and with them notes, are numbered in the order in which they are met.
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
        """The task's vocabulary, and the mark."""
        self.mark = len(self.vocab) - 1
        """The id of the mark."""
        self.ids = np.concatenate([recorder.ids for recorder in recorders]).astype(np.int32)
        """The tokens, [N]."""
        self.said = loss_mask(np.concatenate([recorder.roles for recorder in recorders]))
        """Whether the program says the token, [N]."""
        self.run = np.repeat(np.arange(len(lengths)), lengths)
        """Number of the trace that the token belongs to, [N]."""
        self.row = np.array([run.row for run in self._runs])[self.run]
        """Its row, [N]."""
        self.use = np.array([run.use for run in self._runs])[self.run]
        """The use of its trace, [N]."""
        self.questions = np.flatnonzero(self.ids == self.mark)
        """The position of the mark before each question, [Q]."""
        self.state = np.array(self._asked, np.int64)
        """Number of the state at each question, [Q]."""
        self.site = np.array([site for site, _ in self.states], np.int64)[self.state]
        """Number of its site, [Q]."""

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
        """The states met at the training length, in order."""
        trained = self.row[self.questions] == 0
        return [self.states[number] for number in np.unique(self.state[trained]).tolist()]

    @cached_property
    def trained_values(self) -> dict[Local, set[Hashable]]:
        """The values of each local at the training length."""
        values: dict[Local, set[Hashable]] = {}
        for site, held in self.trained_states:
            for i, value in enumerate(held):
                values.setdefault((site, i), set()).add(value)
        return values

    @cached_property
    def counts(self) -> dict[Local, int]:
        """The number of values of each local at the training length."""
        return {local: len(values) for local, values in self.trained_values.items()}

    def states_by_row(self) -> Iterator[tuple[State, int]]:
        """Each state with each row that it is met in, in order."""
        rows = self.row[self.questions].tolist()
        for number, row in sorted(set(zip(self.state.tolist(), rows, strict=True))):
            yield self.states[number], row


def _latching(task: Task, length: int) -> list[list[str]]:
    """Make problems that begin with one draw and go on with another, for all pairs of a few.

    They tell apart what a program keeps of the first symbol, whatever follows; wide locals are not merged anyway.
    """
    count, prompts = min(len(task.symbols), WIDE), []
    for first, rest in product([(i + 0.5) / count for i in range(count)], repeat=2):
        with task_code(task, f"drawing {first} and then {rest} for a problem of length {length}"):
            rng = PatternRandom(lambda number, first=first, rest=rest: rest if number else first, 64 + 20 * length)
            prompts.append(tuple(task.sample(length, rng)))
    return [list(prompt) for prompt in dict.fromkeys(prompts)]

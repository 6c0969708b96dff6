"""Runs of a task's program with the control state before each question, and how they would read with notes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from types import FrameType

import numpy as np

from tallystick import suffix, workspace
from tallystick.episode import Record
from tallystick.tasks.annotate.control import Site, open_frames
from tallystick.tasks.annotate.noting import BASE, Noting
from tallystick.tasks.base import Task
from tallystick.vocab import loss_mask

MARK = "\0"
"""Stands for any note while runs are recorded."""
QUESTIONS, PROBLEMS = 40_000, 4000
"""Recorded at the training length: problems until there are so many of one of the two."""
ROWS, ROW_QUESTIONS, ROW_PROBLEMS = 3, 5000, 20
"""Recorded at each of the last lengths of `check`: there nothing may grow any more."""
WIDE = 16
"""A local of more values has notes of its own: its values times those of others would be too many to meet."""

State = tuple[int, tuple[Hashable, ...]]
"""Number of a site, and the values of its live locals."""
Part = tuple[Hashable, ...]
"""What one note says: (site, values of its narrow locals), or (None, name, value) of a wide local."""


class Sites:
    """Numbers the points of a program as they are met."""

    def __init__(self):
        self.all: list[Site] = []
        self._numbers: dict[tuple[int, ...], int] = {}

    def state(self, frame: FrameType) -> State:
        """The control state of a program whose innermost frame is this one."""
        frames = open_frames(frame, BASE)
        number = self._number(frames)
        return number, self.all[number].values(frames)

    def number(self, frame: FrameType) -> int:
        """Of the point where it stands: the same without a look at the locals."""
        return self._number(open_frames(frame, BASE))

    def _number(self, frames: list[FrameType]) -> int:
        key = tuple([x for frame in frames for x in (id(frame.f_code), frame.f_lasti)])
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.all)
            self.all.append(Site.of(frames))
        return number


class Runs:
    """Runs of a task's program with a mark before each question, end to end."""

    def __init__(self, task: Task):
        self.sites = Sites()
        self._numbers: dict[State, int] = {}
        self._met: list[int] = []
        self._records: list[Record] = []
        self._groups: list[int] = []
        self._noting = Noting(task, [MARK], self._meet, "")
        trained = task.defaults.train_length
        self._run(task.corners(trained), 0, QUESTIONS)
        self._run(_problems(task, trained, PROBLEMS, True), 0, QUESTIONS)
        for row, length in enumerate(task.defaults.check[-ROWS:], 1):
            self._run(_problems(task, length, ROW_PROBLEMS, False), row, ROW_QUESTIONS)
        lengths = [len(record.ids) for record in self._records]
        self.ids = np.concatenate([record.ids for record in self._records]).astype(np.int32)
        """Of the tokens, [N]."""
        self.said = loss_mask(np.concatenate([record.roles for record in self._records]))
        """Whether the program says the token, [N]."""
        self.run = np.repeat(np.arange(len(lengths)), lengths)
        """Number of the token's run, [N]."""
        self.mark = len(self._noting.vocab) - 1
        """The id that marks have."""
        self.marks = np.flatnonzero(self.ids == self.mark)
        """Where they stand, [M]."""
        self.states = list(self._numbers)
        """Those met, in order."""
        self.state = np.array(self._met, np.int64)
        """Number of the state at each mark, [M]."""
        self.site = np.array([site for site, _ in self.states], np.int64)[self.state]
        """Number of its site, [M]."""
        self.group = np.array(self._groups)[self.run[self.marks]]
        """Of the mark's run, [M]: 0 at the training length, then one for each row of `check`."""

    def _run(self, prompts: Iterable[list[str]], group: int, questions: int) -> None:
        end = len(self._met) + questions
        for prompt in prompts:
            self._records.append(Record())
            workspace.run(self._noting, prompt, self._records[-1])
            self._groups.append(group)
            if len(self._met) >= end:
                break

    def _meet(self, frame: FrameType) -> Sequence[str]:
        self._met.append(self._numbers.setdefault(self.sites.state(frame), len(self._numbers)))
        return (MARK,)

    def trained(self) -> list[State]:
        """The states met at the training length, in order."""
        return [self.states[number] for number in np.unique(self.state[self.group == 0]).tolist()]


def _problems(task: Task, length: int, most: int, up_to: bool) -> Iterator[list[str]]:
    return (task.problem("notes", 0, length, i, up_to=up_to) for i in range(most))


class Parts:
    """Which notes say a state: one, where it stands and what its narrow locals hold; then one for each wide local."""

    def __init__(self, runs: Runs):
        values: dict[tuple[int, int], set[Hashable]] = {}
        for site, held in runs.trained():
            for i, value in enumerate(held):
                values.setdefault((site, i), set()).add(value)
        self.counts = {local: len(met) for local, met in values.items()}
        """Of the values that the training length has for local i of a site."""
        self._sites = runs.sites.all

    def wide(self, site: int, i: int) -> bool:
        """Whether local i of the site has notes of its own."""
        return self.counts.get((site, i), 0) > WIDE

    def of(self, state: State) -> list[Part]:
        """The parts that say a state."""
        site, held = state
        narrow = tuple(value for i, value in enumerate(held) if not self.wide(site, i))
        names = [name for _, name in self._sites[site].locals]
        far = [(None, names[i], value) for i, value in enumerate(held) if self.wide(site, i)]
        return [(site, narrow), *far]


class Annotated:
    """The recorded runs as they would be with notes at some of the sites."""

    def __init__(self, runs: Runs, parts: Parts, noted: set[int]):
        numbers: dict[Part, int] = {}
        here = np.isin(runs.site, list(noted))
        states = {n: [numbers.setdefault(part, len(numbers)) for part in parts.of(runs.states[n])]
                  for n in np.unique(runs.state[here]).tolist()}  # fmt: skip
        said = [states[n] for n in runs.state[here].tolist()]
        times = np.ones(len(runs.ids), np.int64)
        times[runs.marks] = 0
        times[runs.marks[here]] = [len(notes) for notes in said]
        self.source = np.repeat(np.arange(len(runs.ids)), times)
        """Where each token comes from in the record."""
        ids = runs.ids[self.source]
        ids[ids == runs.mark] = [runs.mark + number for notes in said for number in notes]
        ends = np.searchsorted(runs.run[self.source], np.arange(1, runs.run[-1] + 1))
        sequences = zip(np.split(ids, ends), np.split(runs.said[self.source], ends), strict=True)
        self.contexts = suffix.Contexts.of(list(sequences), runs.mark + len(numbers))

    def undecided(self, reach: int) -> np.ndarray:
        """Where in the record stand the tokens that the last `reach` do not decide."""
        tree = suffix.build(self.contexts, reach)
        return self.source[self.contexts.positions[tree.depth < 0]]

"""Runs of a task's program with the control state before each question, and how they would read with notes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from types import FrameType
from typing import NamedTuple

import numpy as np

from tallystick import suffix
from tallystick.episode import END_NOTE, NOTE, Recorder
from tallystick.tasks import runner
from tallystick.tasks.annotate.annotated_task import BASE, Noting
from tallystick.tasks.annotate.control import Site, open_frames
from tallystick.tasks.annotate.renaming import Renamed
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
Local = tuple[int, int]
"""Number of a site, and of one of its live locals."""
Alike = dict[Local, dict[Hashable, "Either"]]
"""What is said for a value, where that is not the value itself."""


class Either(NamedTuple):
    """Values of a narrow local that make no difference where it is said."""

    values: tuple[Hashable, ...]

    def __repr__(self) -> str:
        return "|".join(map(repr, self.values))


class Where(NamedTuple):
    """What one note says: where the program stands, and what its narrow locals hold there."""

    site: int
    values: tuple[Hashable, ...]


class Holds(NamedTuple):
    """What one note says: what a wide local holds, if that is no symbol of the task."""

    name: str
    value: Hashable


Part = Where | Holds | str
"""A note; a symbol of the task stands for itself."""


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
        self.task, self.sites = task, Sites()
        self._numbers: dict[State, int] = {}
        self._met: list[int] = []
        self._records: list[Recorder] = []
        self._groups: list[int] = []
        self._short: list[bool] = []
        self._noting = Noting(task, [MARK], self._meet, "")
        trained = task.defaults.train_length
        self._run(task.worst_cases(trained), 0, QUESTIONS)
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
        self.short = np.array(self._short)
        """The runs, by number, that it is enough to look at for where notes are needed."""
        self.vocab = self._noting.vocab
        """The task's, and the mark."""
        self.mark = len(self.vocab) - 1
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
        self.symbols = frozenset(task.symbols)
        """The task's."""
        self.values = self._values()
        """What the training length has for a local of a site."""
        self.counts = {local: len(values) for local, values in self.values.items()}
        """How many that are."""

    def _run(self, prompts: Iterable[list[str]], group: int, questions: int) -> None:
        begin = len(self._met)
        for prompt in prompts:
            self._records.append(Recorder())
            runner.run(self._noting, prompt, self._records[-1])
            self._groups.append(group)
            self._short.append(len(self._met) - begin <= ROW_QUESTIONS)
            if len(self._met) - begin >= questions:
                break

    def _meet(self, frame: FrameType) -> Sequence[str]:
        self._met.append(self._numbers.setdefault(self.sites.state(frame), len(self._numbers)))
        return (MARK,)

    def _values(self) -> dict[Local, set[Hashable]]:
        values: dict[Local, set[Hashable]] = {}
        for site, held in self.trained():
            for i, value in enumerate(held):
                values.setdefault((site, i), set()).add(value)
        return values

    def trained(self) -> list[State]:
        """The states met at the training length, in order."""
        return [self.states[number] for number in np.unique(self.state[self.group == 0]).tolist()]


def _problems(task: Task, length: int, most: int, up_to: bool) -> Iterator[list[str]]:
    return (task.problem("notes", 0, length, i, up_to=up_to) for i in range(most))


class Parts:
    """Which notes say a state: one says where it stands and what its narrow locals hold; then one for each wide local.

    A wide local's value that is a symbol of the task is said as it is, so that it looks like what was read; the notes
    of such a state stand between note marks.
    """

    def __init__(self, runs: Runs, left_out: frozenset[Local] = frozenset(), alike: Alike | None = None):
        self._runs, self._left_out, self._alike = runs, left_out, alike or {}
        self._layouts: dict[int, tuple[list[int], list[tuple[int, str]]]] = {}

    def without(self, some: set[Local]) -> Parts:
        """The same, but that some locals are not said."""
        return Parts(self._runs, self._left_out | some, self._alike)

    def merged(self, some: set[Local], values: tuple[Hashable, ...]) -> Parts:
        """The same, but that some narrow locals' values are said as one."""
        either = Either(values)
        merged = {local: self._alike.get(local, {}) | dict.fromkeys(values, either) for local in some}
        return Parts(self._runs, self._left_out, self._alike | merged)

    def says(self, local: Local) -> bool:
        """Whether a local is said, and may differ from one time to the other."""
        return local not in self._left_out and self._runs.counts.get(local, 0) > 1

    def layout(self, site: int) -> tuple[list[int], list[tuple[int, str]]]:
        """Numbers of the narrow locals of a site, and of the wide ones with their names."""
        if site not in self._layouts:
            said = [i for i in range(len(self._runs.sites.all[site].locals)) if (site, i) not in self._left_out]
            wide = [i for i in said if self._runs.counts.get((site, i), 0) > WIDE]
            names = [(i, self._runs.sites.all[site].locals[i][1]) for i in wide]
            self._layouts[site] = [i for i in said if i not in wide], names
        return self._layouts[site]

    def of(self, state: State) -> list[Part]:
        """The notes of a state, without the marks."""
        site, held = state
        narrow, wide = self.layout(site)
        symbols = self._runs.symbols
        values = [(name, held[i]) for i, name in wide]
        apart = [value if isinstance(value, str) and value in symbols else Holds(name, value) for name, value in values]
        return [Where(site, tuple([self._alike.get((site, i), {}).get(held[i], held[i]) for i in narrow])), *apart]


class Annotated:
    """Some of the recorded runs as they would be with notes at some of the sites."""

    def __init__(self, runs: Runs, parts: Parts, noted: set[int]):
        self._runs = runs
        self._numbers: dict[Part, int] = {}
        times = runs.short[runs.run].astype(np.int64)
        here = np.isin(runs.site, list(noted)) & (times[runs.marks] == 1)
        states = {n: self._ids(parts.of(runs.states[n])) for n in np.unique(runs.state[here]).tolist()}
        said = [states[n] for n in runs.state[here].tolist()]
        times[runs.marks] = 0
        times[runs.marks[here]] = [len(ids) for ids in said]
        self.source = np.repeat(np.arange(len(runs.ids)), times)
        """Where each token comes from in the record."""
        ids = runs.ids[self.source]
        ids[ids == runs.mark] = [token for ids in said for token in ids]
        ends = np.flatnonzero(np.diff(runs.run[self.source])) + 1
        sequences = zip(np.split(ids, ends), np.split(runs.said[self.source], ends), strict=True)
        self.contexts = suffix.Contexts.of(list(sequences), runs.mark + len(self._numbers))

    def _ids(self, parts: list[Part]) -> list[int]:
        ids = [self._id(part) for part in parts]
        return [NOTE, *ids, END_NOTE] if any(isinstance(part, str) for part in parts) else ids

    def _id(self, part: Part) -> int:
        """A symbol's own; new ones for the notes, from the mark's on."""
        if isinstance(part, str):
            return self._runs.vocab.ids[part]
        return self._runs.mark + self._numbers.setdefault(part, len(self._numbers))

    def decide(self, reach: int, names: frozenset[str]) -> tuple[np.ndarray, int]:
        """Where in the record stand the tokens that the last `reach` do not decide, whatever these names are; and how
        many contexts there are to be met."""
        contexts = Renamed.of(self.contexts, self._runs.vocab.encode(sorted(names)), reach) if names else self.contexts
        tree = suffix.build(contexts, reach)
        return self.source[contexts.positions[tree.depth < 0]], len(np.unique(tree.leaf))

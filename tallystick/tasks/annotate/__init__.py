"""Programs that say their control state in notes: Theorem 2.2 for Python (paper, section 1).

A program whose live locals take finitely many values is a finite machine at its tools. If it says its state, what
decides it is never far back: it becomes local without being rewritten. Notes are not remembered, so its own pointers
never meet one. `annotate` runs the program on problems of the training length, looks where the last few tokens do not
decide what it says next, and has it say its state at the questions before these places: where it stands, and what its
live locals hold; of labels that it only copies, what counts is where they stand again (renamed.py). A state that is met
for the first time later is a reported failure.

    addition, paper: {_add+10} before each read on the first way to the =; on the second way there is no note
"""

from __future__ import annotations

from collections.abc import Sequence
from types import FrameType

from tallystick.tasks.annotate.annotated_task import Noting
from tallystick.tasks.annotate.control import Named
from tallystick.tasks.annotate.placement import choose, labels, refuse
from tallystick.tasks.annotate.traces import Holds, Runs, State, Where
from tallystick.tasks.base import Task
from tallystick.workspace import ProgramError

_KNOWN: dict[tuple[type[Task], str, str], Notes] = {}
"""What this process has found out, by class, options and variant."""


def annotate(task: Task, ending: str) -> Noting:
    """The task with notes; its variant's name has this ending. Raises ValueError, naming what cannot be said."""
    key = (task.home, task.options, task.variant)
    if key not in _KNOWN:
        try:
            _KNOWN[key] = Notes(task)
        except ProgramError:
            raise
        except ValueError as error:
            raise ValueError(f"{task.name}: no notes for the {task.variant} program: {error}") from None
    notes = _KNOWN[key]
    return Noting(task, notes.symbols.values(), notes.say, task.variant + ending)


class Notes:
    """What a task's program says of its state, and where. Raises ValueError, naming what cannot be said."""

    def __init__(self, task: Task):
        runs = Runs(task)
        self._sites = runs.sites
        self._noted, self._parts = choose(runs)
        refuse(runs, self._parts, self._noted)
        self._known = {site for site, _ in runs.trained()}
        self._labels = labels(runs, self._noted)
        states = [state for state in runs.trained() if state[0] in self._noted]
        parts = dict.fromkeys(part for state in states for part in self._parts.of(state) if not isinstance(part, str))
        self.symbols = {part: self._symbol(part) for part in parts}
        """By part: {_row+4 carry=1} says where the program stands, and what its narrow locals hold as far as that
        varies; {count=83} what a wide one holds."""
        self._said: dict[State, list[str]] = {}

    def _symbol(self, part: Where | Holds) -> str:
        if isinstance(part, Holds):
            return f"{{{part.name}={part.value!r}}}"
        site, (narrow, _) = part.site, self._parts.layout(part.site)
        words = [
            f"{self._sites.all[site].locals[i][1]}={value!r}"
            for i, value in zip(narrow, part.values, strict=True)
            if self._parts.says((site, i))
        ]
        return f"{{{' '.join([self._labels[site], *words])}}}"

    def say(self, frame: FrameType) -> Sequence[str]:
        """The notes before a question that this frame is about to ask. Raises ProgramError in a state not met."""
        number = self._sites.number(frame)
        if number not in self._noted and number in self._known:
            return ()
        state = self._sites.state(frame)
        if state not in self._said:
            try:
                self._said[state] = [p if isinstance(p, str) else self.symbols[p] for p in self._parts.of(state)]
            except KeyError:
                raise ProgramError(f"no note for {self._text(state)}: not met at the training length") from None
        return self._said[state]

    def _text(self, state: State) -> str:
        site = self._sites.all[state[0]]
        held = [f"{name} = {value!r}" for (_, name), value in zip(site.locals, state[1], strict=True)
                if not isinstance(value, Named)]  # fmt: skip
        return f"the control state {', '.join([' < '.join(map(str, site.places[::-1])), *held])}"

"""A task whose program says notes before it asks its tools: it runs as it is, in a Workspace that says them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from types import FrameType
from typing import Any

from tallystick.tasks.annotate.control import Named
from tallystick.tasks.base import Task
from tallystick.workspace import PointerHandle, TapeHandle, Workspace

Say = Callable[[FrameType], Sequence[str]]
"""The notes before a question that this frame is about to ask."""


class NotingHandle:
    """A pointer or the tape, as the program holds it: notes are said before each read."""

    def __init__(self, name: str, handle: PointerHandle | TapeHandle, note: Callable[[FrameType], None]):
        self.control_state = Named(name)
        self._read, self._note = handle.read, note
        self.left, self.right = handle.left, handle.right
        if isinstance(handle, TapeHandle):
            self.write = handle.write

    def read(self) -> str:
        """What stands there."""
        self._note(sys._getframe(1))
        return self._read()


class NotingWorkspace:
    """A Workspace that says notes before each question to a tool."""

    control_state = Named("workspace")

    def __init__(self, w: Workspace, say: Say):
        self._w, self._say = w, say
        self._pointers: dict[int, NotingHandle] = {}

    def _note(self, frame: FrameType) -> None:
        notes = self._say(frame)
        if notes:
            self._w.note(*notes)

    def pointer(self, i: int) -> NotingHandle:
        """Pointer i."""
        if i not in self._pointers:
            self._pointers[i] = NotingHandle(f"p{i}", self._w.pointer(i), self._note)
        return self._pointers[i]

    @cached_property
    def tape(self) -> NotingHandle:
        """The tape."""
        return NotingHandle("tape", self._w.tape, self._note)

    def find(self, *symbols: str) -> list[list[str]]:
        """As Workspace.find."""
        self._note(sys._getframe(1))
        return self._w.find(*symbols)

    def call(self, name: str, *arguments: Sequence[str]) -> list[str]:
        """As Workspace.call."""
        self._note(sys._getframe(1))
        return self._w.call(name, *arguments)

    def __getattr__(self, name: str) -> Any:
        """What asks no tool is the Workspace's own."""
        return getattr(self._w, name)


class Noting(Task):
    """A task whose program says notes; all else is the task's own, problems included."""

    SAME = (
        *("options", "name", "tools", "variants", "defaults", "min_length", "max_length", "blank"),
        *(
            "takes_options",
            "answers_by_token",
            "worst_cases",
            "sample_up_to",
            "parse",
            "format",
            "score",
            "tape",
        ),
        *("partial_score", "tape_limit", "problem", "home"),
    )

    def __init__(self, task: Task, notes: Iterable[str], say: Say, variant: str):
        self.task, self._say, self.variant = task, say, variant
        for name in self.SAME:
            vars(self)[name] = getattr(task, name)
        self.notes = dict.fromkeys((*task.notes, *notes))
        self.symbols = list(dict.fromkeys((*task.symbols, *notes)))

    @property
    def built_tools(self):
        """The task's."""
        return self.task.built_tools

    @property
    def own_worst_cases(self) -> bool:
        """The task's."""
        return self.task.own_worst_cases

    def sample(self, length, rng):
        """The task's."""
        return self.task.sample(length, rng)

    def answer(self, prompt):
        """The task's."""
        return self.task.answer(prompt)

    def token_limit(self, prompt):
        """Notes come with questions, which are two tokens at least."""
        return 3 * self.task.token_limit(prompt)

    @property
    def program(self):
        """The task's, in a Workspace that says notes."""
        return self._noting

    def _noting(self, w: Workspace) -> None:
        self.task.program(NotingWorkspace(w, self._say))


BASE = Noting._noting.__code__
"""The frame below a program's own."""

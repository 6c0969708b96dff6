"""A task whose program says notes: it runs unchanged, in a Workspace that calls back before each question to a tool.

A question is a read, a search or a call, which a tool answers; moves and writes are not answered.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from types import FrameType
from typing import Any

from tallystick.tasks.annotate.control import Named
from tallystick.tasks.base import Task
from tallystick.tools import StatefulTool, Tool
from tallystick.workspace import PointerHandle, TapeHandle, Workspace

Notes = Callable[[FrameType], Sequence[str]]
"""A function from the frame that is about to ask a question to the notes to say before it."""


class AnnotatedHandle:
    """A handle on a pointer or the tape that says notes before each read."""

    def __init__(self, name: str, handle: PointerHandle | TapeHandle, before_question: Callable[[FrameType], None]):
        self.control_state = Named(name)
        self._read, self._before_question = handle.read, before_question
        self.left, self.right = handle.left, handle.right
        if isinstance(handle, TapeHandle):
            self.write = handle.write

    def read(self) -> str:
        """Say the notes, then read the symbol."""
        self._before_question(sys._getframe(1))
        return self._read()


class AnnotatedWorkspace:
    """A Workspace that says notes before each question."""

    control_state = Named("workspace")

    def __init__(self, w: Workspace, notes: Notes):
        self._w, self._notes = w, notes
        self._pointers: dict[int, AnnotatedHandle] = {}
        self.prompt_was_read = False

    def _before_question(self, frame: FrameType) -> None:
        notes = self._notes(frame)
        if notes:
            self._w.note(*notes)

    def pointer(self, i: int) -> AnnotatedHandle:
        """Return pointer i, as Workspace.pointer does."""
        if i not in self._pointers:
            self._pointers[i] = AnnotatedHandle(f"p{i}", self._w.pointer(i), self._before_question)
        return self._pointers[i]

    @cached_property
    def tape(self) -> AnnotatedHandle:
        """The tape tool, as Workspace.tape."""
        return AnnotatedHandle("tape", self._w.tape, self._before_question)

    def find(self, *symbols: str) -> list[list[str]]:
        """Say the notes, then search as Workspace.find does."""
        self._before_question(sys._getframe(1))
        return self._w.find(*symbols)

    def call(self, name: str, *arguments: Sequence[str]) -> list[str]:
        """Say the notes, then call as Workspace.call does."""
        self._before_question(sys._getframe(1))
        return self._w.call(name, *arguments)

    @property
    def prompt(self) -> list[str]:
        """The problem, as Workspace.prompt; reading it asks no tool, so no note can precede it."""
        self.prompt_was_read = True
        return self._w.prompt

    def __getattr__(self, name: str) -> Any:
        """Pass on all other attributes, which ask no tool."""
        return getattr(self._w, name)


class AnnotatedTask(Task):
    """A task whose program says notes; everything else, including its problems, is the original task's."""

    SAME = (
        *("options", "name", "tools", "variants", "defaults", "min_length", "max_length", "blank", "shape"),
        *("takes_options", "answers_by_token", "worst_cases", "sample_up_to", "parse", "format"),
        *("score", "partial_score", "tape", "tape_limit", "problem", "home"),
    )
    """Attributes and methods copied from the original task."""

    def __init__(self, task: Task, symbols: Iterable[str], notes: Notes, variant: str):
        self.task, self._notes_at, self.variant = task, notes, variant
        for name in self.SAME:
            vars(self)[name] = getattr(task, name)
        self.notes = dict.fromkeys((*task.notes, *symbols))
        self.symbols = list(dict.fromkeys((*task.symbols, *symbols)))
        self.reads_prompt = False
        """Whether the program has read w.prompt in any of its runs."""

    @property
    def built_tools(self) -> list[Tool | StatefulTool]:
        """The original task's tools."""
        return self.task.built_tools

    @property
    def own_worst_cases(self) -> bool:
        """Whether the original task gives worst cases of its own."""
        return self.task.own_worst_cases

    def sample(self, length: int, rng: random.Random) -> list[str]:
        """Draw a problem of the original task."""
        return self.task.sample(length, rng)

    def answer(self, prompt: list[str]) -> Sequence[str]:
        """Compute the original task's answer."""
        return self.task.answer(prompt)

    def token_limit(self, prompt: Sequence[str]) -> int:
        """Return three times the task's limit: a question, of at least two tokens, gets at most two notes and marks."""
        return 3 * self.task.token_limit(prompt)

    @property
    def program(self) -> Callable[[Workspace], None]:
        """The task's program, run in a Workspace that says notes."""
        return self._annotated

    def _annotated(self, w: Workspace) -> None:
        workspace = AnnotatedWorkspace(w, self._notes_at)
        self.task.program(workspace)
        self.reads_prompt |= workspace.prompt_was_read


BASE = AnnotatedTask._annotated.__code__
"""Code of the frame that calls a program; the program's own frames are above it."""

"""Notes: make a program local by having it say its control state (`--annotate`; Theorem 2.2, paper section 1).

A program whose live locals take finitely many values is a finite machine at its tools. If it says its state in notes,
what decides its next token is never far back: it becomes local without being rewritten. Notes are trained but not
remembered, so the program's own pointers never meet one.

    addition, paper: {_add+10} before each read on the first way to the =; on the second way there is no note

How it is done, module by module:

1. `control` describes the state of a running program: where its open frames stand, and what their live locals hold
   (`liveness` tells which those are).
2. `annotated_task` runs a program unchanged, in a Workspace that calls back before each question to a tool.
3. `traces` records the program on worst cases and random problems, with the state before each question.
4. `wording` turns states into notes.
5. `trial` reads the traces as they would be with some notes, and finds the tokens that the last few do not decide;
   labels that the program only copies are compared by where they stand again (`renaming`).
6. `placement` chooses the questions that get notes and what these say: as little as will do.
7. `refusal` names what no note can say.
8. `notes` says them while the program runs. A state first met later is a reported failure.
"""

from __future__ import annotations

from tallystick.tasks.annotate.annotated_task import AnnotatedTask
from tallystick.tasks.annotate.notes import Notes
from tallystick.tasks.base import Task
from tallystick.workspace import ProgramError

_KNOWN: dict[tuple[type[Task], str, str], Notes] = {}
"""The notes found by this process, by the task's class, options and variant."""


def annotate(task: Task, ending: str) -> AnnotatedTask:
    """The task with notes; `ending` is appended to its variant. Raises ValueError, naming what no note can say."""
    key = (task.home, task.options, task.variant)
    if key not in _KNOWN:
        try:
            _KNOWN[key] = Notes(task)
        except ProgramError:
            raise
        except ValueError as error:
            raise ValueError(f"{task.name}: no notes for the {task.variant} program: {error}") from None
    notes = _KNOWN[key]
    return AnnotatedTask(task, notes.symbols.values(), notes.before, task.variant + ending)

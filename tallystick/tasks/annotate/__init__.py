"""Notes: make a program local by having it say its control state (`--annotate`; Theorem 2.2, paper section 1).

A program whose live locals take finitely many values is a finite machine that uses tools. If it says its state in
notes, the tokens that decide the next one are never far back: it becomes local without being rewritten. Notes are
trained but not remembered, so the program's pointers never read one.

    addition, paper: {_add+10} before each read on the first way to the =; on the second way there is no note

The modules, in the order of their use:

1. `control` describes the state of a running program: the positions of its open frames, and the values of their live
   locals (determined by `liveness`).
2. `annotated_task` runs a program unchanged, in a Workspace that calls back before each question to a tool.
3. `traces` records the program on worst cases and random problems, with the state before each question.
4. `wording` turns states into notes.
5. `trial` inserts notes into the traces, and finds the tokens that the last few do not decide; labels that the program
   only copies are compared up to renaming (`renaming`).
6. `placement` chooses the questions that get notes, and the notes' contents, as sparingly as possible.
7. `refusal` explains why no notes make a program local.
8. `notes` says the notes while the program runs. A state first met after training is a reported failure.
"""

from __future__ import annotations

from tallystick.tasks.annotate.annotated_task import AnnotatedTask
from tallystick.tasks.annotate.notes import Notes
from tallystick.tasks.base import Task
from tallystick.workspace import ProgramError

_KNOWN: dict[tuple[type[Task], str, str], Notes] = {}
"""Notes found by this process, by the task's class, options and variant."""


def annotate(task: Task, ending: str) -> AnnotatedTask:
    """Return the task with notes; ending: appended to its variant. Raises ValueError if no notes make it local."""
    if task.text:
        raise ValueError(f"{task.name}: notes are for programs of symbols; this is a text task")
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

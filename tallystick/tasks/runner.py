"""Run programs on problems; a correct one writes its trajectory to the sink, a wrong one raises ProgramError."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

import numpy as np

from tallystick.episode import Recorder, Sink, StopProgram
from tallystick.problem import prompt_digest
from tallystick.tasks.base import Task
from tallystick.tasks.guard import paused, task_code
from tallystick.workspace import ProgramError, Workspace


class _SinkFailed(BaseException):
    """Carries a sink's own error, such as a full disk, past the guard of the program."""


class _Guard:
    """A sink between an episode and its sink, which stops endless programs and separates the sink's errors."""

    def __init__(self, sink: Sink, limit: int):
        self._sink, self._limit, self._written = sink, limit, 0

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Pass on a block; the sink's time does not count as the program's."""
        with paused():
            try:
                self._sink.write(ids, roles)
            except Exception as error:
                raise _SinkFailed(error) from error
        self._written += len(ids)
        if self._written > self._limit:
            raise ProgramError(f"more than {self._limit:,} tokens: the program does not end")

    def close(self, ok: bool) -> None:
        """Leave the sink open, since `run` closes it with its verdict."""


Play = Callable[[Task, list[str], Sink], None]
"""Writes the trajectory of a task's program on one problem into a sink. Raises ProgramError for a wrong program."""


def interpret(task: Task, prompt: list[str], sink: Sink) -> None:
    """Run the program as Python, in a Workspace."""
    with closing(Workspace(task, prompt, sink)) as workspace:
        task.part_of(prompt)[0].program(workspace)
        workspace.finish()


def run(task: Task, prompt: list[str], sink: Sink, play: Play = interpret) -> None:
    """Run the task's program on one problem and write its trajectory to `sink`, unless that raises StopProgram.

    play: how it is run; `locality.programs` has a faster way, which makes the same tokens. Raises ProgramError, after
    `sink.close(False)`, if the program is wrong, endless, or fails; errors of the sink are passed on unchanged.
    """
    if isinstance(sink, Recorder):
        sink.digest = prompt_digest(prompt)
    try:
        with task_code(task, f"the problem {_short(prompt)}"):
            part, own = task.part_of(prompt)
            play(task, prompt, _Guard(sink, part.token_limit(own)))
    except StopProgram:
        return
    except _SinkFailed as error:
        raise error.args[0] from None
    except ProgramError:
        sink.close(False)
        raise
    sink.close(True)


def run_problem(
    task: Task,
    sink: Sink,
    split: str,
    seed: int,
    length: int,
    index: int,
    *,
    up_to: bool = False,
    play: Play = interpret,
) -> None:
    """Run the program on `task.problem(...)`. Raises ProgramError naming task, length, seed and problem."""
    prompt = task.problem(split, seed, length, index, up_to=up_to)
    try:
        run(task, prompt, sink, play)
    except ProgramError as error:
        raise ProgramError(f"{error}, {split} problem {index} of length {length}, seed {seed}") from error


def record(task: Task, prompt: list[str], limit: int | None = None, play: Play = interpret) -> Recorder:
    """Run the program on one problem and keep its trajectory; limit: number of tokens after which it is ended."""
    recorder = Recorder(limit)
    run(task, prompt, recorder, play)
    return recorder


def _short(prompt: Sequence[str]) -> str:
    words = [str(symbol) for symbol in prompt[:24]]
    return " ".join(words) + (" ..." if len(prompt) > 24 else "")

"""Runs programs on problems: a right one fills the sink with its trajectory, a wrong one is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np

from tallystick.episode import Recorder, Sink, StopProgram
from tallystick.tasks.base import Task
from tallystick.tasks.guard import paused, task_code
from tallystick.workspace import ProgramError, Workspace


class _SinkFailed(BaseException):
    """Carries a sink's own error (a full disk, say) past the program and its judge."""


class _Guard:
    """Stands between an episode and its sink: refuses endless programs, and keeps the sink's errors apart."""

    def __init__(self, sink: Sink, limit: int):
        self._sink, self._limit, self._written = sink, limit, 0

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Hand on a block. The time that the sink takes is not the program's."""
        with paused():
            try:
                self._sink.write(ids, roles)
            except Exception as error:
                raise _SinkFailed(error) from error
        self._written += len(ids)
        if self._written > self._limit:
            raise ProgramError(f"more than {self._limit:,} tokens: the program does not end")

    def close(self, ok: bool) -> None:
        """Leave the sink open: `run` closes it with its verdict."""


def run(task: Task, prompt: list[str], sink: Sink) -> None:
    """Run the task's program on one problem, into `sink`; ends quietly if the sink raises StopProgram.

    Raises ProgramError, after `sink.close(False)`, if the program is wrong, endless, or fails; the sink's errors as
    they are.
    """
    try:
        with task_code(task, f"the problem {_short(prompt)}"):
            part, own = task.part_of(prompt)
            with closing(Workspace(task, prompt, _Guard(sink, part.token_limit(own)))) as workspace:
                part.program(workspace)
                workspace.finish()
    except StopProgram:
        return
    except _SinkFailed as error:
        raise error.args[0] from None
    except ProgramError:
        sink.close(False)
        raise
    sink.close(True)


def run_problem(
    task: Task, sink: Sink, split: str, seed: int, length: int, index: int, *, up_to: bool = False
) -> None:  # fmt: skip
    """Run the program on `task.problem(...)`. Raises ProgramError naming task, length, seed and problem."""
    prompt = task.problem(split, seed, length, index, up_to=up_to)
    try:
        run(task, prompt, sink)
    except ProgramError as error:
        raise ProgramError(f"{error}, {split} problem {index} of length {length}, seed {seed}") from error


def record(task: Task, prompt: list[str], limit: int | None = None) -> Recorder:
    """Run the program on one problem and keep its trajectory; limit: end it once so many tokens were said."""
    recorder = Recorder(limit)
    run(task, prompt, recorder)
    return recorder


def _short(prompt: Sequence[str]) -> str:
    words = [str(symbol) for symbol in prompt[:24]]
    return " ".join(words) + (" ..." if len(prompt) > 24 else "")

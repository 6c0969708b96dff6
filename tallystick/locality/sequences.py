"""The token sequences that locality is measured on: (ids, mask) of a program's trajectories.

`ids` are token ids [length]; the mask, bool [length], is True where the model has to say the token.
"""

from __future__ import annotations

import numpy as np

from tallystick.episode import Recorder
from tallystick.tasks import Task, runner
from tallystick.vocab import loss_mask

Sequence = tuple[np.ndarray, np.ndarray]


def sample(task: Task, split: str, seed: int, length: int, problems: int) -> list[Sequence]:
    """Record random problems of at most this length."""
    return [of_record(task, recorder) for recorder in record_sample(task, split, seed, length, problems)]


def worst_cases(task: Task, length: int) -> list[Sequence]:
    """Record the task's worst cases of this length."""
    return [of(task, prompt) for prompt in task.every_worst_case(length)]


def of(task: Task, prompt: list[str]) -> Sequence:
    """Record one problem."""
    return of_record(task, runner.record(task, prompt))


def record_sample(task: Task, split: str, seed: int, length: int, problems: int) -> list[Recorder]:
    """Record random problems of at most this length, with their roles."""
    recorders = [Recorder() for _ in range(problems)]
    for index, recorder in enumerate(recorders):
        runner.run_problem(task, recorder, split, seed, length, index, up_to=True)
    return recorders


def of_record(task: Task, recorder: Recorder) -> Sequence:
    """A recorded trajectory as (ids, mask)."""
    return recorder.ids, loss_mask(recorder.roles, task.predict_observations)

"""Record the token sequences on which locality is measured: (ids, mask) of a program's trajectories.

`ids` are token ids [length]; `mask`, bool [length], is True at model tokens.
"""

from __future__ import annotations

import numpy as np

from tallystick.episode import Recorder
from tallystick.locality import programs
from tallystick.tasks import Task
from tallystick.vocab import loss_mask

Sequence = tuple[np.ndarray, np.ndarray]
"""Token ids and mask of one trajectory."""


def sample(task: Task, split: str, seed: int, length: int, problems: int) -> list[Sequence]:
    """Record random problems of at most this length as sequences."""
    return [of_record(task, recorder) for recorder in record_sample(task, split, seed, length, problems)]


def worst_cases(task: Task, length: int) -> list[Sequence]:
    """Record the task's worst cases of this length as sequences."""
    return [of(task, prompt) for prompt in task.every_worst_case(length)]


def of(task: Task, prompt: list[str]) -> Sequence:
    """Record one problem as a sequence."""
    return of_record(task, programs.record(task, prompt))


def record_sample(task: Task, split: str, seed: int, length: int, problems: int) -> list[Recorder]:
    """Record random problems of at most this length."""
    recorders = []
    for index in task.indices(split, length, problems, up_to=True):
        recorders.append(Recorder())
        programs.run_problem(task, recorders[-1], split, seed, length, index, up_to=True)
    return recorders


def of_record(task: Task, recorder: Recorder) -> Sequence:
    """Return a recorded trajectory as (ids, mask)."""
    return recorder.ids, loss_mask(recorder.roles, task.predict_observations)

"""Choose the held-out problems that decide when training stops: they have every worst case and every context."""

from __future__ import annotations

import numpy as np

from tallystick import suffix
from tallystick.episode import Recorder
from tallystick.locality import programs, sequences
from tallystick.tasks import Task

REACH = 64
"""Maximum number of last tokens by which contexts are distinguished, as in the lookup model."""


def choose(task: Task, seed: int, length: int, problems: int = 2000, most: int = 500) -> tuple[list[Recorder], int]:
    """Choose held-out problems of at most this length; return their trajectories and how many would meet all contexts.

    Every worst case is chosen, then those of `problems` random ones that contain a context not met yet, until there are
    `most`. If that number is enough, a test on them is exhaustive at this length. Raises ProgramError if the program is
    wrong on one of them.
    """
    random = sequences.record_sample(task, "holdout", seed, length, problems)
    worst = [programs.record(task, prompt) for prompt in task.every_worst_case(length)]
    records = worst + random
    met: set[int] = set()
    chosen: list[Recorder] = []
    for number, (record, contexts) in enumerate(zip(records, _contexts(task, records), strict=True)):
        if number < len(worst) or not contexts <= met:
            chosen.append(record)
            met |= contexts
    return chosen[: max(most, len(worst))], len(chosen)


def _contexts(task: Task, records: list[Recorder]) -> list[set[int]]:
    """Return the indices of the deciding contexts in each trajectory."""
    told = [sequences.of_record(task, record) for record in records]
    leaf = suffix.build(suffix.Contexts.of(told, len(task.vocab)), REACH).leaf
    ends = np.cumsum([mask.sum() for _, mask in told])
    return [set(leaves.tolist()) for leaves in np.split(leaf, ends[:-1])]

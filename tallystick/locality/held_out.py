"""The held-out problems that training stops by: together they contain every context of the training length."""

from __future__ import annotations

import numpy as np

from tallystick import suffix
from tallystick.episode import Recorder
from tallystick.locality import sequences
from tallystick.tasks import Task, runner


def choose(task: Task, seed: int, length: int, problems: int = 2000, most: int = 500) -> tuple[list[Recorder], int]:
    """Choose held-out problems of at most this length; returns their trajectories, and how many it would take to meet
    every context that the lookup model would know.

    Chosen greedily among `problems` random ones and the worst cases, of which none is left out where more than `most`
    are needed; where they are not, a test on them is exhaustive at this length. Raises ProgramError if the program is
    wrong on one of the problems.
    """
    sinks = sequences.record_sample(task, "holdout", seed, length, problems)
    sinks += [runner.record(task, prompt) for prompt in task.worst_cases(length)]
    sequences_ = [sequences.of_record(task, sink) for sink in sinks]
    leaf = suffix.build(suffix.Contexts.of(sequences_, len(task.vocab)), 64).leaf
    ends = np.cumsum([mask.sum() for _, mask in sequences_])
    chosen, seen = [], set()
    for i, leaves in enumerate(np.split(leaf, ends[:-1])):
        new = set(leaves.tolist()) - seen
        if new:
            seen |= new
            chosen.append(i)
    if len(chosen) > most:
        chosen.sort(key=lambda i: i < problems)  # the worst cases, which came last, first
    return [sinks[i] for i in chosen[:most]], len(chosen)

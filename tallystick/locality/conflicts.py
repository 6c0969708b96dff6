"""Conflicts: pairs of problems whose last tokens agree and whose next tokens differ."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from tallystick import suffix
from tallystick.locality import sequences
from tallystick.tasks import Task

LONGEST = 200_000
"""Number of model tokens after which no more problems of a length are looked at."""


class Conflict(TypedDict):
    """Two problems whose last `agree` tokens are the same somewhere, though what follows differs."""

    agree: int
    next: list[str]
    problems: list[str]


def growing(task: Task, lengths: list[int], problems: int, seed: int) -> list[Conflict]:
    """Find for each length the two problems that agree for longest, as long as that grows from length to length."""
    found: list[Conflict] = []
    for length in lengths:
        conflict = _longest(task, length, problems, seed)
        if conflict is not None and (not found or conflict["agree"] > found[-1]["agree"]):
            found.append(conflict)
    return found


def _longest(task: Task, length: int, problems: int, seed: int) -> Conflict | None:
    prompts = list(task.every_worst_case(length))
    prompts += [task.problem("check", seed, length, i, up_to=True) for i in range(problems)]
    found = []
    size = 0
    for prompt in prompts:
        found.append(sequences.of(task, prompt))
        size += len(found[-1][0])
        if size > LONGEST:
            break
    contexts = suffix.Contexts.of(found, len(task.vocab))
    depth = suffix.build(contexts).depth
    depth = np.where(depth < 0, len(contexts.ids), depth)
    which = int(np.argmax(depth))
    pair = _other(contexts, which, int(depth[which]))
    if pair is None:
        return None
    agree, other = pair
    number = np.repeat(np.arange(len(found)), [int(mask.sum()) for _, mask in found])
    return {
        "agree": agree,
        "next": [task.vocab.tokens[contexts.targets[i]] for i in (which, other)],
        "problems": [task.format(prompts[number[i]]) for i in (which, other)],
    }


def _other(contexts: suffix.Contexts, which: int, depth: int) -> tuple[int, int] | None:
    """Return how many last tokens another position shares at most with this one, though another token follows there."""
    alike = np.flatnonzero(contexts.targets != contexts.targets[which])
    agree = 0
    while len(alike) and agree < depth:
        same = alike[contexts.back(agree + 1, alike) == contexts.back(agree + 1, np.array([which]))]
        if not len(same):
            break
        alike, agree = same, agree + 1
    return (agree, int(alike[0])) if len(alike) else None

"""Problems that contain given contexts, for further training where a model is not certified."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from tallystick.locality import deciding, sequences
from tallystick.locality.certify.certificate import OpenContext
from tallystick.locality.certify.contexts import PAD, Contexts
from tallystick.locality.certify.errors import LONGEST, prompt_before
from tallystick.tasks import Task, runner
from tallystick.tasks.runner import ProgramError

RANDOM = 300
"""Number of random problems of each length among which contexts are looked for."""
LENGTHS = 3
"""Number of the task's `check` lengths whose problems are looked at beside those of the training length."""
EACH = 4
"""Number of problems that are wanted of each context."""
MOST = 1000
"""Maximum number of problems."""

Window = tuple[int, ...]
"""The last tokens of a context, as ids; PAD stands for those before the beginning."""


def problems_with(
    task: Task, contexts: Contexts, rows: Sequence[OpenContext], seed: int, train_length: int
) -> list[list[str]]:
    """Find problems that contain open contexts, several of each: at first those known, then random ones, then the
    shortest that may lead there.

    A problem contains a context if the program says a token of it after the same last tokens, as many as tell contexts
    apart. Contexts that the abstraction allows and no problem has are left out.
    """
    size = contexts.tokens.shape[1]
    left = dict.fromkeys((_window(task, row["context"], size) for row in rows), EACH)
    found: dict[tuple[str, ...], list[str]] = {}
    for prompt in _candidates(task, contexts, rows, left, seed, train_length):
        if not left or len(found) == MOST:
            break
        for window in _windows(task, prompt, size) & left.keys():
            found[tuple(prompt)] = prompt
            left[window] -= 1
            if not left[window]:
                del left[window]
    return list(found.values())


def _window(task: Task, context: Sequence[str], size: int) -> Window:
    ids = [task.vocab.ids[token] for token in context[-size:]]
    return (*[PAD] * (size - len(ids)), *ids)


def _candidates(
    task: Task, contexts: Contexts, rows: Sequence[OpenContext], left: dict[Window, int], seed: int, train_length: int
) -> Iterator[list[str]]:
    """Yield problems that may contain the contexts that are left."""
    yield from (task.parse(row["problem"]) for row in rows if row["problem"] is not None)
    yield from deciding.longer(task, seed, sorted({train_length, *task.defaults.check[:LENGTHS]}), RANDOM)
    ends: defaultdict[Window, list[int]] = defaultdict(list)
    for context in contexts.speaking.tolist():
        ends[tuple(contexts.tokens[context].tolist())].append(context)
    for window in list(left):
        for context in ends[window]:
            prompt = prompt_before(task, contexts, [context])
            if prompt:
                yield list(prompt)


def _windows(task: Task, prompt: list[str], size: int) -> set[Window]:
    """Return the last tokens at each place of a problem where the program says a token."""
    try:
        ids, mask = sequences.of_record(task, runner.record(task, prompt, LONGEST))
    except (ProgramError, ValueError):
        return set()  # the shape allows more than the task's problems
    padded = np.concatenate([np.full(size, PAD), ids.astype(np.int64)])
    return {tuple(padded[at : at + size].tolist()) for at in np.flatnonzero(mask)}

"""Real errors: problems on which the model says another token than the program, in a context that stays open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from tallystick.locality import deciding, sequences
from tallystick.locality.certify.contexts import Contexts
from tallystick.locality.token_graph import NOTHING
from tallystick.models.base import Model
from tallystick.tasks import Task
from tallystick.tasks.runner import ProgramError

AIMED, RANDOM = 400, 150
"""Maximum number of problems that are made to reach an open context, and that are drawn at random of each length."""
LONGEST = 20_000
"""Number of tokens from which on a problem is not run."""


def candidates(task: Task, contexts: Contexts, paths: Iterable[np.ndarray], seed: int) -> Iterator[list[str]]:
    """Yield problems that may reach the open contexts: the prompts on the shortest ways there, then others."""
    seen = set[tuple[str, ...]]()
    for path in paths:
        prompt = _prompt_before(task, contexts, path)
        if prompt and prompt not in seen and len(seen) < AIMED:
            seen.add(prompt)
            yield list(prompt)
    lengths = sorted({task.defaults.train_length, *task.defaults.check[:3]})
    yield from deciding.longer(task, seed, lengths, RANDOM)


def _prompt_before(task: Task, contexts: Contexts, path: np.ndarray) -> tuple[str, ...]:
    """Return the prompt of the shortest sequence that leads along a path; empty if it is not whole there."""
    way = [int(context) for context in path]
    while way[0]:
        way.insert(0, contexts.before[way[0]][0])  # contexts are numbered in the order of a breadth-first search
    speaks = np.flatnonzero(contexts.said[way] != NOTHING)
    if not len(speaks):
        return ()
    return tuple(task.vocab.tokens[contexts.tokens[context, -1]] for context in way[2 : speaks[0] + 1])


def find(
    task: Task, model: Model, contexts: Contexts, paths: list[np.ndarray], seed: int
) -> dict[tuple[int, ...], list[str]]:
    """Return problems with a real error, by the last tokens of the context in which it happens.

    Only contexts at the ends of the paths are looked for.
    """
    wanted = {tuple(contexts.tokens[path[-1]].tolist()) for path in paths}
    found: dict[tuple[int, ...], list[str]] = {}
    for prompt in candidates(task, contexts, paths, seed):
        if wanted <= found.keys():
            break
        try:
            ids, mask = sequences.of(task, prompt)
        except (ProgramError, ValueError):
            continue  # the shape allows more than the task's problems
        if len(ids) < LONGEST:
            for last in _wrong(model, ids, mask, contexts.tokens.shape[1]):
                if last in wanted:
                    found.setdefault(last, prompt)
    return found


@torch.no_grad()
def _wrong(model: Model, ids: np.ndarray, mask: np.ndarray, size: int) -> list[tuple[int, ...]]:
    """Return the last tokens at each place where the model does not say the program's token."""
    logits_LV = model(torch.from_numpy(ids.astype(np.int64))[None, :-1])[0][0]
    target_L1 = torch.from_numpy(ids[1:].astype(np.int64))[:, None]
    others_LV = logits_LV.scatter(1, target_L1, float("-inf"))
    right_L = (logits_LV.gather(1, target_L1)[:, 0] > others_LV.amax(1)).numpy()
    padded = np.concatenate([np.full(size, -1), ids.astype(np.int64)])
    return [tuple(padded[at + 1 : at + 1 + size].tolist()) for at in np.flatnonzero(mask[1:] & ~right_L)]

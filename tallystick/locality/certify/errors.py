"""Real errors: problems on which the model says another token than the program, in a context that stays open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from tallystick.locality import deciding, sequences
from tallystick.locality.certify.contexts import Contexts
from tallystick.locality.token_graph import NOTHING
from tallystick.models.base import Model
from tallystick.tasks import Task, runner
from tallystick.tasks.runner import ProgramError

AIMED, RANDOM = 150, 30
"""Maximum number of problems that are made to reach an open context, and that are drawn at random of each length."""
WAYS = 300
"""Maximum number of open contexts for which the model is run on a way through the token graph."""
LONGEST = 5000
"""Number of tokens of a problem that are looked at."""

End = tuple[tuple[int, ...], int]
"""Last tokens of a context, and the token that the program says there."""


def end_of(contexts: Contexts, path: np.ndarray) -> End:
    """Return the end of a path of contexts."""
    return tuple(contexts.tokens[path[-1]].tolist()), int(contexts.said[path[-1]])


class Known:
    """The real errors that are known.

    problems: by the last tokens where the model is wrong and the token that the program says there, a problem that has
    them.
    """

    def __init__(self, task: Task, model: Model, contexts: Contexts, seed: int):
        self._task, self._model, self._contexts, self._seed = task, model, contexts, seed
        self.problems: dict[End, list[str]] = {}
        self._tried = set[tuple[str, ...]]()

    def wrong(self, paths: np.ndarray) -> np.ndarray:
        """Return for each path of contexts whether the model is wrong at its end; look for problems that show it.

        If none is found, the shortest way through the token graph counts, though perhaps no problem takes it: with what
        is before a path known, it would still be open.
        """
        ends = [end_of(self._contexts, path) for path in paths]
        wanted = set(ends)
        for prompt in self._candidates(paths):
            if wanted <= self.problems.keys():
                break
            for end in self._wrong_in(prompt):
                self.problems.setdefault(end, prompt)
        few = len(paths) <= WAYS
        return np.array(
            [end in self.problems or (few and self._errs(path)) for end, path in zip(ends, paths, strict=True)]
        )

    @torch.no_grad()
    def _errs(self, path: np.ndarray) -> bool:
        """Return whether the model says another token at the end of the shortest way that ends in a path."""
        way = way_along(self._contexts, path.tolist())
        if len(way) > LONGEST:
            return False
        ids = torch.from_numpy(self._contexts.tokens[way[1:], -1].astype(np.int64))
        return int(self._model(ids[None])[0][0, -1].argmax()) != self._contexts.said[path[-1]]

    def _candidates(self, paths: np.ndarray) -> Iterator[list[str]]:
        """Yield problems that may reach the ends: at first random ones, then prompts on the shortest ways there."""
        if not self._tried:
            lengths = sorted({self._task.defaults.train_length, *self._task.defaults.check[:2]})
            yield from deciding.longer(self._task, self._seed, lengths, RANDOM)
        before = len(self._tried)
        for path in paths[:: max(1, len(paths) // AIMED)]:
            prompt = prompt_before(self._task, self._contexts, path.tolist())
            if prompt and prompt not in self._tried and len(self._tried) < before + AIMED:
                self._tried.add(prompt)
                yield list(prompt)

    def _wrong_in(self, prompt: list[str]) -> list[End]:
        """Return the ends at which the model does not say the program's token in a problem."""
        try:
            ids, mask = sequences.of_record(self._task, runner.record(self._task, prompt, LONGEST))
        except (ProgramError, ValueError):
            return []  # the shape allows more than the task's problems
        return _wrong(self._model, ids[:LONGEST], mask[:LONGEST], self._contexts.tokens.shape[1])


def way_along(contexts: Contexts, path: Sequence[int]) -> list[int]:
    """Return the contexts of the shortest sequence that leads along a path, the empty one first."""
    way = list(path)
    while way[0]:
        way.insert(0, contexts.before[way[0]][0])  # contexts are numbered in the order of a breadth-first search
    return way


def prompt_before(task: Task, contexts: Contexts, path: Sequence[int]) -> tuple[str, ...]:
    """Return the prompt of the shortest sequence that leads along a path; empty if it is not whole there."""
    way = way_along(contexts, path)
    speaks = np.flatnonzero(contexts.said[way] != NOTHING)
    if not len(speaks):
        return ()
    return tuple(task.vocab.tokens[contexts.tokens[context, -1]] for context in way[2 : speaks[0] + 1])


@torch.no_grad()
def _wrong(model: Model, ids: np.ndarray, mask: np.ndarray, size: int) -> list[End]:
    """Return the ends at which the model does not say the program's token."""
    logits_LV = model(torch.from_numpy(ids.astype(np.int64))[None, :-1])[0][0]
    target_L1 = torch.from_numpy(ids[1:].astype(np.int64))[:, None]
    others_LV = logits_LV.scatter(1, target_L1, float("-inf"))
    right_L = (logits_LV.gather(1, target_L1)[:, 0] > others_LV.amax(1)).numpy()
    padded = np.concatenate([np.full(size, -1), ids.astype(np.int64)])
    places = np.flatnonzero(mask[1:] & ~right_L).tolist()
    return [(tuple(padded[at + 1 : at + 1 + size].tolist()), int(ids[at + 1])) for at in places]

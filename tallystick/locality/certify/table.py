"""The lookup model in the contexts of a token graph: its table is walked back from the last token, which is exact."""

from __future__ import annotations

import numpy as np
import torch
from numpy import ndarray as Array

from tallystick import suffix
from tallystick.locality.certify.contexts import PAD, Contexts
from tallystick.locality.certify.propagate import BlockBounds
from tallystick.models.lookup import SURE, Lookup

UNKNOWN = -1
"""Stands for a token before those that are known."""


class Table:
    """What a lookup model says in contexts, and along paths of contexts; see `search.Margins`."""

    def __init__(self, model: Lookup, contexts: Contexts):
        self._model, self.contexts = model, contexts
        self._pad, longest = model.config.vocab_size, _depth(model)
        self._reach = min(model.config.reach, longest)
        self.deepest = max(0, longest - contexts.tokens.shape[1])

    def summary(self) -> list[BlockBounds]:
        """Return nothing: there are no blocks."""
        return []

    def margins(self, which: Array) -> tuple[Array, Array]:
        """Return the margins in some contexts, and the tokens that are said instead, as `margins_along`."""
        return self.margins_along(which[:, None])

    def margins_along(self, paths: Array) -> tuple[Array, Array]:
        """Return the margins at the ends of paths, each a row of contexts that follow one another.

        Where the table does not decide by the known tokens, the margin may be the least there is.
        """
        tokens = self.contexts.tokens
        known = np.concatenate([tokens[paths[:, 0]], tokens[paths[:, 1:], -1]], axis=1)
        node = self._walk(known)
        said, want = -2 - node, self.contexts.said[paths[:, -1]]
        decided = node < suffix.UNSEEN
        margins = np.where(decided & (said == want), SURE, -SURE)
        return margins, np.where(decided & (said != want), said, np.where(want == 0, 1, 0))

    def _walk(self, known: Array) -> Array:
        """Return the leaf or inner node that the last tokens lead to, or UNSEEN; before the beginning stands PAD."""
        known = np.where(known == PAD, self._pad, known)
        known = np.concatenate([np.full((len(known), self._reach), UNKNOWN), known], axis=1)
        known[:, : self._reach][known[:, self._reach] == self._pad] = self._pad
        node = torch.zeros(len(known), dtype=torch.int64)
        for token in torch.from_numpy(known).T.flip(0)[: self._reach]:
            walking = (node >= 0) & (token != UNKNOWN)
            if not walking.any():
                break
            node[walking] = self._model._step(node[walking], token[walking])
        return node.numpy()


def _depth(model: Lookup) -> int:
    """Return the length of the longest suffix in the table."""
    depth = {0: 0}
    for key, below in zip(model.keys_E.tolist(), model.values_E.tolist(), strict=True):  # an edge's end has a later key
        depth[below] = max(depth.get(below, 0), depth[key // (model.config.vocab_size + 1)] + 1)
    return max(depth.values())

"""Contexts compared up to renaming of symbols that the program uses as names, such as labels that it copies.

A program that copies labels hardly ever meets a context twice, so every token seems to be decided by the few before it.
Up to renaming there are few contexts, and the tokens that they do not decide become visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tallystick import suffix


@dataclass(frozen=True)
class RenamedContexts(suffix.Contexts):
    """Contexts in which each name is replaced by the distance to its next occurrence before the predicted token.

    A predicted name is replaced by the distance to its last occurrence. So contexts that differ only in the choice of
    names are equal.
    """

    to_next: np.ndarray
    """Distance from each token of `ids` to the next occurrence of the same name, int64 [N]; 0 if it is not a name."""
    to_last: np.ndarray
    """Distance from each token of `ids` to the previous occurrence of the same name, int64 [N]; 0 if not a name."""
    vocab_size: int
    """Size of the vocabulary; distances are encoded as ids from here on."""
    reach: int
    """Maximum distance to the last occurrence of a predicted name; a name that lies farther back stands for itself."""

    @classmethod
    def of(cls, contexts: suffix.Contexts, names: Sequence[int], reach: int) -> RenamedContexts:
        """Rename these ids in the contexts; reach: the `max_depth` with which `suffix.build` will be called."""
        ids = contexts.ids
        where = np.flatnonzero(np.isin(ids, names))
        where = where[np.argsort(ids[where], kind="stable")]
        to_next, to_last = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
        gaps = np.where(np.diff(ids[where]) == 0, np.diff(where), len(ids))
        to_next[where], to_last[where] = np.append(gaps, len(ids)), np.insert(gaps, 0, len(ids))
        size = contexts.pad
        return cls(ids, contexts.starts, contexts.positions, size + reach + 1, to_next, to_last, size, reach)

    @property
    def targets(self) -> np.ndarray:
        """Tokens to be predicted, int64 [M]; a name within reach is encoded as the distance to its last occurrence."""
        back = self.to_last[self.positions]
        known = (back > 0) & (back <= np.minimum(self.reach, self.positions - self.starts))
        return np.where(known, self.vocab_size + back, self.ids[self.positions])

    def back(self, distance: int, which: np.ndarray) -> np.ndarray:
        """Return the tokens `distance` before positions[which], int64.

        A name is encoded as the distance to its next occurrence: 0 if that is not before the predicted token.
        """
        at = self.positions[which] - distance
        to_next = self.to_next[at]
        renamed = np.where(to_next < distance, to_next, 0) + self.vocab_size
        return np.where(at < self.starts[which], self.pad, np.where(to_next > 0, renamed, self.ids[at]))

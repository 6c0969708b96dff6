"""Contexts up to a renaming of symbols that are mere names to the program, as labels that it copies and compares.

A program that copies labels hardly ever meets a context twice, and so every token seems to be decided by the few
before it. Up to renaming there are few contexts, and what they do not decide shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tallystick import suffix


@dataclass(frozen=True)
class RenamedContexts(suffix.Contexts):
    """Contexts in which a name is replaced by the distance to its next occurrence before the predicted token.

    A predicted name is replaced by the distance to its last occurrence. So two contexts are equal if they differ in
    the choice of names alone.
    """

    to_next: np.ndarray
    """For each token of `ids`, the distance to the next occurrence of the same name; 0 if it is no name, int64 [N]."""
    to_last: np.ndarray
    """Likewise to the occurrence before, int64 [N]."""
    vocab_size: int
    """Distances are encoded as ids from here on."""
    reach: int
    """The farthest last occurrence of a predicted name that counts; a name farther back stands for itself."""

    @classmethod
    def of(cls, contexts: suffix.Contexts, names: Sequence[int], reach: int) -> RenamedContexts:
        """Rename these ids in the contexts; reach: the `max_depth` that `suffix.build` will be given."""
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
        """The predicted tokens, a name within reach as the distance to its last occurrence, int64 [M]."""
        back = self.to_last[self.positions]
        known = (back > 0) & (back <= np.minimum(self.reach, self.positions - self.starts))
        return np.where(known, self.vocab_size + back, self.ids[self.positions])

    def back(self, distance: int, which: np.ndarray) -> np.ndarray:
        """The tokens `distance` before the positions numbered `which`, int64, a name as the distance to its next
        occurrence: 0 if that is not before the predicted token."""
        at = self.positions[which] - distance
        to_next = self.to_next[at]
        renamed = np.where(to_next < distance, to_next, 0) + self.vocab_size
        return np.where(at < self.starts[which], self.pad, np.where(to_next > 0, renamed, self.ids[at]))

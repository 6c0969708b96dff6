"""Contexts seen by one to whom some symbols are but names: what decides is where they stand again, not which they are.

A program that copies labels hardly ever comes to the same context twice, and every token seems to be decided by the few
before it. Told up to renaming, its contexts are few, and what is not decided shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tallystick import suffix


@dataclass(frozen=True)
class Renamed(suffix.Contexts):
    """Contexts in which a name is told by how far on it stands again, up to the predicted token; that by how far back
    it stood."""

    again: np.ndarray
    """By token of `ids` how far on the same name stands next; 0 for what is no name, int64 [N]."""
    before: np.ndarray
    """The same backwards, int64 [N]."""
    vocab_size: int
    """Numbers of names are counted from here."""
    reach: int
    """How far back a name may stand to be told so."""

    @classmethod
    def of(cls, contexts: suffix.Contexts, names: Sequence[int], reach: int) -> Renamed:
        """These contexts with names; reach: as of `suffix.build`."""
        ids = contexts.ids
        where = np.flatnonzero(np.isin(ids, names))
        where = where[np.argsort(ids[where], kind="stable")]
        again, before = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
        gaps = np.where(np.diff(ids[where]) == 0, np.diff(where), len(ids))
        again[where], before[where] = np.append(gaps, len(ids)), np.insert(gaps, 0, len(ids))
        size = contexts.pad
        return cls(ids, contexts.starts, contexts.positions, size + reach + 1, again, before, size, reach)

    @property
    def targets(self) -> np.ndarray:
        """The tokens to be predicted, names within reach by how far back they stood, int64 [M]."""
        back = self.before[self.positions]
        known = (back > 0) & (back <= np.minimum(self.reach, self.positions - self.starts))
        return np.where(known, self.vocab_size + back, self.ids[self.positions])

    def back(self, distance: int, which: np.ndarray) -> np.ndarray:
        """As of Contexts, int64; a name by how far on it stands again, or as one that does not."""
        at = self.positions[which] - distance
        again = self.again[at]
        told = np.where(again < distance, again, 0) + self.vocab_size
        return np.where(at < self.starts[which], self.pad, np.where(again > 0, told, self.ids[at]))

"""How far back must one look? The shortest suffixes that decide the next token, over many sequences at once.

`check` reads k and coverage from them (Theorem 2.2's learner is a string matcher, paper, section 1), and the lookup
model replays them. A context is refined one token further back only as long as it is ambiguous, so the cost is about
the number of positions times the depth at which they are decided.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNSEEN = -1
"""In `SuffixTree.child`: no such context in training."""


@dataclass(frozen=True)
class Contexts:
    """Sequences end to end, and the positions in them that are to be predicted."""

    ids: np.ndarray
    """Tokens of all sequences, int32 [N]."""
    starts: np.ndarray
    """For each position the first token of its sequence, int64 [M]."""
    positions: np.ndarray
    """Where the predicted tokens stand in `ids`, int64 [M]."""
    pad: int
    """Stands for every token before a sequence's beginning: one more than the largest id."""

    @classmethod
    def of(cls, sequences: list[tuple[np.ndarray, np.ndarray]], vocab_size: int) -> Contexts:
        """From (ids [length], mask [length]: True where the token is to be predicted) of each sequence."""
        lengths = np.array([len(ids) for ids, _ in sequences], np.int64)
        ids = np.concatenate([ids for ids, _ in sequences]).astype(np.int32)
        positions = np.flatnonzero(np.concatenate([mask for _, mask in sequences]))
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)[positions]
        return cls(ids, starts, positions, vocab_size)

    @property
    def targets(self) -> np.ndarray:
        """The tokens to be predicted, int32 [M]."""
        return self.ids[self.positions]

    def back(self, distance: int, which: np.ndarray) -> np.ndarray:
        """The tokens `distance` before the positions numbered `which`, int32; `pad` before the beginning."""
        at = self.positions[which] - distance
        return np.where(at >= self.starts[which], self.ids[at], self.pad)


@dataclass(frozen=True)
class SuffixTree:
    """Contexts as paths from the latest token backwards; an inner node is ambiguous, a leaf decides."""

    child: np.ndarray
    """By inner node and the token one further back, int32 [nodes, vocab_size + 1]: an inner node (>= 0), UNSEEN, or
    a leaf, -2 - the next token. Node 0 is the empty context."""
    depth: np.ndarray
    """For each position the length of its deciding suffix, int64 [M]; -1 where none decides."""
    leaf: np.ndarray
    """For each position the number of its deciding suffix, int64 [M]; -1 where none decides."""

    @property
    def k(self) -> int:
        """The fewest last tokens that decide every position; -1 if some are not decided at all."""
        return int(self.depth.max()) if (self.depth >= 0).all() else -1


def build(contexts: Contexts, max_depth: int | None = None) -> SuffixTree:
    """Refine ambiguous contexts until each decides, up to `max_depth` tokens back (default: all there are)."""
    targets = contexts.targets
    depth, leaf = np.full(len(targets), -1), np.full(len(targets), -1)
    rows: list[np.ndarray] = []  # of child, one level after the other
    active, node, leaves, nodes = np.arange(len(targets)), np.zeros(len(targets), np.int64), 0, 1
    parent_slots = np.zeros(1, np.int64)  # where each node of this level hangs in its parents' rows
    for distance in range(len(contexts.ids) + 1):
        if not len(active):
            break
        first, ambiguous = _decide(node, targets[active], len(parent_slots))
        if distance == 0:
            ambiguous[:] = True  # the root is inner even if all tokens are alike
        inner = np.cumsum(ambiguous) - 1 + nodes - (distance == 0)
        if rows:
            rows[-1].ravel()[parent_slots] = np.where(ambiguous, inner, -2 - first)
        decided = ~ambiguous[node]
        numbers = np.cumsum(~ambiguous) - 1
        depth[active[decided]], leaf[active[decided]] = distance, leaves + numbers[node[decided]]
        leaves += int((~ambiguous).sum())
        nodes += int(ambiguous.sum()) - (distance == 0)
        active, node = active[~decided], (np.cumsum(ambiguous) - 1)[node[~decided]]
        rows.append(np.full((int(ambiguous.sum()), contexts.pad + 1), UNSEEN, np.int32))
        if distance == max_depth:
            break
        keep = _reaches(contexts, active, distance)
        active, node = active[keep], node[keep]
        keys = node * (contexts.pad + 1) + contexts.back(distance + 1, active)
        parent_slots, node = _renumber(keys, rows[-1].size)
    return SuffixTree(np.concatenate(rows), depth, leaf)


def _decide(node: np.ndarray, targets: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """For each node one of its next tokens, and whether it has several."""
    first, ambiguous = np.zeros(count, np.int64), np.zeros(count, bool)
    first[node] = targets
    ambiguous[node[first[node] != targets]] = True
    return first, ambiguous


def _reaches(contexts: Contexts, active: np.ndarray, distance: int) -> np.ndarray:
    """Whether there is anything left to look at: the whole prefix may be ambiguous, then nothing decides."""
    return contexts.positions[active] - distance >= contexts.starts[active]


def _renumber(keys: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct keys, and each key's number among them; without sorting where `size` allows a table."""
    if size > 8 * len(keys) + 1_000_000:
        return np.unique(keys, return_inverse=True)
    present = np.zeros(size, bool)
    present[keys] = True
    distinct = np.flatnonzero(present)
    number = np.empty(size, np.int64)
    number[distinct] = np.arange(len(distinct))
    return distinct, number[keys]

"""Deciding suffixes: how many last tokens decide the next one, over many sequences at once.

`check` reads k and coverage from them (Theorem 2.2's learner is a string matcher, paper, section 1), and the lookup
model replays them. A context is refined one token further back only as long as it is ambiguous, so the cost is about
the number of positions times the depth at which they are decided, in time and memory, whatever the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNSEEN = -1
"""`SuffixTree.values`: stands for a context that did not occur."""


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
        """Make them from (ids [length], mask [length]: True where the token is to be predicted) of each sequence."""
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

    def extends(self, distance: int, which: np.ndarray) -> np.ndarray:
        """Whether the positions numbered `which` have a context of this length: it ends just before the beginning."""
        return self.positions[which] - distance + 1 >= self.starts[which]


@dataclass(frozen=True)
class SuffixTree:
    """Contexts as paths from the latest token backwards; an inner node is ambiguous, a leaf decides.

    Node 0 is the empty context. The edge from node n by token t has the key n * width + t.
    """

    keys: np.ndarray
    """The edges, sorted, int64 [E]."""
    values: np.ndarray
    """Where they lead, int32 [E]: to an inner node (>= 0), or to a leaf, -2 - the next token."""
    width: int
    """Tokens that an edge may have, `pad` among them."""
    depth: np.ndarray
    """For each position the length of its deciding suffix, int64 [M]; -1 where none decides."""
    leaf: np.ndarray
    """For each position the number of its deciding suffix, int64 [M]; -1 where none decides."""

    @property
    def k(self) -> int:
        """The fewest last tokens that decide every position; -1 if some are not decided at all."""
        return int(self.depth.max()) if (self.depth >= 0).all() else -1

    def step(self, node: int, token: int) -> int:
        """Follow an edge: the inner node or leaf behind it, or UNSEEN."""
        key = node * self.width + token
        at = int(np.searchsorted(self.keys, key))
        return int(self.values[at]) if at < len(self.keys) and self.keys[at] == key else UNSEEN


@dataclass
class _Level:
    """The inner nodes of one depth, which are numbered in a row, and the positions that have come to them."""

    first: int
    """Number of the first of these nodes."""
    count: int
    which: np.ndarray
    """Numbers of the positions, int64 [A]."""
    node: np.ndarray
    """The node of each, counted from `first`, int64 [A]."""


def build(contexts: Contexts, max_depth: int | None = None) -> SuffixTree:
    """Refine ambiguous contexts until each decides, up to `max_depth` tokens back (default: all there are)."""
    targets, width = contexts.targets, contexts.pad + 1
    depth, leaf = np.full(len(targets), -1), np.full(len(targets), -1)
    keys: list[np.ndarray] = []
    values: list[np.ndarray] = []
    every = np.arange(len(targets))
    level, leaves, distance = _Level(0, 1, every, np.zeros(len(targets), np.int64)), 0, 0
    while len(level.which) and distance != max_depth:
        distance += 1
        there = contexts.extends(distance, level.which)
        which, node = level.which[there], level.node[there]
        edges, edge = _number(node * width + contexts.back(distance, which), level.count * width)
        first, ambiguous = _decide(edge, targets[which], len(edges))
        inner, decided = np.cumsum(ambiguous) - 1, np.cumsum(~ambiguous) - 1  # numbers among the one kind and the other
        below = level.first + level.count
        keys.append(edges + level.first * width)
        values.append(np.where(ambiguous, below + inner, -2 - first).astype(np.int32))
        done = ~ambiguous[edge]
        depth[which[done]], leaf[which[done]] = distance, leaves + decided[edge[done]]
        leaves += int((~ambiguous).sum())
        level = _Level(below, int(ambiguous.sum()), which[~done], inner[edge[~done]])
    joined = np.concatenate([np.zeros(0, np.int64), *keys]), np.concatenate([np.zeros(0, np.int32), *values])
    return SuffixTree(*joined, width, depth, leaf)


def _decide(edge: np.ndarray, targets: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """For each edge one of the next tokens, and whether there are several."""
    first, ambiguous = np.zeros(count, np.int64), np.zeros(count, bool)
    first[edge] = targets
    ambiguous[edge[first[edge] != targets]] = True
    return first, ambiguous


def _number(keys: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct keys, sorted, and each key's number among them; without sorting where `size` allows a table."""
    if size > 8 * len(keys) + 1_000_000:
        return np.unique(keys, return_inverse=True)
    present = np.zeros(size, bool)
    present[keys] = True
    distinct = np.flatnonzero(present)
    number = np.empty(size, np.int64)
    number[distinct] = np.arange(len(distinct))
    return distinct, number[keys]

"""Deciding suffixes: the number of last tokens that decide the next one, found over many sequences at once.

`check` reads k and coverage from them (Theorem 2.2's learner is a string matcher, paper, section 1), and the lookup
model replays them. A context is extended one token further back only while it is ambiguous, so time and memory are
about the number of positions times the depth at which they are decided, whatever the size of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNSEEN = -1
"""Result of `SuffixTree.step` for a context that did not occur."""


@dataclass(frozen=True)
class Contexts:
    """Concatenated sequences and the positions in them that are to be predicted."""

    ids: np.ndarray
    """Tokens of all sequences, int32 [N]."""
    starts: np.ndarray
    """Index in `ids` of the first token of each position's own sequence, int64 [M]."""
    positions: np.ndarray
    """Indices in `ids` of the predicted tokens, int64 [M]."""
    pad: int
    """Id that stands for every token before a sequence's beginning: the size of the vocabulary."""

    @classmethod
    def of(cls, sequences: list[tuple[np.ndarray, np.ndarray]], vocab_size: int) -> Contexts:
        """Build contexts from each sequence's (ids [length], mask [length]: True for tokens to be predicted)."""
        lengths = np.array([len(ids) for ids, _ in sequences], np.int64)
        ids = np.concatenate([ids for ids, _ in sequences]).astype(np.int32)
        positions = np.flatnonzero(np.concatenate([mask for _, mask in sequences]))
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)[positions]
        return cls(ids, starts, positions, vocab_size)

    @property
    def targets(self) -> np.ndarray:
        """Tokens to be predicted, int32 [M]."""
        return self.ids[self.positions]

    @property
    def readings(self) -> list[np.ndarray]:
        """Ways to read the targets, [M] each: a context decides if all its targets are the same in one of them."""
        return [self.targets]

    def back(self, distance: int, which: np.ndarray) -> np.ndarray:
        """Return the tokens `distance` before positions[which], int32; `pad` where that is before the sequence."""
        at = self.positions[which] - distance
        return np.where(at >= self.starts[which], self.ids[at], self.pad)

    def extends(self, distance: int, which: np.ndarray) -> np.ndarray:
        """Return where positions[which] have a context of length `distance`; the longest one includes one `pad`."""
        return self.positions[which] - distance + 1 >= self.starts[which]


@dataclass(frozen=True)
class SuffixTree:
    """A tree of contexts, read from the latest token backwards: inner nodes are ambiguous, leaves decide.

    Node 0 is the empty context. The edge from node n by token t has the key n * width + t.
    """

    keys: np.ndarray
    """Keys of the edges, sorted, int64 [E]."""
    values: np.ndarray
    """Target of each edge, int32 [E]: an inner node (>= 0), or a leaf, encoded as -2 - next token."""
    width: int
    """Number of distinct tokens on edges, including `pad`."""
    depth: np.ndarray
    """Length of each position's deciding suffix, int64 [M]; -1 where none decides."""
    leaf: np.ndarray
    """Index of each position's deciding suffix, int64 [M]; -1 where none decides."""

    @property
    def k(self) -> int:
        """Fewest last tokens that decide every position; -1 if some position is not decided at all."""
        return int(self.depth.max()) if (self.depth >= 0).all() else -1

    def step(self, node: int, token: int) -> int:
        """Follow the edge of a token; return the inner node or leaf that it leads to, or UNSEEN."""
        key = node * self.width + token
        at = int(np.searchsorted(self.keys, key))
        return int(self.values[at]) if at < len(self.keys) and self.keys[at] == key else UNSEEN


@dataclass
class _Level:
    """The inner nodes of one depth, which have consecutive numbers, and the positions whose contexts reach them."""

    first: int
    """Number of the first node."""
    count: int
    which: np.ndarray
    """Indices of the positions, int64 [A]."""
    node: np.ndarray
    """Node of each position, counted from `first`, int64 [A]."""


def build(contexts: Contexts, max_depth: int | None = None) -> SuffixTree:
    """Extend ambiguous contexts until each decides its token, up to `max_depth` tokens back (default: no limit)."""
    targets, width = contexts.targets, contexts.pad + 1
    readings = contexts.readings
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
        first, ambiguous = _decide(edge, [reading[which] for reading in readings], len(edges))
        inner, decided = np.cumsum(ambiguous) - 1, np.cumsum(~ambiguous) - 1  # index of each edge among its kind
        below = level.first + level.count
        keys.append(edges + level.first * width)
        values.append(np.where(ambiguous, below + inner, -2 - first).astype(np.int32))
        done = ~ambiguous[edge]
        depth[which[done]], leaf[which[done]] = distance, leaves + decided[edge[done]]
        leaves += int((~ambiguous).sum())
        level = _Level(below, int(ambiguous.sum()), which[~done], inner[edge[~done]])
    joined = np.concatenate([np.zeros(0, np.int64), *keys]), np.concatenate([np.zeros(0, np.int32), *values])
    return SuffixTree(*joined, width, depth, leaf)


def _decide(edge: np.ndarray, readings: list[np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each edge one of its next tokens, as first read, and whether it has several in every reading."""
    told, ambiguous = np.zeros((len(readings), count), np.int64), np.ones(count, bool)
    for first, targets in zip(told, readings, strict=True):
        first[edge] = targets
        several = np.zeros(count, bool)
        several[edge[first[edge] != targets]] = True
        ambiguous &= several
    return told[0], ambiguous


def _number(keys: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct keys, sorted, and each key's index among them; a small `size` allows a table, not sorting."""
    if size > 8 * len(keys) + 1_000_000:
        return np.unique(keys, return_inverse=True)
    present = np.zeros(size, bool)
    present[keys] = True
    distinct = np.flatnonzero(present)
    number = np.empty(size, np.int64)
    number[distinct] = np.arange(len(distinct))
    return distinct, number[keys]

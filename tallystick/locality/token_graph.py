"""Token graphs, minimised: how many last tokens decide what is said next, over all paths, and which contexts decide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tallystick.locality.abstraction import Edges
from tallystick.locality.extraction import Refusal

NOTHING = -1
"""Stands in `said` for a node at which the program says nothing."""
PAIRS = 60_000_000
"""Maximum number of pairs of nodes."""
PART = 4_000_000
"""Number of pairs of edges that are compared at once."""
CONTEXTS = 200_000
"""Maximum number of deciding contexts that are listed."""


class Undecided(NamedTuple):
    """Two tokens of which one is said after like contexts of any length."""

    one: int
    other: int
    after: frozenset[int]
    """Tokens that lead to both."""


class TokenGraph:
    """A graph whose paths from node `root` are token sequences; [BOS] may be preceded by any number of `pad`.

    Nodes with the same future are one. A minimised graph that is too coarse would still have all paths.
    """

    def __init__(self, edges: Edges, pad: int):
        self.pad = pad
        table = np.array([[0, *edges.begin], [pad, *edges.token], [0, *edges.end]], np.int64)
        said = np.full(edges.nodes, NOTHING, np.int64)
        said[list(edges.said)] = list(edges.said.values())
        cls = _minimise(table, said)
        self.size = int(cls.max()) + 1
        self.said = np.full(self.size, NOTHING, np.int64)
        self.said[cls] = said
        assert (self.said[cls] == said).all(), "nodes that say different tokens are one"
        self.root = int(cls[0])
        begin, token, end = cls[table[0]], table[1], cls[table[2]]
        self.begin, self.token, self.end = np.unique(np.stack([begin, token, end]), axis=1)
        self.first_edge = np.searchsorted(self.begin, np.arange(self.size + 1))

    def k(self) -> tuple[int, Undecided | None]:
        """Return the fewest last tokens that decide each said token, or a conflict that no number of tokens decides.

        Pairs of nodes to which a common string of d tokens leads become fewer as d grows: at each step those are
        removed to which no pair leads that is left. Either there is a d without a conflict, or some stay for ever.
        """
        if len({*self.said.tolist()} - {NOTHING}) < 2:
            return 0, None
        pairs = self._pairs_by_token()
        conflicts = self._conflicts(pairs)
        leading = np.zeros(len(pairs), np.int64)
        for following in self._following(pairs):
            leading += np.bincount(np.searchsorted(pairs, following), minlength=len(pairs))
        left, depth, removed = int(conflicts.sum()), 1, np.flatnonzero(leading == 0)
        while left and len(removed):
            left -= int(conflicts[removed].sum())
            depth += 1
            conflicts[removed] = False
            removed = self._unreached(pairs, removed, leading)
        if left:
            a, b = divmod(int(pairs[np.argmax(conflicts)]), self.size)
            after = self._leading_to(a) & self._leading_to(b)
            return -1, Undecided(int(self.said[a]), int(self.said[b]), after)
        return depth, None

    def _leading_to(self, node: int) -> frozenset[int]:
        return frozenset(self.token[self.end == node].tolist())

    def _unreached(self, pairs: np.ndarray, removed: np.ndarray, leading: np.ndarray) -> np.ndarray:
        """Return the pairs that nothing leads to any more once some are removed; counts down `leading`."""
        found = []
        for following in self._following(pairs[removed]):
            which, times = np.unique(np.searchsorted(pairs, following), return_counts=True)
            leading[which] -= times
            found.append(which[leading[which] == 0])
        return np.concatenate(found)

    def _conflicts(self, pairs: np.ndarray) -> np.ndarray:
        one, other = self.said[pairs // self.size], self.said[pairs % self.size]
        return (one != other) & (one != NOTHING) & (other != NOTHING)

    def _pairs_by_token(self) -> np.ndarray:
        """Return the pairs of nodes that a common token leads to."""
        found = [np.zeros(0, np.int64)]
        for token in np.unique(self.token):
            ends = np.unique(self.end[self.token == token])
            if len(ends) ** 2 > 2 * PAIRS:
                raise Refusal(f"there are too many pairs of {self.size:,} nodes to compare")
            found.append(self._codes(np.repeat(ends, len(ends)), np.tile(ends, len(ends))))
        return np.unique(np.concatenate(found))

    def _codes(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.minimum(one, other) * self.size + np.maximum(one, other)

    def _following(self, pairs: np.ndarray) -> Iterator[np.ndarray]:
        """Yield, in parts, the pairs to which a common token leads from these, as often as one does."""
        degree = np.diff(self.first_edge)
        products = np.cumsum(degree[pairs // self.size] * degree[pairs % self.size])
        cuts = np.searchsorted(products, np.arange(PART, products[-1], PART)) if len(pairs) else []
        for part in np.split(pairs, cuts):
            yield self._following_part(part, degree)

    def _following_part(self, pairs: np.ndarray, degree: np.ndarray) -> np.ndarray:
        one, other = pairs // self.size, pairs % self.size
        count = degree[one] * degree[other]
        which = np.repeat(np.arange(len(pairs)), count)
        within = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        width = degree[other][which]
        a = self.first_edge[one][which] + within // width
        b = self.first_edge[other][which] + within % width
        same = self.token[a] == self.token[b]
        return self._codes(self.end[a[same]], self.end[b[same]])

    def deciding(self) -> dict[tuple[int, ...], int]:
        """Return the shortest contexts that decide the next said token, with this token; there must be a k."""
        into: list[list[tuple[int, int]]] = [[] for _ in range(self.size)]
        for begin, token, end in zip(self.begin.tolist(), self.token.tolist(), self.end.tolist(), strict=True):
            into[end].append((token, begin))
        found: dict[tuple[int, ...], int] = {}
        start = {node: frozenset([said]) for node, said in enumerate(self.said.tolist()) if said != NOTHING}
        waiting: list[tuple[tuple[int, ...], dict[int, frozenset[int]]]] = [((), start)]
        while waiting:
            context, leading = waiting.pop()
            following = frozenset().union(*leading.values())
            if len(following) == 1:
                (found[context],) = following
            else:
                waiting += _longer(context, leading, into)
            if len(found) + len(waiting) > CONTEXTS:
                raise Refusal(f"there are more than {CONTEXTS:,} deciding contexts")
        return found


def _longer(
    context: tuple[int, ...], leading: dict[int, frozenset[int]], into: list[list[tuple[int, int]]]
) -> list[tuple[tuple[int, ...], dict[int, frozenset[int]]]]:
    """Extend a context by one token back; leading: for each node that it leads on from, what may be said after it."""
    longer: defaultdict[int, dict[int, frozenset[int]]] = defaultdict(dict)
    for node, said in leading.items():
        for token, before in into[node]:
            nodes = longer[token]
            nodes[before] = nodes[before] | said if before in nodes else said
    return [((token, *context), nodes) for token, nodes in longer.items()]


def _minimise(table: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Return a class for each node: nodes of a class say the same, and lead by the same tokens to the same classes.

    Sets of edges are compared by sums of random numbers. Should two sums be equal by chance, a class is too large, and
    the graph of classes has more paths than needed.
    """
    begin, token, end = table
    cls = np.unique(said, return_inverse=True)[1]
    count = 0
    rng = np.random.default_rng(0)
    while cls.max() + 1 > count:
        count = int(cls.max()) + 1
        codes, number = np.unique(token * count + cls[end], return_inverse=True)
        edges = np.unique(begin * len(codes) + number)
        weights = rng.integers(0, 2**63, len(codes), np.uint64)
        sums = np.zeros(len(said), np.uint64)
        np.add.at(sums, edges // len(codes), weights[edges % len(codes)])
        classes = rng.integers(0, 2**63, count, np.uint64)
        cls = np.unique(sums + classes[cls], return_inverse=True)[1]
    return cls

"""The contexts of a token graph: its nodes together with the last tokens, so that paths through them hold every run."""

from __future__ import annotations

import numpy as np

from tallystick.locality.extraction import Refusal
from tallystick.locality.token_graph import NOTHING, TokenGraph

PAD = -1
"""Stands for a token before the beginning."""
LIMIT = 400_000
"""Maximum number of contexts."""


class Contexts:
    """Every node of a token graph, told apart by the last tokens that lead to it.

    A context is reached by reading its last token in one of its predecessors. Context 0 is the empty sequence.

    tokens: number of last tokens that tell contexts apart.
    """

    def __init__(self, graph: TokenGraph, tokens: int):
        self.graph = graph
        out: list[list[tuple[int, int]]] = [[] for _ in range(graph.size)]
        for begin, token, end in zip(graph.begin.tolist(), graph.token.tolist(), graph.end.tolist(), strict=True):
            if token != graph.pad:
                out[begin].append((token, end))
        number = {(graph.root, (PAD,) * tokens): 0}
        nodes = list(number)
        before: list[list[int]] = [[]]
        for at, (node, last) in enumerate(nodes):  # grows while it is read
            for token, end in out[node]:
                context = end, (*last[1:], token)
                to = number.setdefault(context, len(nodes))
                if to == len(nodes):
                    nodes.append(context)
                    before.append([])
                    if to > LIMIT:
                        raise Refusal(f"there are more than {LIMIT:,} contexts of {tokens} tokens")
                before[to].append(at)
        self.tokens = np.array([last for _, last in nodes])
        self.node = np.array([node for node, _ in nodes])
        self.said = graph.said[self.node]
        self.before = before
        """Predecessors of each context."""
        groups: dict[tuple[int, ...], int] = {}
        self.group = np.array([groups.setdefault(tuple(each), len(groups)) for each in before])
        """Number of each context's set of predecessors; many share one. Context 0 has set 0, which is empty."""
        members = list(groups)[1:]
        self._members = np.concatenate([np.array(each) for each in members])
        self._starts = np.cumsum([0, *(len(each) for each in members)])

    def __len__(self) -> int:
        return len(self.said)

    @property
    def speaking(self) -> np.ndarray:
        """Contexts after which the program says a token."""
        return np.flatnonzero(self.said != NOTHING)

    def over_groups(self, reduce: np.ufunc, rows: np.ndarray, part: int = 2**24) -> np.ndarray:
        """Reduce the rows of each set of predecessors by minimum or maximum, [sets, ...]; 0 for the empty set.

        part: number of entries that are gathered at once.
        """
        found = np.zeros((len(self._starts), *rows.shape[1:]), rows.dtype)
        sets = len(self._starts) - 1
        begin = 0
        while begin < sets:
            most = self._starts[begin] + max(1, part // max(1, rows[0].size))
            end = max(begin + 1, int(np.searchsorted(self._starts, most, side="right")) - 1)
            members = self._members[self._starts[begin] : self._starts[end]]
            starts = self._starts[begin:end] - self._starts[begin]
            found[begin + 1 : end + 1] = reduce.reduceat(rows[members], starts, axis=0)
            begin = end
        return found

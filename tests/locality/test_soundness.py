"""Soundness of proofs on generated programs: every problem's run is a path of the token graph, and k decides."""

import copy
import sys
from collections import defaultdict, deque
from pathlib import Path

import numpy as np
import pytest

from tallystick.locality import Refusal, proof, sequences
from tallystick.locality.abstraction import Abstraction, Edges
from tallystick.locality.extraction import Machine
from tallystick.locality.token_graph import NOTHING
from tallystick.tasks.shape import parse

sys.path.insert(0, str(Path(__file__).parent))
from generated import Generated, prompts

QUICK, ALL = 12, 2000
"""Numbers of programs of the quick test and of the slow one."""
REPLAYED, NODES = 20_000, (3000, 6000)
"""Limits of answers in replays and of nodes, beyond which a program is left out."""
EXPLORED = 0.9
"""Share of the programs that must be within the limits, so that something is tested."""


def explored(task):
    """Return a program's token graph and its k, -1 if there is none; None where it is too large."""
    try:
        found = proof._explore(Machine(task, REPLAYED), 0, NODES)
    except Refusal:
        return None
    return found.graph, found.k


class Walker:
    """Follows runs through a token graph."""

    def __init__(self, graph):
        self.root, self.said = graph.root, graph.said.tolist()
        self.after = defaultdict(list)
        for begin, token, end in zip(graph.begin.tolist(), graph.token.tolist(), graph.end.tolist(), strict=True):
            self.after[begin, token].append(end)

    def holds(self, ids, mask):
        """Return whether a run is a path whose nodes say its model tokens, and nothing where the program is silent."""
        now = {self.root}
        for token, is_said in zip(ids.tolist(), mask.tolist(), strict=True):
            says = {node for node in now if self.said[node] == (token if is_said else NOTHING)}
            now = {end for node in says for end in self.after[node, token]}
        return bool(now)


def contradiction(runs, k):
    """Return whether different tokens follow the same k tokens in some runs."""
    said = {}
    for ids, mask in runs:
        padded = [*[-1] * k, *ids.tolist()]
        for at in np.flatnonzero(mask).tolist():
            if said.setdefault(tuple(padded[at : at + k]), padded[at + k]) != padded[at + k]:
                return True
    return False


@pytest.mark.parametrize(
    ("first", "programs", "longest"),
    [(0, QUICK, 4), *(pytest.param(first, 100, 6, marks=pytest.mark.slow) for first in range(QUICK, ALL, 100))],
)
def test_every_run_is_a_path_of_the_token_graph(first, programs, longest):
    """All prompts up to a length are run, and a graph that lacks an edge is noticed."""
    found, local = 0, 0
    for seed in range(first, first + programs):
        task = Generated(seed)
        made = explored(task)
        if made is None:
            continue
        graph, k = made
        runs, walker = [sequences.of(task, prompt) for prompt in prompts(longest)], Walker(graph)
        assert all(walker.holds(ids, mask) for ids, mask in runs), seed
        assert k < 0 or not contradiction(runs, k), seed
        found, local = found + 1, local + (k > 0)
    assert found > EXPLORED * programs
    assert local > 0


@pytest.mark.parametrize("seed", [33, 93, 149])
def test_another_exploration_finds_nothing_new(seed):
    """These programs' second exploration finds neighbours in the memory, and no label, that the first one lacked."""
    task = Generated(seed)
    found = Abstraction(Machine(task, REPLAYED), parse(task.shape, task.symbols), nodes=NODES[0])
    before = found.edges.nodes, found.edges.token
    memory, found._memory.has_grown = copy.deepcopy(found._memory._after), False
    found.edges, found._nodes, found._waiting = Edges(NODES[0]), {}, deque()
    found._explore()
    assert not found._memory.has_grown
    assert found._memory._after == memory
    assert (found.edges.nodes, found.edges.token) == before


def test_a_graph_that_lacks_an_edge_is_noticed():
    task = Generated(0)
    graph, _ = explored(task)
    runs = [sequences.of(task, prompt) for prompt in prompts(3)]
    lost = 0
    for edge in range(len(graph.token)):
        walker = Walker(graph)
        begin, token, end = (int(array[edge]) for array in (graph.begin, graph.token, graph.end))
        walker.after[begin, token].remove(end)
        lost += not all(walker.holds(ids, mask) for ids, mask in runs)
    assert lost > len(graph.token) / 8

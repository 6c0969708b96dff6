"""Pointers that stand together: what is known of them holds in every run, and rules out what no run has."""

import itertools
import random
import sys
from pathlib import Path

import pytest

from tallystick import Defaults, Task
from tallystick.locality import sequences
from tallystick.locality.abstraction import Abstraction
from tallystick.locality.extraction import Machine
from tallystick.locality.token_graph import TokenGraph
from tallystick.tasks.shape import parse

sys.path.insert(0, str(Path(__file__).parent))
from test_soundness import Walker

QUICK, ALL = 5, 405
"""Numbers of random programs of the quick test and of the slow one."""
NODES = 20_000
PROMPTS = [[*bits, ">"] for n in range(1, 5) for bits in itertools.product("ab", repeat=n)]


class Cells:
    """A workspace made of lists."""

    def __init__(self, prompt):
        self.cells, self.places, self.told = [*prompt], [0, 0], []

    def pointer(self, i):
        return Finger(self, i)

    def think(self, symbol):
        self.cells.append(symbol)

    def answer(self):
        self.cells.append("[ANS]")

    def output(self, symbol):
        self.told.append(symbol)
        self.cells.append(symbol)


class Finger:
    """A pointer on such a list."""

    def __init__(self, cells, i):
        self.of, self.number = cells, i

    def read(self):
        at, cells = self.of.places[self.number], self.of.cells
        return "[BOS]" if at < 0 else cells[at] if at < len(cells) else "[EOS]"

    def left(self):
        self.of.places[self.number] -= 1

    def right(self):
        self.of.places[self.number] += 1


class Paired(Task):
    """A random program of walks: one pointer reads, and both move or it alone; at times the other one is asked, too."""

    symbols = "abx>"
    shape = "[ab]+>"
    tools = ("pointer:2",)
    defaults = Defaults(train_length=3, check=(1, 2, 3))

    def __init__(self, seed):
        super().__init__()
        rng = random.Random(seed)
        first = [(0, True, rng.random() < 0.7, ">"), (rng.choice((0, 1)), False, rng.random() < 0.7, "[BOS]")]
        more = [(rng.choice((0, 1)), False, rng.random() < 0.5, "[BOS]") for _ in range(2)]
        self.walks = tuple((*walk, self._ways(rng)) for walk in (*first, *more))

    def _ways(self, rng):
        """Draw for each symbol what is said, and whether the other pointer is asked and moves once more."""
        return {
            symbol: (rng.choice(("", "a", "x")), rng.random() < 0.5, rng.choice((0, 0, 1, -1)))
            for symbol in ("a", "b", "x", ">", "[ANS]", "[BOS]", "[EOS]")
        }

    def sample(self, length, rng):
        return [*rng.choices("ab", k=length), ">"]

    def answer(self, prompt):
        cells = Cells(prompt)
        self.solve(cells)
        return cells.told

    def solve(self, w):
        w.answer()
        for reader, right, both, stop, ways in self.walks:
            one, other = w.pointer(reader), w.pointer(1 - reader)
            while (symbol := one.read()) != stop:
                said, is_asked, further = ways[symbol]
                if said:
                    w.output(said)
                if is_asked and other.read() in ("a", "[BOS]"):
                    w.output("b")
                self.move(one, right)
                if both:
                    self.move(other, right)
                if further:
                    self.move(other, further > 0)

    def move(self, pointer, right):
        if right:
            pointer.right()
        else:
            pointer.left()


@pytest.mark.parametrize(
    ("first", "programs"),
    [(0, QUICK), *(pytest.param(first, 50, marks=pytest.mark.slow) for first in range(QUICK, ALL, 50))],
)
def test_every_run_is_a_path_although_pointers_are_known_to_stand_together(first, programs):
    met = 0
    for seed in range(first, first + programs):
        task = Paired(seed)
        made = Abstraction(Machine(task), parse(task.shape, task.symbols), coarse=True, nodes=NODES)
        walker = Walker(TokenGraph(made.edges, len(task.vocab)))
        assert all(walker.holds(*sequences.of(task, prompt)) for prompt in PROMPTS), seed
        met += len({situation.together for situation in made._nodes}) > 1
    assert met > programs / 5


class Same(Task):
    """Move two pointers to the >, and read it with both: no other symbol can be read by the second one."""

    symbols = "abn>"
    shape = "[ab]*[ab]>"
    tools = ("pointer:2",)
    defaults = Defaults(train_length=3, check=(1, 2, 3))

    def sample(self, length, rng):
        return [*rng.choices("ab", k=length), ">"]

    def answer(self, prompt):
        return ["n"]

    def solve(self, w):
        one, other = w.pointer(0), w.pointer(1)
        while one.read() != ">":
            other.right()
            one.right()
        symbol = other.read()
        w.answer()
        w.output("n" if symbol == ">" else "a")


@pytest.mark.parametrize(("coarse", "said"), [(True, {"n"}), (False, {"n", "a"})])
def test_two_pointers_on_one_cell_read_the_same_in_the_coarse_form(coarse, said):
    task = Same()
    made = Abstraction(Machine(task), parse(task.shape, task.symbols), coarse)
    tokens = {task.vocab.tokens[token] for token in made.edges.said.values()}
    assert tokens & {"n", "a"} == said

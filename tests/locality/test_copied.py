"""Copied symbols: two stand for all where a program only copies them, and for none that it looks at."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from tallystick import Defaults, tasks
from tallystick.locality import Refusal, copied, proof, prove, sequences
from tallystick.locality.abstraction import TooMany
from tallystick.locality.copied import RenamedTree
from tallystick.locality.extraction import Machine
from tallystick.tasks.shape import parse

sys.path.insert(0, str(Path(__file__).parent))
import walks
from generated import Generated
from test_soundness import Walker, contradiction

NAMES = "pqrs"
QUICK, ALL = 3, 503
"""Numbers of random programs of the quick test and of the slow one."""
LONGEST = 3
"""Length of the longest prompts of random programs that are all run."""


class Looking(walks.Walk):
    """Walk over names, and say at the end how often `sees` was true, as an even or odd number."""

    symbols = "pqrsa01="
    shape = "[pqrs]+="
    drawn = NAMES
    start = "0"
    defaults = Defaults(train_length=4, check=(3, 4, 6))

    def keep(self, kept, symbol):
        return "10"[int(kept)] if self.sees(symbol) else kept


class Branches(Looking):
    def sees(self, symbol):
        return symbol == "s"


class Indexes(Looking):
    seen = dict(zip(NAMES, (False, False, False, True), strict=True))

    def sees(self, symbol):
        return self.seen[symbol]


class Converts(Looking):
    def sees(self, symbol):
        return ord(symbol) // ord("s")


class Orders(Looking):
    def sees(self, symbol):
        return symbol > "r"


class Contains(Looking):
    def sees(self, symbol):
        return symbol in {"s", "t"}


class Uppers(Looking):
    def sees(self, symbol):
        return symbol.upper() == "S"


class Multiplies(Looking):
    def sees(self, symbol):
        return len((symbol * 2).replace("s", ""))  # 2 for all but the s

    def keep(self, kept, symbol):
        return kept if self.sees(symbol) else "10"[int(kept)]


class Measures(Looking):
    symbols = ("p", "q", "r", "ss", *"a01=")
    shape = "[pqr<ss>]+="
    drawn = ("p", "q", "r", "ss")

    def parse(self, text):
        return [*text[:-1].replace("ss", "s").replace("s", "ss"), "="]

    def sees(self, symbol):
        return len(symbol) == 2


class Compares(Looking):
    """Whether the number of symbols equal to their predecessor is odd."""

    def keep(self, kept, symbol):
        return "01"[(kept[0] == "1") ^ (kept[1:] == symbol)] + symbol

    def say(self, kept):
        return kept[0]


class Holds(Looking):
    """The first symbol."""

    start = ""

    def keep(self, kept, symbol):
        return kept or symbol


class LooksLate(Looking):
    """Look at names only after an a."""

    shape = "[pqrs]+a[pqrs]+="

    def draw(self, length, rng):
        return [*rng.choices(NAMES, k=length), "a", *rng.choices(NAMES, k=length)]

    def keep(self, kept, symbol):
        if symbol == "a":
            return f"{kept}a"
        return ("1a" if kept == "0a" else "0a") if kept[1:] and symbol == "s" else kept

    def say(self, kept):
        return kept[0]


class LooksAtTheLast(Looking):
    """Whether the prompt ends in s, said after a walk over all of it."""

    shape = "[pqrs]+"

    def sample(self, length, rng):
        return rng.choices(NAMES, k=length)

    def answer(self, prompt):
        return [str(int(prompt[-1] == "s"))]

    def solve(self, w):
        p, ends = w.pointer(0), w.prompt[-1] == "s"
        while p.read() != "[EOS]":
            p.right()
        while p.read() != "[BOS]":
            p.left()
        w.answer()
        w.output("1" if ends else "0")


class Swaps(Looking):
    """Copy the prompt, but say p for s, and at the end whether that was an odd number of times."""

    def sees(self, symbol):
        return {"s": "p"}.get(symbol, symbol) != symbol

    def answer(self, prompt):
        return [*("p" if symbol == "s" else symbol for symbol in prompt[:-1]), *super().answer(prompt)]

    def solve(self, w):
        p, kept = w.pointer(0), self.start
        w.answer()
        while (symbol := p.read()) != "=":
            kept = self.keep(kept, symbol)
            w.output({"s": "p"}.get(symbol, symbol))
            p.right()
        w.output(kept)


LOOKING = [Branches, Indexes, Converts, Orders, Contains, Uppers, Multiplies, Measures, Compares, Holds, LooksLate,
           LooksAtTheLast, Swaps]  # fmt: skip


@pytest.fixture(params=["after", "before"])
def crowded(request, monkeypatch):
    """Let all names be too many, after or before their steps were taken."""
    decide, first = proof._decide, []

    def too_many(machine, shape, nodes):
        if first:
            return decide(machine, shape, nodes)
        first.append(shape)
        if request.param == "after":
            decide(machine, shape, nodes)
        raise TooMany("there are too many situations")

    monkeypatch.setattr(proof, "_decide", too_many)


@pytest.mark.parametrize("cls", LOOKING)
@pytest.mark.usefixtures("crowded")
def test_a_symbol_that_is_looked_at_never_stands_for_others(cls):
    try:
        found = proof._explore(Machine(cls()), 0, (proof.NODES, proof.COARSE_NODES))
    except Refusal:
        return
    assert "s" not in found.copied
    assert found.k == -1


@pytest.mark.parametrize("cls", [cls for cls in LOOKING if cls not in (Compares, Holds)])  # no k with two names either
def test_the_look_at_symbols_is_what_prevents_a_proof(cls, monkeypatch):
    """Two symbols in place of all hide that these programs are not local."""
    monkeypatch.setattr(copied, "find", lambda machine, shape: cls.drawn)
    monkeypatch.setattr(copied, "are_copied", lambda machine, symbols: True)
    decide = proof._decide

    def too_many(machine, shape, nodes):
        if shape.symbols == parse(cls.shape, cls.symbols).symbols:
            raise TooMany
        return decide(machine, shape, nodes)

    monkeypatch.setattr(proof, "_decide", too_many)
    assert proof._explore(Machine(cls()), 0, (proof.NODES, proof.COARSE_NODES)).k >= 0


class Echo(walks.Walk):
    """Copy the prompt; the marked variant says p before each symbol."""

    symbols = "pqrs="
    shape = "[pqrs]+="
    mark = ""
    defaults = Defaults(train_length=3, check=(2, 3, 4))

    def answer(self, prompt):
        return [said for symbol in prompt[:-1] for said in (*self.mark, symbol)]

    def solve(self, w):
        p = w.pointer(0)
        w.answer()
        while (symbol := p.read()) != "=":
            w.output(*self.mark, symbol)
            p.right()


class Marked(Echo):
    mark = "p"


class Ending(Echo):
    """Say a 0 before each symbol, and 0 and s at the end: what follows that depends on whether the s was read."""

    symbols = "pqrs0="
    drawn = NAMES

    def answer(self, prompt):
        return [said for symbol in (*prompt[:-1], "s") for said in ("0", symbol)]

    def solve(self, w):
        p = w.pointer(0)
        w.answer()
        while (symbol := p.read()) != "=":
            w.output("0", symbol)
            p.right()
        w.output("0", "s")


@pytest.mark.usefixtures("crowded")
def test_a_symbol_that_is_also_said_by_itself_stands_for_no_other():
    """A p in place of the s would hide whether it was read."""
    try:
        found = proof._explore(Machine(Ending()), 0, (proof.NODES, proof.COARSE_NODES))
    except TooMany:
        return
    assert (found.k, found.copied) == (3, ("p", "q", "r"))


@pytest.mark.parametrize(("cls", "names"), [(Marked, "qrs"), (Ending, "pqr")])
def test_a_symbol_that_is_said_unread_stands_for_itself(cls, names):
    machine, shape = Machine(cls()), parse(cls.shape, cls.symbols)
    proof._decide(machine, shape, (proof.NODES, proof.COARSE_NODES))
    assert copied.find(machine, shape) == (*names,)
    assert copied.are_copied(machine, (*names,))
    assert not copied.are_copied(machine, (*NAMES,))


@pytest.mark.usefixtures("crowded")
def test_a_program_that_copies_is_proved_up_to_renaming():
    proof = prove(Echo())
    assert (proof["verdict"], proof["k"], proof["covered"]) == ("proved", 2, True)
    assert proof["copied"] == [*NAMES]


@pytest.mark.usefixtures("crowded")
def test_a_model_is_not_certified_up_to_renaming():
    with pytest.raises(Refusal, match="renaming"):
        proof.proved_graph(Echo())


def test_the_same_program_is_proved_symbol_by_symbol_if_it_can_be():
    proof = prove(Echo())
    assert (proof["verdict"], proof["k"], proof["covered"]) == ("proved", 2, True)
    assert proof["copied"] == []


def test_symbols_at_different_places_do_not_stand_for_each_other():
    task = Echo()
    machine, shape = Machine(task), parse("[pqr]+[qrs]*=", task.symbols)
    proof._decide(machine, shape, (proof.NODES, proof.COARSE_NODES))
    assert copied.find(machine, shape) == ()


def test_a_tape_may_hold_anything_so_no_symbol_is_called_copied():
    task = tasks.load("turing:bb5")
    machine, shape = Machine(task), parse(task.shape, task.symbols)
    assert copied.find(machine, shape) == ()


def test_training_that_lacks_contexts_up_to_renaming_is_told():
    """A context is met if it is with any symbols: the one that is said, and others, which are alike."""
    task = Echo()
    names = [task.vocab.ids[name] for name in NAMES]
    p, q = names[:2]
    contexts = {(p, p): 9, (p, q): 9, (q, p): 9, (q, q): 9, (p,): p, (q,): q}
    tree = RenamedTree(contexts, len(task.vocab), names)
    assert dict(zip(tree.contexts, tree.said, strict=True)) == {(p, p): 9, (q,): q}
    r, s = names[2:]
    problem = np.array([0, r, s, 9, s, r, r]), np.array([0, 0, 0, 1, 0, 0, 1], bool)
    leaves, which = tree.find([problem, problem])
    assert sorted(zip(leaves.tolist(), which.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]


class Naming(Generated):
    """A random program that treats p, q and r alike; with a fault, but for one of them in one case."""

    symbols = "abx>pqr"
    shape = "[abpqr]+>"
    tools = ("pointer:2",)

    def __init__(self, seed, fault):
        self.fault = fault
        super().__init__(seed)

    def _phases(self):
        phases = [phase for phase in super()._phases() if phase[0] != "tape"]
        phases = phases or [(0, True, ">", self._table(True, False))]
        if self.fault:
            table = self.rng.choice(phases)[3]
            case = self.rng.choice([case for case in table if case[1] in "pqr"])
            said, state, _ = table[case]
            table[case] = self.rng.choice([(said and "b", 1 - state, ""), (said and "x", state, "")])
        return phases

    def _table(self, says, writes):
        table = super()._table(says, writes)
        for state in range(2):
            said, to, _ = table[state, "a"] if self.rng.random() < 0.3 else ("same", self.rng.randrange(2), "")
            table |= {(state, name): ((name if said == "same" else said) if says else "", to, "") for name in "pqr"}
        return table

    def sample(self, length, rng):
        return [*rng.choices("abpqr", k=length), ">"]


PROMPTS = [[*some, ">"] for n in range(1, LONGEST + 1) for some in itertools.product("abpqr", repeat=n)]


@pytest.mark.parametrize("fault", [False, True])
@pytest.mark.parametrize(
    ("first", "programs"),
    [(0, QUICK), *(pytest.param(first, 50, marks=pytest.mark.slow) for first in range(QUICK, ALL, 50))],
)
def test_random_programs_are_paths_of_the_reduced_graph_whatever_two_symbols_replace_all(first, programs, fault):
    renamed = 0
    for seed in range(first, first + programs):
        task = Naming(seed, fault)
        found = forced(task)
        if found is None:
            continue
        runs, walker = [sequences.of(task, prompt) for prompt in PROMPTS], Walker(found.graph)
        assert found.k < 0 or not contradiction(runs, found.k), seed
        names = [task.vocab.ids[symbol] for symbol in found.copied]
        for image in itertools.product(names[:2], repeat=len(names)):
            table = np.arange(len(task.vocab))
            table[names] = image
            assert all(walker.holds(table[ids], mask) for ids, mask in runs), seed
        renamed += 1
    assert 0 < renamed < programs / 2 if fault else renamed > 0.7 * programs


def forced(task):
    """Explore a task by two of the names alone; return None if they are not copied, or if it is too large."""
    machine, shape, names = Machine(task), parse(task.shape, task.symbols), ("p", "q", "r")
    try:
        found = proof._decide(machine, copied.reduced(shape, names), (3000, 6000))
    except TooMany:
        return None
    return found._replace(copied=names) if copied.are_copied(machine, names) else None

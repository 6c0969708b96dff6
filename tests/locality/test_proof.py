"""Proofs of locality: what is proved holds, and a program that hides state is never proved local."""

import gc
import itertools
import random
import sys
import time
from copy import copy
from pathlib import Path

import numpy as np
import pytest

from tallystick import Defaults, Task, tasks
from tallystick.locality import Refusal, machine, prove, sequences
from tallystick.locality.extraction import stacks
from tallystick.locality.extraction.watch import Watch

sys.path.insert(0, str(Path(__file__).parent))
import hiding
import test_hidden
import walks


@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("cls", [*hiding.PROGRAMS, *test_hidden.NOT_LOCAL])
def test_a_program_that_is_not_local_is_never_proved(cls, quick):
    proof = prove(cls(), quick=quick)
    assert proof["verdict"] in ("refuted", "unknown")
    assert proof["reason"]
    assert proof["k"] is None


READ = [hiding.InClosure, hiding.TrueOrOne, hiding.SharedList, hiding.SignOfZero, hiding.TupleOrList,
        hiding.OnStack, hiding.InArguments, hiding.InPosition]  # fmt: skip


@pytest.mark.parametrize("cls", READ)
def test_state_that_can_be_read_is_refuted_by_problems(cls):
    proof = prove(cls())
    assert proof["verdict"] == "refuted"
    agreed = [conflict["agree"] for conflict in proof["conflicts"]]
    assert agreed == sorted({*agreed})
    assert len(agreed) >= 3
    for conflict in proof["conflicts"]:
        assert conflict["next"][0] != conflict["next"][1]
        one, other = (_contexts(cls(), problem, conflict["agree"]) for problem in conflict["problems"])
        assert any((context, conflict["next"][1]) in other for context, said in one if said == conflict["next"][0])


def _contexts(task, problem, size):
    """Return what is said in a problem after each context of so many tokens."""
    ids, mask = sequences.of(task, task.parse(problem))
    words = [*"·" * size, *task.vocab.decode(ids.tolist())]
    return {(tuple(words[i : i + size]), words[i + size]) for i in np.flatnonzero(mask)}


class Window(walks.Walk):
    """The largest of the last two letters."""

    symbols = "abc="
    shape = "[abc]+="
    start = ""

    def keep(self, kept, symbol):
        return (kept + symbol)[-2:]

    def say(self, kept):
        return max(kept)


class Pair(walks.Walk):
    """Compare two symbols, of which one waits on the value stack."""

    symbols = "abyn="
    shape = "[ab][ab]="
    tools = ("pointer:2",)

    def sample(self, length, rng):
        return [*rng.choices("ab", k=2), "="]

    def answer(self, prompt):
        return ["y" if prompt[0] == prompt[1] else "n"]

    def solve(self, w):
        w.pointer(1).right()
        same = w.pointer(0).read() == w.pointer(1).read()
        w.answer()
        w.output("y" if same else "n")


@pytest.mark.parametrize(("cls", "k"), [(Window, 8), (walks.Pin, 38), (Pair, 4)])
def test_k_is_exact(cls, k):
    proof = prove(cls(), quick=True)
    assert (proof["verdict"], proof["k"]) == ("proved", k)


@pytest.mark.parametrize(("name", "k", "contexts"), [("reverse", 3, 15), ("addition", 7, 849), ("turing:bb5", 5, 55)])
def test_local_tasks_are_proved_and_covered(name, k, contexts):
    proof = prove(tasks.load(name))
    assert (proof["verdict"], proof["k"], proof["contexts"]) == ("proved", k, contexts)
    assert (proof["covered"], proof["missing"]) == (True, [])
    assert proof["assumptions"]


def test_the_papers_addition_is_refuted():
    proof = prove(tasks.load("addition", "paper"))
    assert proof["verdict"] == "refuted"
    assert "[p1.left]" in proof["reason"]
    assert "[p1.right]" in proof["reason"]
    assert proof["conflicts"][-1]["agree"] > 100


@pytest.mark.parametrize(
    ("name", "variant", "reason"),
    [
        ("logic-graph", None, "w.prompt"),
        ("addition", "direct", "w.prompt"),
        ("addition", "no-tool", "the tools' answers"),
        ("reverse:1,addition:1", None, "mixture"),
        ("codefix", None, "text task"),
    ],
)
def test_what_has_no_finite_machine_is_unknown(name, variant, reason):
    proof = prove(tasks.load(name, variant))
    assert proof["verdict"] == "unknown"
    assert reason in proof["reason"]


def test_training_that_lacks_contexts_is_told_with_a_problem():
    task = tasks.load("addition")
    task.defaults = Defaults(train_length=1, check=(1, 2))
    proof = prove(task)
    assert proof["covered"] is False
    assert proof["lacking"] > 0
    for missing in proof["missing"]:
        if missing["problem"] is not None:
            said = _contexts(task, missing["problem"], len(missing["context"]))
            assert (tuple(missing["context"]), missing["next"]) in said


def test_problems_that_contradict_a_proof_undo_it(monkeypatch):
    for check in ("compare", "compare_writers"):  # so that what they would refuse is found by problems alone
        monkeypatch.setattr(Watch, check, lambda self: None)
    proof = prove(hiding.InList())
    assert (proof["verdict"], proof["k"]) == ("unknown", None)
    assert "contradicts" in proof["reason"]


def test_a_problem_outside_of_the_shape_is_a_mistake():
    task = tasks.load("reverse")
    task.shape = "[01]>"
    with pytest.raises(ValueError, match=r"has not the shape '\[01\]>'"):
        prove(task)


class Sweeps(Task):
    """A random program: it walks to the end saying notes, and back saying the answer, with a state of three values."""

    symbols = "abxyz"
    shape = "[ab]+"
    notes = "xyz"
    tools = ("pointer:1",)
    defaults = Defaults(train_length=3, check=(1, 2, 3))

    def __init__(self, seed):
        super().__init__()
        rng = random.Random(seed)
        cases = [(state, symbol) for state in range(3) for symbol in "ab"]
        self.there = {case: (rng.choice(("", *"xyz")), rng.randrange(3)) for case in cases}
        self.back = {case: (rng.choice(("", *"ab")), rng.randrange(3)) for case in cases}

    def sample(self, length, rng):
        return rng.choices("ab", k=length)

    def answer(self, prompt):
        state, said = 0, []
        for symbol in prompt:
            _, state = self.there[state, symbol]
        for symbol in reversed(prompt):
            output, state = self.back[state, symbol]
            said += output
        return said

    def solve(self, w):
        p, state = w.pointer(0), 0
        while (symbol := p.read()) != "[EOS]":
            note, state = self.there[state, symbol]
            if note:
                w.note(note)
            p.right()
        w.answer()
        p.left()
        while (symbol := p.read()) != "[BOS]":
            output, state = self.back[state, symbol]
            if output:
                w.output(output)
            p.left()


PROMPTS = ["".join(prompt) for n in range(1, 8) for prompt in itertools.product("ab", repeat=n)]


@pytest.mark.parametrize("seed", [0, 2, 30, 36, 42, 58])
def test_brute_force_agrees_on_random_programs(seed):
    """No two problems of up to seven symbols contradict what is proved, and some do where k is less by one."""
    task = Sweeps(seed)
    k = prove(task, quick=True)["k"]
    assert k is not None
    assert not _contradict(task, k)
    assert _contradict(task, k - 1)


@pytest.mark.parametrize("seed", [4, 6, 7, 8])
def test_random_programs_that_are_not_proved_contradict_any_k(seed):
    task = Sweeps(seed)
    assert prove(task, quick=True)["verdict"] == "unknown"
    assert _contradict(task, 12)


def _contradict(task, k):
    """Return whether different tokens follow the same k tokens in some problems."""
    said = {}
    return any(said.setdefault(context, token) != token for p in PROMPTS for context, token in _contexts(task, p, k))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_no_problem_contradicts_what_is_proved_of_random_programs(seed):
    k = prove(Sweeps(seed), quick=True)["k"]
    assert k is None or not _contradict(Sweeps(seed), k)


def test_a_machine_finds_its_states_lazily():
    found = machine(tasks.load("reverse"))
    begin = found.start(">")
    assert begin is not None
    assert len(found.states) == 1
    walk = found.step(begin.to, "0")
    assert found.step(walk.to, "1").to == walk.to
    assert len(found.states) == 2
    turn = found.step(walk.to, ">")
    assert turn.to not in (begin.to, walk.to)
    assert [found.task.vocab.tokens[action.token] for action in turn.actions] == ["[ANS]", "[p0.left]", "[p0.read]"]
    with pytest.raises(Refusal, match="w.prompt"):
        machine(tasks.load("addition", "direct")).start("=")


def test_unknown_frames_are_refused(monkeypatch):
    monkeypatch.setattr(stacks, "LAYOUTS", {})
    stacks.is_known.cache_clear()
    try:
        assert "frames of cpython" in prove(tasks.load("reverse"))["reason"]
    finally:
        stacks.is_known.cache_clear()


@pytest.mark.parametrize("field", ["previous", "values"])
def test_a_wrong_layout_fails_the_trial(monkeypatch, field):
    wrong = copy(stacks.LAYOUTS[sys.version_info[:2]])
    setattr(wrong, field, getattr(wrong, field) + 8)
    monkeypatch.setattr(stacks, "LAYOUTS", {sys.version_info[:2]: wrong})
    assert not stacks.is_known.__wrapped__()


def test_callbacks_of_garbage_collections_are_not_the_programs():
    """Other libraries register them (hypothesis does), and a collection may come at any moment of a replay."""

    def callback(phase, info):
        time.perf_counter()

    before = gc.get_threshold()
    gc.callbacks.append(callback)
    gc.set_threshold(1)
    try:
        assert prove(tasks.load("reverse"), quick=True)["verdict"] == "proved"
        assert gc.isenabled()
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(callback)

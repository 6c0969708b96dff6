"""Proofs of programs that search: what a search may find, and programs that may take more than one line."""

import itertools
import random
import sys
from pathlib import Path

import pytest

from tallystick import Defaults, Task
from tallystick.locality import proof, prove, sequences
from tallystick.locality.extraction import Machine
from tallystick.locality.lines import Lines
from tallystick.locality.memory import ANY, Label, Memory

sys.path.insert(0, str(Path(__file__).parent))
from test_soundness import Walker, contradiction

NODES = (20_000, 40_000)
RANDOM_MEMORIES = 40


class Follow(Task):
    """Follow links to an H, saying a symbol at each: a line has a state, a colon, a symbol and the next state."""

    symbols = "abc:01H>\n"
    shape = "([abc]:[01][abcH]\n)+>[abc]"
    tools = ("search",)
    defaults = Defaults(train_length=3, check=(1, 2, 3))

    def sample(self, length, rng):
        names = rng.sample("abc", min(length, 3))
        rows = [f"{name}:{rng.choice('01')}{to}" for name, to in zip(names, [*names[1:], "H"], strict=True)]
        return [*"\n".join([*rng.sample(rows, len(rows)), f">{names[0]}"])]

    def answer(self, prompt):
        rows = {row[0]: row[2:] for row in "".join(prompt).split("\n")[:-1]}
        state, said = prompt[-1], []
        while state != "H":
            symbol, state = rows[state]
            said.append(symbol)
        return [*said, "H"]

    def solve(self, w):
        state = w.prompt[-1]
        w.answer()
        while state != "H":
            symbol, state = self.row(w, state)
            w.output(symbol)
        w.output("H")

    def row(self, w, state):
        ((_, _, symbol, state),) = w.find(state, ":")
        return symbol, state


class Listed(Follow):
    def row(self, w, state):
        [line] = w.find(state, ":")
        return line[2], line[3]


class Parity(Follow):
    """Say at the end whether the number of ones was odd; no last tokens tell."""

    def answer(self, prompt):
        return [str(super().answer(prompt).count("1") % 2)]

    def solve(self, w):
        state, odd = w.prompt[-1], False
        while state != "H":
            symbol, state = self.row(w, state)
            odd ^= symbol == "1"
        w.answer()
        w.output(str(int(odd)))


class First(Follow):
    def row(self, w, state):
        found = w.find(state, ":")
        return found[0][2:]


class Last(Follow):
    def row(self, w, state):
        found = w.find(state, ":")
        *_, line = found
        return line[2:]


class Loop(Follow):
    def row(self, w, state):
        found = w.find(state, ":")
        for line in found:
            return line[2:]
        return "1", "H"


class Next(Follow):
    def row(self, w, state):
        found = w.find(state, ":")
        return next(iter(found))[2:]


class Length(Follow):
    def row(self, w, state):
        found = w.find(state, ":")
        if len(found) > 1:
            return "1", "H"
        return found[0][2:]


class Truth(Follow):
    def row(self, w, state):
        found = w.find(state, ":")
        ((_, _, symbol, state),) = found or [("a", ":", "1", "H")]
        return symbol, state


class Equal(Follow):
    def row(self, w, state):
        found = w.find(state, ":")
        if found == [["a", ":", "1", "H"]] * 2:
            return "1", "H"
        ((_, _, symbol, state),) = found
        return symbol, state


class Catches(Follow):
    def row(self, w, state):
        try:
            ((_, _, symbol, state),) = w.find(state, ":")
        except ValueError:
            return "1", "H"
        return symbol, state


class Matches(Follow):
    def row(self, w, state):
        found = w.find(state, ":")
        match found:
            case [[_, _, symbol, state]]:
                return symbol, state
            case [_, *_]:
                return "1", "H"
            case _:
                ((_, _, symbol, state),) = found
                return symbol, state


class MatchesTwo(Follow):
    """Take two lines, and fail unless the first of them is a list of four."""

    def row(self, w, state):
        found = w.find(state, ":")
        lines = iter(found)
        first, second = next(lines), next(lines, None)
        if second is None:
            return first[2:]
        match first:
            case [_, _, symbol, state]:
                return symbol, state
        raise ValueError


class CatchesOutside(Follow):
    def solve(self, w):
        state = w.prompt[-1]
        w.answer()
        while state != "H":
            try:
                symbol, state = self.row(w, state)
            except ValueError:
                symbol, state = "1", "H"
            w.output(symbol)
        w.output("H")


class Starred(Follow):
    def row(self, w, state):
        (*_, (_, _, symbol, state)) = w.find(state, ":")
        return symbol, state


class Pair(Follow):
    def row(self, w, state):
        (_, _, symbol, state), _ = w.find(state, ":")
        return symbol, state


class Mapped(Follow):
    def row(self, w, state):
        (found,) = map(w.find, [state])
        return found[0][2:]


class Lambda(Follow):
    def row(self, w, state):
        search = lambda: w.find(state, ":")  # noqa: E731
        ((_, _, symbol, to),) = search()
        return symbol, to


class Two(Follow):
    """Take one line, or two."""

    def row(self, w, state):
        found = w.find(state, ":")
        (line,) = found if len([*found]) == 1 else found[:1]
        return line[2:]


class Sliced(Follow):
    def row(self, w, state):
        found = w.find(state, ":")
        ((_, _, symbol, state),) = found[:1]
        return symbol, state


class Arguments(Follow):
    def row(self, w, state):
        found = w.find(state, ":")
        return self.first(*found)

    def first(self, line, *_):
        return line[2:]


class Zips(Follow):
    def row(self, w, state):
        found = w.find(state, ":")
        (((_, _, symbol, state), _),) = zip(found, [1], strict=False)
        return symbol, state


SEVERAL = [First, Last, Loop, Next, Length, Truth, Equal, Catches, Matches, MatchesTwo, CatchesOutside, Starred, Pair,
           Mapped, Lambda, Two, Sliced, Arguments, Zips]  # fmt: skip


@pytest.mark.parametrize("cls", SEVERAL)
def test_a_program_that_may_go_on_with_several_lines_is_not_proved(cls):
    proof = prove(cls(), quick=True)
    assert proof["verdict"] == "unknown"
    reasons = "may go on", "row may catch", "solve may catch", "within a C function"
    assert any(reason in proof["reason"] for reason in reasons)


@pytest.mark.parametrize("cls", [Follow, Listed])
def test_a_program_that_takes_one_line_is_proved(cls):
    proof = prove(cls())
    assert (proof["verdict"], proof["k"], proof["covered"]) == ("proved", 5, True)
    assert any("exactly one line" in assumption for assumption in proof["assumptions"])


def test_what_is_kept_from_search_to_search_is_not_proved():
    proof = prove(Parity())
    assert (proof["verdict"], proof["k"]) == ("refuted", None)
    assert "no number of last tokens" in proof["reason"]


class Anywhere(Follow):
    """A program whose search may find the last line of the prompt, too, which can be long."""

    shape = "([abc]:[01][abcH]\n)+[01:]*>[abc]"

    def solve(self, w):
        ((*_, state),) = w.find(":", "0")
        w.answer()
        w.output(state)


def test_lines_of_any_length_are_refused():
    proof = prove(Anywhere(), quick=True)
    assert proof["verdict"] == "unknown"
    assert "any length" in proof["reason"]


class Writes(Follow):
    """Say lines of one's own, and search for them: each state followed by the one before it."""

    symbols = "abc01H>=\n"
    shape = "[abc]+>"
    tools = ("search", "pointer:1")

    def sample(self, length, rng):
        return [*rng.sample("abc", min(length, 3)), ">"]

    def answer(self, prompt):
        return [*prompt[-2::-1]]

    def solve(self, w):
        p, before = w.pointer(0), "H"
        w.think("\n")
        while (state := p.read()) != ">":
            w.think(state, "=", before, "\n")
            before = state
            p.right()
        w.answer()
        while before != "H":
            w.output(before)
            ((_, _, before),) = w.find(before, "=")


PROMPTS = [
    *([*"\n".join([*rows, f">{first}"])] for n in (1, 2) for first in "abc"
      for rows in itertools.product(["a:0b", "a:1H", "b:0a", "b:1c", "c:0H", "c:1c"], repeat=n)),
]  # fmt: skip


@pytest.mark.parametrize("task", [Follow(), Listed(), Parity(), Writes()], ids=lambda task: task.name)
def test_every_run_is_a_path_of_the_token_graph(task):
    """All small prompts on which the program ends are run, and searched lines are those that labels allow."""
    found = proof._explore(Machine(task), 0, NODES)
    prompts = (
        PROMPTS
        if type(task) is not Writes
        else [[*p, ">"] for n in (1, 2, 3) for p in itertools.permutations("abc", n)]
    )
    runs = [sequences.of(task, prompt) for prompt in prompts if ends(task, prompt)]
    walker = Walker(found.graph)
    assert len(runs) > 8
    assert all(walker.holds(ids, mask) for ids, mask in runs)
    assert found.k < 0 or not contradiction(runs, found.k)
    assert not contradiction(runs, 40)


def ends(task, prompt):
    """Return whether each state that is met has one line, and the links lead to the H."""
    if type(task) is Writes:
        return True
    rows, state, met = "".join(prompt).split("\n")[:-1], prompt[-1], set()
    while state != "H" and state not in met:
        met.add(state)
        found = [row for row in rows if row[0] == state]
        if len(found) != 1:
            return False
        state = found[0][3]
    return state == "H"


NEWLINE = 9


@pytest.mark.parametrize("coarse", [False, True])
def test_lines_hold_those_of_each_memory_that_the_labels_allow(coarse):
    """The cells of random memories are labelled by their place in a line, so that lines are finite."""
    found = 0
    for seed in range(RANDOM_MEMORIES):
        rng = random.Random(seed)
        memories = [memory for _ in range(4) if (memory := random_memory(rng))]
        memory = Memory(())
        memory.first = frozenset(label_of(tokens, 0, coarse) for tokens in memories)
        for tokens in memories:
            labels = [label_of(tokens, at, coarse) for at in range(len(tokens))]
            for token, label in zip(tokens, labels, strict=True):
                memory.say(token, label)
            for label, after in itertools.pairwise(labels):
                memory.add(label, after)
        for tokens in memories:
            wanted = tuple(rng.choices((0, 1), k=rng.randint(1, 3)))
            lines = Lines(memory, wanted, NEWLINE, label_of(tokens, len(tokens) - 1, coarse)).all
            assert all(contains(line, wanted) for line in lines)
            assert {line for line in lines_of(tokens) if contains(line, wanted)} <= {*lines}
            found += len(lines)
    assert found > RANDOM_MEMORIES


def random_memory(rng):
    """Draw one to three lines of zeros and ones."""
    lines = [rng.choices((0, 1), k=rng.randint(0, 5)) for _ in range(rng.randint(1, 3))]
    return [token for line in lines for token in (*line, NEWLINE)][: rng.choice((None, -1))]


def label_of(tokens, at, coarse):
    """Label a cell by its place in its line, and by its token unless coarse; ends of lines have their own place."""
    place = -1 if tokens[at] == NEWLINE else next((back for back in range(at) if tokens[at - back - 1] == NEWLINE), at)
    return Label(ANY if coarse else tokens[at], place, False)


def contains(line, wanted):
    return any(line[i : i + len(wanted)] == wanted for i in range(len(line)))


def lines_of(tokens):
    """Split a memory into lines."""
    cuts = [-1, *(i for i, token in enumerate(tokens) if token == NEWLINE), len(tokens)]
    return [tuple(tokens[begin + 1 : end]) for begin, end in itertools.pairwise(cuts)]

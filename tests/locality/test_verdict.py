"""Tests that `check` recognises programs that keep a value in a local: a wrong "local" would be its worst fault."""

import sys
from pathlib import Path

import pytest

from tallystick import locality
from tallystick.locality.verdict import Growth, judge, predict

sys.path.insert(0, str(Path(__file__).parent))
from walks import Walk

LENGTHS = [3, 5, 10, 20]


class Largest(Walk):
    def keep(self, kept, symbol):
        return max(kept, symbol)


class Smallest(Walk):
    symbols, start = "0123456789=", "9"

    def keep(self, kept, symbol):
        return min(kept, symbol)


class LastLetter(Walk):
    """The last symbol that is not c."""

    symbols, start = "abc=", "c"

    def keep(self, kept, symbol):
        return kept if symbol == "c" else symbol


class Three(Walk):
    """Whether there are three nines in a row, anywhere."""

    symbols, start = "0123456789=", "0"

    def keep(self, kept, symbol):
        return kept if kept == "3" else str(int(kept) + 1) if symbol == "9" else "0"


class Count(Walk):
    """The count of ones, modulo 3."""

    start = "0"

    def keep(self, kept, symbol):
        return str((int(kept) + (symbol == "1")) % 3)


class First(Walk):
    """The first symbol, kept all the way."""

    def keep(self, kept, symbol):
        return kept or symbol


@pytest.mark.parametrize("cls", [Largest, Smallest, LastLetter, Three, Count, First])
def test_what_is_kept_in_a_local_is_never_local(cls):
    report = locality.check(cls(), LENGTHS, problems=150)
    assert report["local"] is False, report["rows"]
    assert report["reason"].startswith("k grows with the length")


class Max10(Largest):
    """A maximum that is checked by random problems only."""

    symbols = "0123456789="

    def every_worst_case(self, length):
        return []


def test_a_k_that_follows_the_sample_is_undecided():
    """The same k in the last three rows means nothing where few problems show it by chance."""
    report = locality.check(Max10(), [3, 5, 10, 20, 50], problems=1000)
    assert [row["k"] for row in report["rows"]][-3:] == [20, 20, 20]
    assert report["local"] is None
    assert "of 5,000 random problems show k = 20" in report["reason"]


class Doubles(Walk):
    """Says each symbol that differs from the previous one: local, though the program keeps the last one."""

    symbols = "abcdefgh="

    def answer(self, prompt):
        return [b for a, b in zip(["", *prompt], prompt[:-1], strict=False) if a != b]

    def solve(self, w):
        p, last = w.pointer(0), ""
        w.answer()
        while (symbol := p.read()) != "=":
            if symbol != last:
                w.output(symbol)
            last = symbol
            p.right()


def test_a_bounded_memory_is_local():
    report = locality.check(Doubles(), LENGTHS, problems=150)
    assert (report["local"], report["reason"]) == (True, "")


def test_unseen_contexts_are_named_with_a_problem_that_has_them():
    report = locality.check(Doubles(), LENGTHS, problems=150, train_length=2)
    assert not report["covered"]
    assert report["train_length"] == 2
    assert 0 < len(report["missing"]) <= 8
    for missing in report["missing"]:
        prompt = [*missing["problem"].removesuffix("="), "="]
        trace = locality.sequences.of(Doubles(), prompt)[0].tolist()
        context = Doubles().vocab.encode([*missing["context"], *missing["next"]])
        assert any(trace[i : i + len(context)] == context for i in range(len(trace)))
    last = report["rows"][-1]
    assert last["unseen"] > 0
    assert last["problems_covered"] < last["coverage"] < 1


def growth(k, shown=100, worst=False, beyond=100, unseen=0.0):
    return Growth(k, shown, worst, beyond, worst, problems=1000, unseen=unseen)


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([growth(7), growth(7), growth(7)], True),
        ([growth(9), growth(7), growth(7), growth(7)], True),
        ([growth(7), growth(7)], None),
        ([growth(7, shown=7)] * 3, None),
        ([growth(7, shown=7, worst=True)] * 3, True),
        ([growth(7, shown=49, unseen=0.5)] * 3, None),
        ([growth(7, shown=50, unseen=0.5)] * 3, True),
        ([growth(7), growth(9), growth(11)], False),
        ([growth(7), growth(9, beyond=7), growth(11)], None),
        ([growth(7), growth(9, beyond=1, worst=True), growth(11, beyond=8)], False),
        ([growth(7), growth(9), growth(9)], None),
        ([growth(7), growth(7), growth(9)], None),
        ([growth(7), growth(-1), growth(-1)], False),
    ],
)
def test_the_verdict(rows, verdict):
    local, reason = judge(rows)
    assert local is verdict
    assert bool(reason) == (local is not True)


RUN = {"model": "mamba2:tiny", "train_length": 5, "fixed_state": True}


@pytest.mark.parametrize(
    ("local", "covered", "run", "length", "predicted"),
    [
        (True, True, RUN, 1000, "exact"),
        (True, True, RUN | {"fixed_state": False}, 1000, "none"),
        (True, False, RUN, 1000, "open"),
        (True, False, RUN | {"model": "lookup"}, 1000, "open"),
        (False, False, RUN, 1000, "fails"),
        (False, False, RUN, 5, "none"),
        (None, True, RUN, 1000, "undecided"),
    ],
)
def test_the_prediction(local, covered, run, length, predicted):
    assert predict(run, {"local": local, "covered": covered}, length) == predicted

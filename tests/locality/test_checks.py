"""Tests of `check` on programs that are local, not local, and local but not covered."""

import numpy as np
import pytest

from tallystick import locality, suffix, tasks
from tallystick.locality import held_out, sequences
from tallystick.tasks import Defaults, Task
from tallystick.vocab import loss_mask


class Compare(Task):
    """Which of two numbers is larger, compared from the last digit; the verdict so far is kept in a local."""

    symbols = "01?<>="
    tools = ("pointer:2",)
    variants = {"head": "solve", "said": "solve_said"}
    defaults = Defaults(train_length=4, check=(4, 6, 8, 10))

    def sample(self, length, rng):
        return [*rng.choices("01", k=length), "?", *rng.choices("01", k=length), "="]

    def worst_cases(self, length):
        """List numbers that differ in the first or last digit only, as random numbers hardly ever do."""
        a = "1" * length
        pairs = [(a, a), (a, a[:-1] + "0"), (a[:-1] + "0", a), (a, "0" + a[1:]), ("0" + a[1:], a)]
        return [[*x, "?", *y, "="] for x, y in pairs]

    def answer(self, prompt):
        middle = prompt.index("?")
        a, b = prompt[:middle], prompt[middle + 1 : -1]
        return [">" if a > b else "<" if a < b else "="]

    def solve(self, w):
        self._walk(w, say=False)

    def solve_said(self, w):
        self._walk(w, say=True)

    def _walk(self, w, say):
        a, b = w.pointer(0), w.pointer(1)
        for pointer, stop in ((a, "?"), (b, "=")):
            while pointer.read() != stop:
                pointer.right()
            pointer.left()
        verdict = "="
        while (x := a.read()) != "[BOS]":
            y = b.read()
            verdict = verdict if x == y else ">" if x > y else "<"
            if say:
                w.think(verdict)
            a.left()
            b.left()
        w.answer()
        w.output(verdict)


class Chain(Task):
    """Copy a chain of random labels, each of which is read at a place where it never occurred before."""

    symbols = ("!", *(f"n{i}" for i in range(400)))
    tools = ("pointer:1",)
    defaults = Defaults(train_length=5, check=(5, 10, 20))

    def sample(self, length, rng):
        return [*rng.choices(self.symbols[1:], k=length), "!"]

    def answer(self, prompt):
        return prompt[:-1]

    def solve(self, w):
        p = w.pointer(0)
        w.answer()
        while (symbol := p.read()) != "!":
            w.output(symbol)
            p.right()


def test_a_local_task():
    report = locality.check(tasks.load("addition"), [3, 5, 10])
    assert [row["k"] for row in report["rows"]] == [7, 7, 7]
    assert report["local"]
    assert report["covered"]
    assert report["ambiguous"] == []


def test_a_task_that_is_not_local_names_the_ambiguous_context():
    report = locality.check(tasks.load("addition", "paper"), [3, 5, 10], problems=300)
    ks = [row["k"] for row in report["rows"]]
    assert ks == sorted(set(ks))
    assert not report["local"]
    assert not report["covered"]
    (context,) = report["ambiguous"]
    assert context["context"] == ["[p1.right]", "[p1.read]", "="]
    assert context["next"] == ["[p1.left]", "[p1.right]"]
    assert context["distance"] == ks[-1]


def test_a_verdict_kept_in_the_head_is_not_local():
    report = locality.check(Compare(), problems=300)
    assert report["local"] is False
    assert [row["k"] for row in report["rows"]] == sorted({row["k"] for row in report["rows"]})
    assert {"<", ">", "="} & set(report["ambiguous"][0]["next"])


def test_random_problems_alone_do_not_show_it():
    """In random numbers the verdict is nearly always decided by the first digits."""
    rows = locality.check(Compare(), [4, 10, 16], problems=200)["rows"]
    assert rows[-1]["k"] > rows[-1]["k_random"]


def test_a_verdict_that_is_said_is_local():
    report = locality.check(Compare(variant="said"), problems=300)
    assert report["local"]
    assert report["covered"]


def test_random_labels_are_local_but_not_covered():
    report = locality.check(Chain(), problems=50)
    assert report["local"]
    assert not report["covered"]
    assert all(0 < row["coverage"] < 1 for row in report["rows"])
    assert all(row["unseen"] > 0 for row in report["rows"])


def test_fewer_than_three_lengths_decide_nothing():
    assert locality.check(tasks.load("addition"), [3, 5], problems=50)["local"] is None


def test_problems_and_worst_cases_are_counted_up_to_a_row():
    rows = locality.check(tasks.load("addition"), [3, 4], problems=20)["rows"]
    assert [(row["problems"], row["worst_cases"]) for row in rows] == [(20, 32), (40, 64)]


@pytest.mark.parametrize("variant", ["local", "paper"])
def test_covering_problems_hold_every_context_of_the_training_length(variant):
    task = tasks.load("addition", variant)
    chosen, needed = held_out.choose(task, 0, 5, problems=300)
    assert len(chosen) == needed < 300
    everything = sequences.worst_cases(task, 5) + sequences.sample(task, "holdout", 0, 5, 300)
    both = everything + [(record.ids, loss_mask(record.roles)) for record in chosen]
    leaf = suffix.build(suffix.Contexts.of(both, len(task.vocab)), 64).leaf
    border = sum(int(mask.sum()) for _, mask in everything)
    assert set(np.unique(leaf[:border])) == set(np.unique(leaf[border:]))


def test_every_worst_case_is_held_out_though_it_adds_no_context():
    task = tasks.load("addition")
    chosen, _ = held_out.choose(task, 0, 5)
    held = {record.ids.tobytes() for record in chosen}
    assert {ids.tobytes() for ids, _ in sequences.worst_cases(task, 5)} <= held
    assert len(sequences.worst_cases(task, 5)) == 32


def test_where_covering_takes_too_many_the_worst_cases_stay():
    task = tasks.load("addition")
    every, needed = held_out.choose(task, 0, 5, problems=30)
    chosen, still = held_out.choose(task, 0, 5, problems=30, most=40)
    assert needed == still == len(every) > len(chosen) == 40
    worst = {ids.tobytes() for ids, _ in sequences.worst_cases(task, 5)}
    assert {record.ids.tobytes() for record in every} & worst == {record.ids.tobytes() for record in chosen} & worst

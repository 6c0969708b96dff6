"""Tests of generic worst cases: valid prompts of any task, with stretches that random draws hardly ever have."""

import random

import pytest

from tallystick import Task
from tallystick.tasks import TASKS, load, runner, worst_cases
from tallystick.workspace import ProgramError


class Letters(Task):
    """Says the letters again."""

    symbols = "abc>"

    def sample(self, length, rng):
        return [*rng.choices("abc", k=length), ">"]

    def answer(self, prompt):
        return prompt[:-1]

    def solve(self, w):
        p = w.pointer(0)
        w.answer()
        while (symbol := p.read()) != ">":
            w.output(symbol)
            p.right()


def texts(task, length):
    return ["".join(prompt[:-1]) for prompt in task.worst_cases(length)]


def test_the_stretches_are_there():
    found = texts(Letters(), 6)
    assert len(found) == len(set(found)) >= 15
    assert {"aaaaaa", "bbbbbb", "cccccc", "caaaaa", "baaaaa", "aaaaac", "accccc", "ccccca"} <= set(found)
    assert {"acacac", "cacaca", "aabbcc", "aaaccc", "cccaaa"} <= set(found)


def test_they_are_the_same_every_time_and_of_their_length():
    assert texts(Letters(), 9) == texts(Letters(), 9)
    assert {len(text) for length in (1, 2, 9, 100) for text in texts(Letters(), length)} == {1, 2, 9, 100}


@pytest.mark.parametrize("name", [*TASKS, "turing:bb5", "turing:palindrome"])
def test_every_task_solves_them(name):
    task = load(name)
    for length in sorted({task.min_length, task.defaults.check[1]}):
        for prompt in task.every_worst_case(length):
            assert runner.record(task, prompt).ok


def test_a_task_that_names_its_own_has_the_generic_ones_too():
    class Own(Letters):
        def worst_cases(self, length):
            return [["a"] * length + [">"], [*"bc" * (length // 2), ">"]]

    own = Own()
    assert (own.own_worst_cases, Letters().own_worst_cases) == (True, False)
    assert own.worst_cases(6) == [list("aaaaaa>"), list("bcbcbc>")]
    every = own.every_worst_case(6)
    assert every[:2] == own.worst_cases(6)
    assert len(every) == len(Letters().worst_cases(6)) + 1


def test_a_mixture_has_those_of_its_parts():
    mixture, parts = load("reverse:1,addition:1"), [load("reverse"), load("addition")]
    assert mixture.own_worst_cases
    assert len(mixture.every_worst_case(5)) == sum(len(part.every_worst_case(5)) for part in parts)


class Distinct(Letters):
    """A task whose sample draws until two values differ, which would never end with constant draws."""

    symbols = "abcdefgh>"

    def sample(self, length, rng):
        drawn = []
        while len(drawn) < length:
            letter = rng.choice("abcdefgh")
            drawn += [letter] * (letter not in drawn)
        rng.shuffle(drawn)
        return [*drawn, ">"]


def test_a_sample_that_waits_for_another_draw_ends():
    for text in texts(Distinct(), 8):
        assert sorted(text) == sorted("abcdefgh")


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.random(),
        lambda rng: rng.uniform(1, 2),
        lambda rng: rng.gauss(0, 1),
        lambda rng: rng.normalvariate(0, 1),
        lambda rng: rng.randrange(3, 900, 7),
        lambda rng: rng.getrandbits(200),
        lambda rng: rng.randbytes(3),
        lambda rng: rng.sample(range(10**6), 50),
        lambda rng: rng.choices(range(10**7), k=3),
        lambda rng: rng.triangular(),
        lambda rng: rng.expovariate(1.0),
    ],
)
@pytest.mark.parametrize("value", [worst_cases.LOW, worst_cases.MIDDLE, worst_cases.HIGH])
def test_every_way_to_draw_works(draw, value):
    draw(worst_cases.PatternRandom(lambda number: value, patience=100))


def test_whole_numbers_reach_both_ends():
    low, high = (worst_cases.PatternRandom(lambda number, v=v: v, 9) for v in (worst_cases.LOW, worst_cases.HIGH))
    assert (low.randint(3, 9), high.randint(3, 9)) == (3, 9)
    assert (low.choice("abc"), high.choice("abc")) == ("a", "c")


def test_a_sample_that_fails_on_one_is_named():
    class Fails(Letters):
        def sample(self, length, rng):
            prompt = super().sample(length, rng)
            assert len(set(prompt)) > 2, "all alike"
            return prompt

    with pytest.raises(ProgramError, match=r"AssertionError: all alike .*; drawing generic worst cases of length 5"):
        Fails().worst_cases(5)


def test_true_randomness_is_untouched():
    assert [random.Random(1).random()] == [random.Random(1).random()]

"""Multiplication: answers, distribution, parsing and the cost that the docstrings state."""

import random

import pytest

from tallystick.locality.sequences import of as trace
from tallystick.tasks import load

FULL, ONE, TWO = (load(name) for name in ("multiplication", "multiplication-1", "multiplication-2"))
TASKS = [FULL, ONE, TWO]


def split(prompt):
    return "".join(prompt).removesuffix("=").split("*")


def tokens(task, length):
    return len(trace(task, [*"3" * length, "*", *"7" * (task.digits or length), "="])[0])


def test_against_pythons_int():
    rng = random.Random(0)
    for _ in range(1000):
        a, b = (rng.randrange(10 ** rng.randint(1, 40)) for _ in range(2))
        assert FULL.format(FULL.answer([*f"{a}*{b}="])) == str(a * b)


def test_beyond_pythons_limit_of_digits():
    assert FULL.answer([*"9" * 5000, "*", *"9" * 5000, "="]) == [*"9" * 4999, "8", *"0" * 4999, "1"]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("length", [1, 2, 7, 100])
def test_problems_have_the_declared_lengths(task, length):
    for i in range(50):
        left, right = split(task.problem("test", 0, length, i))
        assert (len(left), len(right)) == (length, task.digits or length)
        assert all(operand == "0" or operand[0] != "0" for operand in (left, right))


def test_training_draws_the_two_lengths_independently():
    sizes = [tuple(map(len, split(FULL.problem("train", 0, 4, i, up_to=True)))) for i in range(400)]
    assert set(sizes) == {(a, b) for a in range(1, 5) for b in range(1, 5)}


@pytest.mark.parametrize("task", [ONE, TWO], ids=lambda task: task.name)
def test_training_draws_the_first_length_and_keeps_the_second(task):
    sizes = [tuple(map(len, split(task.problem("train", 0, 4, i, up_to=True)))) for i in range(400)]
    assert set(sizes) == {(a, task.digits) for a in range(1, 5)}


def test_training_sees_each_digit_as_often_as_it_has_carries():
    digits = [split(ONE.problem("train", 0, 4, i, up_to=True))[1] for i in range(5000)]
    assert all(abs(digits.count(str(d)) - 100 * d) < 5 * (100 * d) ** 0.5 for d in range(1, 10))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_training_sees_zeros(task):
    pairs = [split(task.problem("train", 0, 4, i, up_to=True)) for i in range(1000)]
    assert sum(left == "0" for left, _ in pairs) > 80
    assert task is TWO or sum(right == "0" for _, right in pairs) > 10


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("length", [1, 2, 7])
def test_worst_cases_are_problems(task, length):
    pairs = [split(prompt) for prompt in task.worst_cases(length)]
    assert ["9" * length, "9" * (task.digits or length)] in pairs
    assert any(left == "0" for left, _ in pairs)
    assert all(str(int(number)) == number for pair in pairs for number in pair)
    assert all(len(left) <= length and len(right) <= max(2, length) for left, right in pairs)
    assert all(len(right) == (task.digits or len(right)) for _, right in pairs)


@pytest.mark.parametrize(
    ("name", "variant", "each"),
    [
        ("multiplication-1", "local", 25),
        ("multiplication-1", "paper", 25),
        ("multiplication-2", "local", 55),
        ("multiplication-2", "paper", 56),
    ],
)
def test_tokens_a_digit(name, variant, each):
    task = load(name, variant)
    sizes = [tokens(task, length) for length in (10, 110, 1110)]
    assert (sizes[1] - sizes[0], sizes[2] - sizes[1]) == (100 * each, 1000 * each)


def test_tokens_of_a_full_product():
    assert round(tokens(FULL, 20), -3) == 13_000
    assert 30 < tokens(FULL, 100) / 100**2 < 31


@pytest.mark.parametrize(
    ("task", "text", "prompt"),
    [
        (FULL, "12*345", "12*345="),
        (FULL, " 1 * 2 =", "1*2="),
        (FULL, "007*00", "7*0="),
        (ONE, "12*3", "12*3="),
        (ONE, "3*12", "12*3="),
        (ONE, "12*03", "12*3="),
        (TWO, "7*12", "7*12="),
        (TWO, "12*7", "7*12="),
        (TWO, "12*34=", "12*34="),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_parse(task, text, prompt):
    assert task.parse(text) == [*prompt]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("text", ["", "=", "*", "1*", "*1", "12", "1*2*3", "1+2", "a*1", "1*²", "1\n*a", "1" * 1000])
def test_a_bad_product_is_refused_in_one_line(task, text):
    with pytest.raises(ValueError, match="is not a product; write two numbers of digits 0-9") as error:
        task.parse(text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(("task", "text"), [(ONE, "12*34"), (TWO, "123*456"), (TWO, "1*2")])
def test_a_number_of_the_tasks_digits_is_needed(task, text):
    with pytest.raises(ValueError, match=rf"{task.name} needs a number of {task.digits} digit\(s\)"):
        task.parse(text)

"""Addition: answers, parsing and the cost that its docstring states."""

import random

import pytest

from tallystick.episode import Recorder
from tallystick.locality.sequences import of as trace
from tallystick.tasks import load
from tallystick.tasks.runner import run

ADDITION = load("addition")


def tokens(task, prompt):
    sink = Recorder()
    run(task, prompt, sink)
    return len(sink.ids)


def test_against_pythons_int():
    rng = random.Random(0)
    for _ in range(1000):
        a, b = (rng.randrange(10 ** rng.randint(1, 30)) for _ in range(2))
        assert ADDITION.format(ADDITION.answer([*f"{a}+{b}="])) == str(a + b)


def test_beyond_pythons_limit_of_digits():
    total = ADDITION.answer([*"9" * 5000, "+", "1", "="])
    assert total == ["1", *"0" * 5000]


@pytest.mark.parametrize("length", [1, 2, 7, 100])
def test_both_numbers_have_the_declared_length(length):
    for i in range(50):
        left, right = ADDITION.format(ADDITION.problem("test", 0, length, i)).removesuffix("=").split("+")
        assert len(left) == len(right) == length
        assert length == 1 or "0" not in (left[0], right[0])


def test_training_draws_the_two_lengths_independently():
    prompts = [ADDITION.problem("train", 0, 4, i, up_to=True) for i in range(400)]
    seen = {(prompt.index("+"), len(prompt) - prompt.index("+") - 2) for prompt in prompts}
    assert seen == {(a, b) for a in range(1, 5) for b in range(1, 5)}


@pytest.mark.parametrize("length", [1, 2, 7])
def test_a_worst_case_has_a_number_of_its_length(length):
    for prompt in ADDITION.worst_cases(length):
        operands = ADDITION.format(prompt).removesuffix("=").split("+")
        assert max(map(len, operands)) == length
        assert all(operand == "0" or operand[0] != "0" for operand in operands)


@pytest.mark.parametrize(("variant", "each"), [("local", 38), ("paper", 35)])
def test_tokens_a_digit(variant, each):
    task = load("addition", variant)
    sizes = [tokens(task, [*"1" * n, "+", *"1" * n, "="]) for n in (10, 110, 1110)]
    assert (sizes[1] - sizes[0], sizes[2] - sizes[1]) == (100 * each, 1000 * each)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("12+345", "12+345="),
        ("12+345=", "12+345="),
        (" 1 + 2 ", "1+2="),
        ("007+00", "7+0="),
        ("0+0=", "0+0="),
    ],
)
def test_parse(text, prompt):
    assert ADDITION.parse(text) == [*prompt]


@pytest.mark.parametrize("text", ["", "=", "+", "1+", "+1", "12", "1+2+3", "1-2", "a+1", "1+2==", "1+²", "1a2+3"])
def test_a_bad_sum_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match="is not a sum; write two numbers of digits 0-9") as error:
        ADDITION.parse(text)
    assert "\n" not in str(error.value)


def test_a_long_bad_text_is_shortened_in_the_message():
    with pytest.raises(ValueError, match=r"^'111.*\.\.\.' is not a sum") as error:
        ADDITION.parse("1" * 10_000)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ("direct", "[ANS] 1 2 5 [EOS]"),
        ("reversed", "[ANS] 5 2 1 [EOS]"),
        ("calculator", "[call] add 5 8 , 6 7 [/call] [ANS] 1 2 5 [EOS]"),
    ],
)
def test_ablations(variant, said):
    task = load("addition", variant)
    ids, mask = trace(task, list("58+67="))
    assert task.vocab.decode(ids[mask].tolist()) == said.split()

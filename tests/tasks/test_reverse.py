"""Reverse: answers, parsing and cost."""

import pytest

from tallystick.episode import Recorder
from tallystick.tasks import load
from tallystick.tasks.runner import run

REVERSE = load("reverse")


def tokens(length):
    sink = Recorder()
    run(REVERSE, REVERSE.problem("test", 0, length, 0), sink)
    return len(sink.ids)


@pytest.mark.parametrize("length", [1, 2, 7, 100])
def test_problems_have_the_declared_length(length):
    prompts = [REVERSE.problem("test", 0, length, 0), *REVERSE.worst_cases(length)]
    assert all(len(prompt) == length + 1 and prompt[-1] == ">" for prompt in prompts)


def test_answer():
    assert REVERSE.answer([*"1101>"]) == [*"1011"]


def test_tokens_a_bit():
    assert tokens(1010) - tokens(10) == 1000 * 8


@pytest.mark.parametrize("text", ["1101", "1101>"])
def test_parse(text):
    assert REVERSE.parse(text) == [*"1101>"]


@pytest.mark.parametrize("text", ["", ">", "1>0", "1>>", "012", "1 0"])
def test_a_bad_text_is_refused(text):
    with pytest.raises(ValueError, match="is not"):
        REVERSE.parse(text)

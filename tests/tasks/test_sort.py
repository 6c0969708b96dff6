"""Sort: answers, problems, parsing and cost."""

import random

import numpy as np
import pytest

from tallystick.episode import Recorder, Role
from tallystick.locality.sequences import of as trace
from tallystick.tasks import load
from tallystick.tasks.runner import run

SORT = load("sort")


def tokens(length):
    return len(trace(SORT, SORT.problem("test", 0, length, 0))[0])


def test_against_pythons_sort():
    rng = random.Random(0)
    for _ in range(300):
        numbers = [rng.randrange(1000) for _ in range(rng.randint(1, 30))]
        prompt = SORT.parse(" ".join(map(str, numbers)))
        assert [int(word) for word in SORT.format(SORT.answer(prompt)).split()] == sorted(numbers)


@pytest.mark.parametrize("length", [1, 2, 7, 1000])
def test_problems_have_the_declared_length(length):
    for prompt in [SORT.problem("test", 0, length, 0), *SORT.worst_cases(length)]:
        assert len(SORT.format(prompt).split()) == length
        assert len(prompt) == 3 * length + 4


def test_worst_cases_have_duplicates_and_sorted_and_reversed_lists():
    lists = [SORT.format(prompt).split() for prompt in SORT.worst_cases(10)]
    assert ["000"] * 10 in lists
    assert ["999"] * 10 in lists
    rising = [numbers for numbers in lists if numbers == sorted(numbers) and len(set(numbers)) == 10]
    assert rising
    assert rising[0][::-1] in lists


def test_training_has_lists_of_every_length_and_duplicates():
    lists = [SORT.format(SORT.problem("train", 0, 8, i, up_to=True)).split() for i in range(400)]
    assert {len(numbers) for numbers in lists} == set(range(1, 9))
    assert sum(len(set(numbers)) < len(numbers) for numbers in lists) > 50


def test_tokens_a_number():
    assert tokens(410) - tokens(10) == 400 * 207


def test_the_memory_of_the_docstring():
    sink = Recorder()
    run(SORT, SORT.parse("345 7 12"), sink)
    remembered = np.isin(sink.roles, (Role.PROMPT, Role.THOUGHT, Role.OUTPUT))
    memory = "".join(SORT.vocab.decode(sink.ids[remembered][1:-1]))
    assert memory == ":345007012###201534700|||070120453||[ANS]007012345"


@pytest.mark.parametrize(("text", "written"), [("345 7 12", "345 007 012"), ("0,999", "000 999"), (" 5 ", "005")])
def test_parse(text, written):
    assert SORT.format(SORT.parse(text)) == written


@pytest.mark.parametrize("text", ["", " ", "1000", "7 x", "-1", "1.5", "²", "1 a\n", "0001", "x" * 1000])
def test_a_bad_list_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match="is not a number 0-999; write some") as error:
        SORT.parse(text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200

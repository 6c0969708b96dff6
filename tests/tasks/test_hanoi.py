"""Tests of Hanoi: moves played on real rods, problems, parsing and cost."""

import pytest

from tallystick.locality.sequences import of as trace
from tallystick.tasks import load

NAMES = ["hanoi", "hanoi-recursive"]


@pytest.fixture(params=NAMES)
def task(request):
    return load(request.param)


def play(disks, moves):
    """Return the rods after (rods, disk) moves, all of which must be legal."""
    rods = {"A": list(disks), "B": [], "C": []}
    for (source, target), disk in moves:
        assert rods[source].pop() == disk
        assert not rods[target] or rods[target][-1] > disk
        rods[target].append(disk)
    return rods


@pytest.mark.parametrize("length", [1, 2, 3, 6, 10])
def test_the_answer_solves_the_puzzle_in_the_fewest_moves(task, length):
    for prompt in [task.problem("test", 0, length, 0), *task.worst_cases(length)]:
        answer = task.answer(prompt)
        moves = list(zip(answer[::2], map(int, answer[1::2]), strict=True))
        disks = [int(symbol) for symbol in prompt[:-1]]
        assert play(disks, moves) == {"A": [], "B": [], "C": disks}
        assert len(moves) == 2**length - 1


@pytest.mark.parametrize("length", [1, 2, 6, 20])
def test_problems_are_distinct_sizes_the_largest_first(task, length):
    prompts = [task.problem("test", 0, length, i) for i in range(50)] + task.worst_cases(length)
    for prompt in prompts:
        sizes = [int(symbol) for symbol in prompt[:-1]]
        assert prompt[-1] == ":"
        assert sizes == sorted(set(sizes), reverse=True)
        assert len(sizes) == length
        assert set(sizes) <= set(range(1, 101))


def test_training_sees_towers_of_every_height_and_the_last_sizes_within_them(task):
    towers = [task.problem("train", 0, 6, i, up_to=True)[:-1] for i in range(4000)]
    assert {len(tower) for tower in towers} == set(range(1, 7))
    assert {symbol for tower in towers for symbol in tower} == {str(size) for size in range(1, 101)}
    assert sum("99" in tower[1:] for tower in towers) > 20
    assert sum("2" in tower[:-1] for tower in towers) > 20


@pytest.mark.parametrize(("variant", "each"), [("local", 16), ("paper", 22)])
def test_tokens_of_the_recursive_form(variant, each):
    task = load("hanoi-recursive", variant)
    assert each <= len(trace(task, task.worst_cases(10)[0])[0]) / 2**10 < each + 0.1


def test_tokens_of_the_iterative_form():
    task = load("hanoi")
    for n in (4, 8, 10):
        assert abs(len(trace(task, task.worst_cases(n)[0])[0]) / 2**n / (8 * n + 24) - 1) < 0.2


def test_format_is_the_papers(task):
    assert task.format(task.answer(["2", "1", ":"])) == "(1)AB$(2)AC$(1)BC$"
    assert task.format(["83", "41", "7", ":"]) == "83 41 7"


@pytest.mark.parametrize("text", ["83 41 7", "7,41, 83", "(83)(41)(7):", " 83 41 7 : "])
def test_parse(task, text):
    assert task.parse(text) == ["83", "41", "7", ":"]


@pytest.mark.parametrize("text", ["", ":", "0", "101", "3 3", "7 x", "7.5", "-1", "1\n0", "²", "1 " * 200])
def test_a_bad_tower_is_refused_in_one_line(task, text):
    with pytest.raises(ValueError, match="is not a tower; write the distinct sizes") as error:
        task.parse(text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


def test_a_tower_too_high_is_refused(task):
    with pytest.raises(ValueError, match="length 21: hanoi.* has lengths 1 to 20"):
        task.parse(" ".join(map(str, range(1, 22))))

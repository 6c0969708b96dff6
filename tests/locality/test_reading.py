"""Tests of how `check` reads texts: as words, up to the choice of names."""

import numpy as np
import pytest

from tallystick import locality, tasks
from tallystick.episode import BOS
from tallystick.locality import checks, reading, sequences
from tallystick.problem import Problem
from tallystick.tasks.text import TextTask


class Copying(TextTask):
    """Say again the name that stands at a place of what is read, behind words that are always the same."""

    min_length = 1
    place = 0

    def sample(self, length, rng):
        return Problem("copy", {"list": " ".join(f"f{rng.randrange(1000)}" for _ in range(3)) + "\n"})

    def solve(self, w):
        names = w.bash("cat list").output.split()
        w.say(f"v10 or {names[self.pick(names)]}")

    def pick(self, names):
        return self.place

    def score(self, prompt, output, tools=None):
        return 1.0


class Choosing(Copying):
    """Say again the largest of the names, which no comparison of places tells."""

    def pick(self, names):
        return max(range(3), key=lambda i: int(names[i][1:]))


def words_of(task, count=200):
    told = reading.of(task)
    return told, told.read(sequences.sample(task, "check", 0, 4, count))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_copied_name_is_decided_by_its_place(place):
    """Hundreds of names, hardly ever the same, and yet few contexts; "v10" is always the same and no copy."""
    task = Copying()
    task.place = place
    told, read = words_of(task)
    contexts, tree = told.build(read)
    assert tree.k > 0
    assert len(np.unique(tree.leaf)) < 40
    assert len(np.unique(contexts.ids)) > 300, "there are many names"


def test_a_name_chosen_by_what_it_is_is_not_decided():
    told, read = words_of(Choosing())
    _, tree = told.build(read)
    assert tree.k == -1


def test_reading_words_keeps_the_text_and_who_says_it():
    task = tasks.load("codefix")
    told = reading.of(task)
    ids, mask = sequences.sample(task, "check", 0, 6, 1)[0]
    [(words, said)] = told.read([(ids, mask)])
    assert "".join(told.decode(words.tolist())) == "".join(task.vocab.decode(ids.tolist()))
    for who in (True, False):
        assert "".join(told.decode(words[said == who].tolist())) == "".join(
            task.vocab.decode(ids[mask == who].tolist())
        )
    assert words[0] == BOS


@pytest.mark.parametrize("teacher", ["one", "three", "all"])
def test_local_teachers_meet_all_contexts_in_small_codebases(teacher):
    """Otherwise a model would have to guess in larger ones: `three` once listed as many calls as small ones lack."""
    report = locality.check(tasks.load("codefix", teacher), [8, 30], problems=20)
    assert len({row["k"] for row in report["rows"]}) == 1
    assert report["rows"][-1]["k"] > 0
    assert report["covered"]


def test_a_teacher_that_lists_more_in_larger_codebases_is_not_covered(monkeypatch):
    monkeypatch.setattr("tallystick.tasks.codefix.teachers.LISTED", 6)
    report = checks.check(tasks.load("codefix", "three"), [8, 30], problems=8)  # not the one that tests share
    assert not report["covered"]


def test_symbolic_tasks_are_read_token_by_token():
    task = tasks.load("addition")
    some = sequences.sample(task, "check", 0, 3, 5)
    assert reading.of(task).read(some) is some

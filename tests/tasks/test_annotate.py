"""Tests of notes: programs that are not local become local, and refusals name the reason."""

import json
import subprocess
import sys
from contextlib import contextmanager
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from tallystick import locality, runs, suffix
from tallystick.config import configure
from tallystick.episode import Recorder, Role
from tallystick.evaluation import sweep
from tallystick.locality import sequences
from tallystick.tasks import load
from tallystick.tasks.annotate import traces
from tallystick.tasks.registry import source
from tallystick.tasks.runner import record, run
from tallystick.training import loop
from tallystick.workspace import ProgramError

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs.py"
NAIVE = ROOT / "examples" / "naive.py"
QUICK = [("addition", "paper"), (f"{NAIVE}:Larger", "default")]
LOCAL = [*QUICK, *((name, "paper") for name in ("multiplication-1", "hanoi-recursive"))]
KEEPERS = ("Largest", pytest.param("Smallest", marks=pytest.mark.slow), "LastOddDigit", "CountModulo3")
NEAR = 8
"""Tokens that decide at the most once a program says what it keeps."""


@contextmanager
def few_random_problems():
    """Record fewer problems than usual, which is enough for small programs and for errors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traces, "PROBLEMS", 500)
        patch.setattr(traces, "QUESTIONS", 5000)
        yield


@cache
def plain(name):
    return load(f"{PROGRAMS}:{name}")


@cache
def annotated(name):
    with few_random_problems():
        return load(f"{PROGRAMS}:{name}", "+notes")


def notes_said(task, prompt):
    sink = record(task, prompt)
    return task.vocab.decode(sink.ids[sink.roles == Role.NOTE])


@pytest.mark.parametrize(("name", "variant"), QUICK)
def test_a_program_that_is_not_local_becomes_local(name, variant):
    lengths, problems = [10, 14, 20], 25
    before = locality.check(load(name, variant), lengths, problems)
    with few_random_problems():
        after = locality.check(load(name, variant + "+notes"), lengths, problems)
    assert not before["local"]
    assert after["local"]
    assert after["variant"] == f"{variant}+notes"
    assert [row["k"] for row in after["rows"]] == [7, 7, 7]
    assert after["rows"][-1]["coverage"] > before["rows"][-1]["coverage"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), LOCAL)
def test_local_and_covered_as_check_prints_it(name, variant):
    report = locality.check(load(name, f"{variant}+notes"))
    assert (report["local"], report["covered"]) == (True, True)


@pytest.mark.slow
def test_a_cycle_that_its_tape_never_answers_leaves_a_program_undecided():
    report = locality.check(load("multiplication-2", "paper+notes"), [3, 4, 5], 50)
    assert (report["local"], report["rows"][-1]["k"]) == (None, 8)
    assert report["reason"].startswith("the program may go on alike for ever, at read+3 with carry=")


@pytest.mark.slow
def test_hanoi_is_local_though_its_disks_are_many():
    report = locality.check(load("hanoi", "paper+notes"), [6, 7, 8], 20)
    assert [row["k"] for row in report["rows"]] == [15, 15, 15]


@pytest.mark.parametrize("name", KEEPERS)
def test_what_was_kept_from_far_back_is_said(name):
    """Only long constant stretches show the use of the kept value; random problems do not."""
    task = annotated(name)
    digits = plain(name).symbols[:-1]
    problems = [[first, *[rest] * 69, "="] for first, rest in product(digits, repeat=2)]
    contexts = suffix.Contexts.of([sequences.of(task, prompt) for prompt in problems], len(task.vocab))
    assert 0 <= suffix.build(contexts).k <= NEAR


@pytest.mark.parametrize("name", KEEPERS)
def test_check_agrees_that_it_is_local(name):
    report = locality.check(annotated(name), problems=10)
    assert report["rows"][-1]["k"] <= NEAR
    assert report["local"]


@pytest.mark.parametrize("name", ["Parity", "Nested"])
def test_only_notes_are_added(name):
    task, noting = plain(name), annotated(name)
    added = set(noting.notes)
    assert added == set(noting.vocab.tokens) - set(task.vocab.tokens)
    for i in range(5):
        prompt = task.problem("test", 0, 12, i)
        assert noting.problem("test", 0, 12, i) == prompt
        bare, noted = record(task, prompt), record(noting, prompt)
        said = zip(noting.vocab.decode(noted.ids), noted.roles, strict=True)
        assert [(token, role) for token, role in said if role != Role.NOTE] == list(
            zip(task.vocab.decode(bare.ids), bare.roles, strict=True)
        )
        assert {noting.vocab.tokens[t] for t in noted.ids[noted.roles == Role.NOTE]} <= added


def test_notes_name_the_place_and_what_decides():
    assert set(annotated("Parity").notes) == {"{solve+2 odd=0}", "{solve+2 odd=1}"}


def test_a_local_program_is_left_alone():
    with few_random_problems():
        assert list(load("addition", "local+notes").notes) == []


def test_a_wide_local_is_said_in_the_tasks_own_symbols():
    task = annotated("LastLetter")
    first, *rest = notes_said(task, [*"cxa", "="])
    assert rest == [word for letter in "cxx" for word in ("[note]", "{solve+2#1}", letter, "[/note]")]
    assert list(task.notes) == [first, "{solve+2#1}"]


def test_values_that_make_no_difference_are_said_as_one():
    assert set(annotated("Hesitant").notes) == {"{solve+2 odd=0|None}", "{solve+2 odd=1}"}


def test_of_many_labels_only_those_that_decide_are_said():
    task, letters = annotated("Ends"), plain("Ends").symbols
    assert [word for word in notes_said(task, [*"cxa", "="]) if word in letters] == ["c", "c"]
    assert len(task.notes) == 1


@pytest.mark.parametrize(
    ("name", "variant", "message"),
    [
        (f"{PROGRAMS}:Recursive", None, "no notes for the default program: _rest calls itself, deeper the longer"),
        (f"{PROGRAMS}:PromptReader", None, "asks anything depends on tokens that lie farther back .* w.prompt"),
        (f"{PROGRAMS}:LatePromptReader", None, "after solve.2 depends on tokens more than 64 back, .* w.prompt"),
        (f"{PROGRAMS}:Listing", None, "the local seen of solve takes more values the longer the problem is"),
        (f"{NAIVE}:Majority", None, "the local lead of solve takes more values"),
        pytest.param("logic-graph", "paper", "what _grep.2 asks for is longer than 64 tokens, and no note stands in",
                     marks=pytest.mark.slow),
        ("addition", "fast", "unknown variant 'fast'; there are: local, paper"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_by_name(name, variant, message):
    with few_random_problems(), pytest.raises(ValueError, match=message) as error:
        load(name, f"{variant or ''}+notes")
    assert "\n" not in str(error.value)


def test_a_state_that_was_not_met_is_a_reported_failure():
    task = annotated("Late")
    assert record(task, [*"101", "="]).ok
    with pytest.raises(
        ProgramError, match=r"no note for the control state solve\+2, far = 7, odd = 1: it never occurs"
    ) as error:
        run(task, [*"1" * 12, "="], Recorder())
    assert "\n" not in str(error.value)


def test_the_same_notes_in_every_process():
    code = f"from tallystick.tasks import load; print(list(load('{PROGRAMS}:Nested', '+notes').vocab.tokens))"
    environment = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert other.stdout == f"{list(annotated('Nested').vocab.tokens)}\n"


def test_a_run_goes_round_through_its_folder(tmp_path):
    config = configure(annotated("Parity"), "lookup", {"examples": "500"})
    with few_random_problems():
        assert loop.train(tmp_path / "run", config)
        kept = runs.load(tmp_path / "run")
    assert kept.task.variant == "default+notes"
    assert source(kept.task)[0] == (tmp_path / "run" / "task" / "source.py").read_text() == PROGRAMS.read_text()
    assert not kept.changed
    for mode in sweep.MODES:
        row, _ = sweep.evaluate(kept, [200], 3, mode)
        assert row["exact"] == 3
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["task"], config["variant"]) == (f"{PROGRAMS}:Parity", "default+notes")

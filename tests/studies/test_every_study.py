"""Tests of every study: its declarations are valid, and one experiment of it is done in two steps."""

from collections import Counter
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import pytest

from tallystick import studies, tasks
from tallystick.config import Settings
from tallystick.models import load_class, split_preset
from tallystick.studies.framework.experiment import At, Experiment, LocalityCheck
from tallystick.studies.framework.measure import measure
from tallystick.studies.framework.schema import attempts_of, rows_of, training_of

NAIVE = Path(__file__).parents[2] / "examples" / "naive.py"
CASES = [(name, budget) for name in studies.MODULES for budget in studies.load(name).budgets]


@cache
def declared(name, budget="small"):
    return studies.load(name).declared(budget)


def test_names():
    assert all(studies.load(name).name == name for name in studies.MODULES)
    with pytest.raises(ValueError, match=r"^unknown study 'figure99'; there are: headline, targets, [^\n]*$"):
        studies.load("figure99")


def test_a_budget_that_a_study_does_not_have():
    with pytest.raises(ValueError, match="--budget paper: the budgets of headline are small"):
        studies.load("headline").declared("paper")
    with pytest.raises(ValueError, match="--budget large: the budgets of figure2 are small and paper"):
        studies.load("figure2").declared("large")


@pytest.mark.parametrize(("name", "budget"), CASES)
def test_experiments_can_be_done(name, budget):
    every = declared(name, budget)
    assert every
    assert [n for n, count in Counter(each.name for each in every).items() if count > 1] == []
    for each in every:
        if isinstance(each, Experiment):
            task = tasks.load(each.task, each.variant.removesuffix(tasks.NOTES) or None)
            model, preset = split_preset(each.model)
            assert preset in load_class(model).PRESETS
            known = {field.name for field in (*fields(Settings), *fields(load_class(model).Config))}
            assert each.settings.keys() <= known
            assert all(task.check_length(length) for at in each.at for length in at.lengths)
            assert all(at.problems or at.worst_cases for at in each.at)
            assert task.check_length(each.train_length)
            assert each.part is None or each.part in task.parts


@pytest.mark.parametrize(("name", "budget"), CASES)
def test_nothing_is_trained_twice(name, budget):
    lines = {}
    for each in declared(name, budget):
        measured = {"lengths": "", "worst_cases": ""} if isinstance(each, Experiment) else {}
        lines.setdefault(repr({**each.plan, **measured}), set()).add((each.panel, each.line))
    assert all(len(same) == 1 for same in lines.values())  # pieces of a line share its training


@pytest.mark.parametrize(("name", "budget"), [case for case in CASES if studies.load(case[0]).results])
def test_a_view_shows_experiments_of_what_it_views(name, budget):
    viewed = {each.name: each.plan for each in declared(studies.load(name).results, budget)}
    assert all(viewed[each.name] == each.plan for each in declared(name, budget))


def test_both_ways_to_write_the_first_variant_are_one_plan():
    named = next(each for each in declared("figure6") if each.task == "addition")
    assert named.variant == ""
    assert replace(named, variant="local").plan == named.plan


def smallest(experiment):
    """Return the experiment, reduced to two steps on the shortest problems."""
    length = tasks.load(experiment.task, experiment.variant).defaults.check[0]
    settings = {"steps": 2, "batch_size": 2, "seq_len": 32, "train_length": length}
    at = At(length, 1, mode=experiment.at[0].mode), At(length + 1, 1, mode=experiment.at[0].mode)
    return replace(experiment, settings=settings, at=at)


SMOKE = {"figure8": "a part of a mixture", "chomsky": "free running", "theory-bound": "no tool"}


@pytest.mark.parametrize("name", SMOKE)
def test_smoke(name, tmp_path):
    """Do one experiment of each kind: the last one that a study declares."""
    experiment = smallest(declared(name)[-1])
    outcome = measure(experiment, 0, "cpu", lambda line: None, tmp_path)
    assert [(row.samples, row.mode) for row in rows_of(outcome)] == [(1, experiment.at[0].mode)] * 2
    assert training_of(outcome).step == 2
    assert training_of(outcome).cpu_seconds > 0


@pytest.mark.slow
def test_smoke_of_a_certified_training(tmp_path):
    """A training on single bits, which is certified in its second attempt; what was done is not done again."""
    given = {"d_model": 16, "head_dim": 16, "min_margin": 0.0, "decay_at_error": 1.0, "validate_every": 50}
    given |= {"batch_size": 4, "seq_len": 64, "train_length": 1}
    experiment = next(each for each in declared("certified") if each.line == "reverse")
    experiment = replace(experiment, settings={**experiment.settings, **given}, at=(At(1, 1), At(5, 1)))
    outcome = measure(experiment, 0, "cpu", lambda line: None, tmp_path)
    attempts = attempts_of(outcome)
    assert [each.step for each in attempts] == sorted({each.step for each in attempts})
    assert attempts[0].step == 0
    assert attempts[0].real_errors > 0
    assert attempts[-1].open == 0
    assert attempts[-1].certified == outcome["certified"] > 0
    assert outcome["checked"]
    assert attempts[-2].held_out is not None
    assert outcome["looks_back"] is not None
    again = measure(experiment, 0, "cpu", lambda line: None, tmp_path)
    assert again["attempts"] == outcome["attempts"]
    assert again["training"] == outcome["training"]


def test_smoke_of_a_check():
    check = LocalityCheck(task="reverse", problems=10, tokens_at=5)
    found = measure(check, 0, "cpu", lambda line: None)["check"]
    assert (found["local"], found["covered"], found["notes"]) == (True, True, 0)
    assert found["tokens"] > 20


def test_a_program_that_no_notes_make_local_is_a_result():
    naive = LocalityCheck(task=f"{NAIVE}:Majority", variant="default+notes", problems=2)
    assert "no notes for the default program" in measure(naive, 0, "cpu", lambda line: None)["refused"]
    with pytest.raises(ValueError, match="unknown variant"):
        measure(replace(naive, variant="defualt"), 0, "cpu", lambda line: None)

"""Tests of the results file: it stores runs by plan and seed, and refuses runs with other settings."""

import json
from dataclasses import replace

import pytest

from tallystick.studies.framework.cells import cells
from tallystick.studies.framework.experiment import At, digest
from tallystick.studies.framework.measure import measure
from tallystick.studies.framework.reproduce import describe
from tallystick.studies.framework.results import Results, stored
from tallystick.studies.framework.schema import rows_of


def again():
    return Results("toy", "small")


def test_a_run_is_kept_by_plan_and_seed(results, two, made):
    first, second = two
    results.add(first, 1, made.where, made.trained(made.row(3, 5)))
    kept = again()
    assert (kept.has(first, 1), kept.has(first, 0), kept.has(second, 1)) == (True, False, False)
    assert kept.has(replace(first, panel="elsewhere", line="by another name"), 1)
    (run,) = kept.of(first)
    assert (run["plan"], run["seed"]) == (digest(first.plan), 1)
    assert kept.plans[run["plan"]] == {"name": "reverse: lookup", "plan": first.plan}
    assert kept.environments[run["environment"]] == made.where


def test_two_processes_write_one_file(results, two, made):
    first, second = two
    other = again()
    results.add(first, 0, made.where, made.trained())
    other.add(second, 0, made.where | {"machine": "another"}, made.trained())
    results.add(first, 1, made.where, made.trained())
    assert [(run["seed"], run["environment"]) for run in again().runs] == [(0, 0), (0, 1), (1, 0)]
    assert len(again().plans) == 2


def test_other_settings_are_refused_with_the_difference(results, two, made):
    results.add(two[1], 0, made.where, made.trained())
    changed = replace(two[1], settings={**two[1].settings, "steps": 3, "lr": 0.1})
    with pytest.raises(
        ValueError, match="mamba2:tiny was measured with other settings: steps was 2, is 3; lr was .* is 0.1"
    ):
        again().refuse_changed([changed])
    elsewhere = replace(two[1], at=(At(4, 5),))
    with pytest.raises(ValueError, match="lengths was 3 x 5, 9 x 5, is 4 x 5; worst_cases was 3, is . Move"):
        again().refuse_changed([elsewhere])
    again().refuse_changed(two)


def test_other_defaults_are_refused(results, two, made, monkeypatch):
    """Otherwise a table would claim that old results were trained with today's settings."""
    from tallystick.studies.framework import experiment
    from tallystick.tasks.reverse import Reverse

    plain = replace(two[0], settings={})
    results.add(plain, 0, made.where, made.trained())
    experiment._resolved.cache_clear()
    monkeypatch.setattr(Reverse, "defaults", replace(Reverse.defaults, train_length=11))
    with pytest.raises(ValueError, match="other settings: train_length was 10, is 11. Move"):
        again().refuse_changed([plain])
    experiment._resolved.cache_clear()


def test_a_run_without_a_field_that_was_declared_later_is_shown_until_it_is_measured_again(results, two, made):
    before, later = replace(two[0], at=(At(3, 5),)), replace(two[0], added=("worst_cases",))
    old = {key: value for key, value in before.plan.items() if key != "worst_cases"} | {"lengths": "3 x 5, 9 x 5"}
    results.plans[digest(old)] = {"name": later.name, "plan": old}
    results.runs.append({"plan": digest(old), "seed": 0, "environment": 0, **made.trained(made.row(3, 4))})
    results.environments.append(made.where)
    results.refuse_changed([later])
    assert [run["seed"] for run in results.of(later)] == [0]
    assert not results.has(later, 0), "it is shown until it is measured again"
    assert results.of(two[0]) == []
    with pytest.raises(ValueError, match="worst_cases was not set, is 3"):
        results.refuse_changed([two[0]])
    results.path.parent.mkdir()
    results.path.write_text(results.text())
    results.add(later, 0, made.where, made.trained(made.row(3, 5)))  # done anew: this one is shown
    assert [row.exact for run in again().of(later) for row in rows_of(run)] == [5]
    assert again().has(later, 0)


def test_what_another_study_has_done_is_taken_from_there(results, two, made):
    first, second = two
    other = Results("another", "small")
    other.add(
        replace(first, line="as it is called there"), 0, made.where | {"machine": "its"}, made.trained(made.row(3, 4))
    )
    other.add(replace(second, at=(At(3, 5),)), 0, made.where, made.trained())  # measured elsewhere: another plan
    other.add(second, 1, made.where, made.trained())
    results.adopt([(first, 0), (first, 1), (second, 0)])
    (run,) = again().runs
    assert (run["plan"], run["seed"], run["rows"]) == (digest(first.plan), 0, [made.row(3, 4)])
    assert again().environments[run["environment"]]["machine"] == "its"
    assert again().plans[run["plan"]]["name"] == "reverse: lookup"


def test_what_is_not_declared_any_more_is_named(results, two, made):
    results.add(two[0], 0, made.where, made.trained())
    assert results.undeclared(two) == []
    assert results.undeclared(two[1:]) == ["reverse: lookup"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("runs", 5),
        ("runs", [{}]),
        ("runs", [{"plan": "gone", "seed": 0, "environment": 0}]),
        ("environments", []),
        ("plans", {"a": 1}),
    ],
)
def test_an_edited_file_is_refused(results, two, made, key, value):
    results.add(two[0], 0, made.where, made.trained())
    results.path.write_text(json.dumps(json.loads(results.path.read_text()) | {key: value}))
    with pytest.raises(ValueError, match="is damaged: .*; move it away to begin anew"):
        again()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 1, "plans": {}, "environments": [], "runs": []}'])
def test_a_foreign_file_is_refused(results, text):
    results.path.parent.mkdir()
    results.path.write_text(text)
    with pytest.raises(ValueError, match="move it away"):
        again()


def test_only_numbers_that_json_has(results, two, made):
    with pytest.raises(ValueError, match="JSON"):
        results.add(two[0], 0, made.where, made.trained(made.row(3, 5, min_margin=float("nan"))))
    assert not results.path.exists()


def test_every_results_file_of_a_budget(results, two, made):
    results.add(two[0], 0, made.where, made.trained())
    Results("other", "paper").add(two[0], 0, made.where, made.trained())
    assert [each.name for each in stored("small")] == ["toy"]


def test_several_lengths_share_a_row(tmp_path, two):
    """The shared row has for each length the values of a separate row."""
    apart, shared = (
        (At(3, 5), At(6, 5), At(9, 5), At(9, 0, worst_cases=True)),
        (At(9, 5, worst_cases=True, below=(3, 6)),),
    )
    one, other = (measure(replace(two[1], at=at), 0, "cpu", lambda line: None, tmp_path) for at in (apart, shared))
    assert (len(one["rows"]), len(other["rows"])) == (4, 2)
    assert other["rows"][0][0] == [3, 6, 9]
    assert json.loads(json.dumps(other)) == other
    pooled = {"min_margin": None}  # one number for all lengths
    found, expected = (
        {place: replace(cell, **pooled) for place, cell in cells([outcome]).items()} for outcome in (other, one)
    )
    assert {place: cell for place, cell in found.items() if place in expected} == expected
    assert {place.length for place in found if place.worst_cases} == {3, 6, 9}
    assert "exact at 3-9: 0/15, 3-9 worst cases: 0/" in describe(other)


def test_one_set_of_problems_for_all_seeds(tmp_path, two):
    """Problems of a fixed seed are those of that seed, whatever the seed of training."""
    fixed, own = (replace(two[1], problem_seed=seed, at=(At(9, 3),)) for seed in (0, None))
    assert (fixed.plan["problem_seed"], own.plan["problem_seed"]) == ("0", None)
    margins = {
        (each.problem_seed, seed): rows_of(measure(each, seed, "cpu", lambda line: None, tmp_path))[0].min_margin
        for each in (fixed, own)
        for seed in (0, 1)
    }
    assert margins[0, 0] == margins[None, 0]
    assert margins[0, 1] != margins[None, 1]

"""Every recipe: its jobs can be done, and one of them is, in two steps."""

from collections import Counter
from dataclasses import fields, replace
from functools import cache

import pytest

from tallystick import studies, tasks
from tallystick.config import Settings
from tallystick.models import load_class, split_preset
from tallystick.studies.base import BUDGETS, At, Check, Run
from tallystick.studies.measure import COLUMNS, measure

CASES = [(name, budget) for name in studies.RECIPES for budget in BUDGETS]


@cache
def jobs(name, budget="small"):
    return list(studies.load(name).jobs(budget))


@pytest.mark.parametrize(("name", "budget"), CASES)
def test_jobs_can_be_done(name, budget):
    every = jobs(name, budget)
    assert every
    assert [n for n, count in Counter(job.name for job in every).items() if count > 1] == []
    for job in every:
        if isinstance(job, Run):
            task, (model, preset) = tasks.load(job.task, job.variant or None), split_preset(job.model)
            assert preset in load_class(model).PRESETS
            assert job.settings.keys() <= {
                field.name for field in (*fields(Settings), *fields(load_class(model).Config))
            }
            assert [task.check_length(at.length) for at in job.lengths] == sorted(at.length for at in job.lengths)
            assert all(at.problems or at.worst_cases for at in job.lengths)
            assert task.check_length(job.train_length)
            assert job.part is None or job.part in task.parts


@pytest.mark.parametrize(("name", "budget"), CASES)
def test_nothing_is_trained_twice(name, budget):
    lines = {}
    for job in jobs(name, budget):
        lines.setdefault(repr({**job.plan, "lengths": ""}), set()).add((job.panel, job.line))
    assert all(len(same) == 1 for same in lines.values())  # pieces of a line share its training


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where all smoke runs lie: what is trained alike is trained once."""
    return tmp_path_factory.mktemp("recipes")


def smallest(job):
    """The job, cut to two steps on the shortest problems."""
    task = tasks.load(job.task, job.variant or None)
    length = task.defaults.check[0]
    if isinstance(job, Check):
        return replace(job, problems=2)
    settings = {"steps": 2, "batch_size": 2, "seq_len": 32, "train_length": length}
    return replace(job, settings=settings, lengths=(At(length, 1), At(length + 1, 1)))


@pytest.mark.parametrize("name", studies.RECIPES)
def test_smoke(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    runs = [job for job in jobs(name) if isinstance(job, Run) and job.model != "lookup"]
    for job in runs[:1]:
        outcome = measure(smallest(job), 0, "cpu")
        assert [dict(zip(COLUMNS, row, strict=True))["samples"] for row in outcome["rows"]] == [1, 1]
        assert outcome["train"][0] == 2


def test_smoke_of_a_check(folder, monkeypatch):
    monkeypatch.chdir(folder)
    job = next(job for job in jobs("locality") if isinstance(job, Check) and job.task == "reverse")
    assert measure(smallest(job), 0, "cpu")["check"]["local"] is True

"""The tables of bench/: what they are made of exists, and their rows say what was measured."""

import importlib
import json
from pathlib import Path

import pytest

from tallystick import models, tasks

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch):
    """Imports a script of bench/ as it is run: with its own folder on the path."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


def row(length, exact, worst_cases=False, mode="verify"):
    return {
        "length": length,
        "worst_cases": worst_cases,
        "mode": mode,
        "samples": 50,
        "exact": exact,
        "min_margin": 4.5,
    }


def run(seed, rows, **more):
    return {"seed": seed, "train_cpu_seconds": 10.0 + seed, "rows": rows, **more}


def test_targets_can_be_trained_and_measured(bench):
    for target in bench("targets").TARGETS:
        task = tasks.load(target.task)
        models.split_preset(target.of[1])
        assert all(task.check_length(length) for measure in target.measures for length in measure.lengths)


def test_no_target_stands_twice(bench):
    names = [target.of for target in bench("targets").TARGETS]
    assert len(set(names)) == len(names)


def test_a_row_of_the_targets(bench):
    named = {"task": "sort", "model": "mamba2:tiny", "train_length": 10}
    runs = [run(seed, [row(300, 50 - seed), row(300, 50, worst_cases=True)], **named) for seed in (1, 0)]
    (line,) = bench("targets").table(runs).splitlines()[2:]
    assert line == "| sort | mamba2:tiny | <= 10 | 0, 1 | 10-11 | 300 | 99/100 (49-50 a seed) | 100/100 | 4.5 |"


def test_results_of_two_processes_are_both_kept(bench, tmp_path):
    measure = bench("measure")
    one, two = (measure.Results(tmp_path / "made" / "x", lambda runs: f"{len(runs)} runs\n") for _ in range(2))
    one.add(run(0, []))
    two.add(run(1, []))
    stored = json.loads((tmp_path / "made" / "x.json").read_text())
    assert [each["seed"] for each in stored["runs"]] == [0, 1]
    assert (tmp_path / "made" / "x.md").read_text() == "2 runs\n"


def test_the_tables_are_those_of_the_results(bench):
    measure = bench("measure")
    for name in ("headline", "targets"):
        results = measure.Results(measure.RESULTS / name, bench(name).table)
        assert not results.runs or results.table() == results.path.with_suffix(".md").read_text()

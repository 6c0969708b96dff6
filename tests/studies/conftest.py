"""Fixtures of runs as a results file keeps them, made by hand."""

from __future__ import annotations

import pytest

from tallystick.studies.framework.experiment import At, Experiment
from tallystick.studies.framework.results import Results
from tallystick.studies.framework.schema import COLUMNS, TRAINING_COLUMNS

WHERE = {
    "python": "3", "versions": {"torch": "2"}, "machine": "m", "processors": 2, "gpu": None, "device": "cpu",
    "commit": "abcdefghij", "dirty": False, "command": "a command", "date": "a day",
}  # fmt: skip
MEASURED = {"model_tokens": 1000, "low_margin_tokens": 0, "min_margin": 5.0, "train_overlap": 0.0, "seconds": 0.1,
            "state_bytes": 64}  # fmt: skip


def row(length, exact, samples=10, *, worst_cases=False, mode="verify", **more):
    """Return a row of the file."""
    given = {"length": length, "worst_cases": worst_cases, "mode": mode, "samples": samples, "exact": exact}
    values = MEASURED | given | more
    return [values.get(name) for name in COLUMNS]


def trained(*rows, **more):
    """Return an outcome of an experiment."""
    values = {"step": 2, "tokens": 64, "seconds": 0.1, "passed": True, **more}
    return {"training": [values.get(name) for name in TRAINING_COLUMNS], "rows": list(rows)}


def in_table(text):
    """Return a Markdown table's cells by the first cell of their row."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in lines}


@pytest.fixture
def made():
    """Return functions that make rows, outcomes and environments of a results file, and read tables."""
    return type("Made", (), {"row": row, "trained": trained, "in_table": in_table, "where": WHERE})


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Return an empty results file in a temporary folder."""
    monkeypatch.chdir(tmp_path)
    return Results("toy", "small")


@pytest.fixture
def two():
    """Return lookup and a model of two steps, on a fast task."""
    quick = {"steps": 2, "batch_size": 2, "seq_len": 32, "train_length": 3}
    at = (At(3, 5, worst_cases=True), At(9, 5))
    return (
        Experiment(task="reverse", model="lookup", at=at, settings={"examples": 50, "train_length": 3}),
        Experiment(task="reverse", model="mamba2:tiny", at=at, settings=quick, paper=(9, 50)),
    )

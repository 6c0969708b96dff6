"""A recipe from its jobs to its files: done side by side, resumed, refused, and what is missing shown as missing."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import pytest

from tallystick.evaluation.statistics import wilson
from tallystick.studies import chomsky, far, locality
from tallystick.studies.base import At, Recipe, Run, _resolved
from tallystick.studies.cells import Cell, cells, together
from tallystick.studies.locality import draw, table
from tallystick.studies.measure import measure
from tallystick.studies.reproduce import _Worker, reproduce
from tallystick.studies.results import Results
from tallystick.studies.show import footing, line, markdown
from tallystick.tasks.reverse import Reverse

WHERE = {"processors": 2, "machine": "x", "gpu": None, "commit": None, "dirty": False, "versions": {"torch": "2"},
         "command": "c", "date": "d"}  # fmt: skip
QUICK = {"steps": 2, "batch_size": 2, "seq_len": 32, "train_length": 3}
RUNS = (
    Run(task="reverse", model="lookup", lengths=(At(3, 5, worst_cases=True), At(9, 5)), settings={"examples": 50}),
    Run(task="reverse", model="mamba2:tiny", lengths=(At(3, 5), At(9, 5)), settings=QUICK, paper=(9, 50)),
)


def recipe(*runs):
    return Recipe(title="A title", about="What about it.", jobs=lambda budget: runs, seeds=(0, 1))


def rows(text):
    """A Markdown table's cells by the first cell of its row."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in lines}


def test_the_whole_way(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    wrong = replace(RUNS[0], line="wrong", part="sums")
    failures = reproduce(recipe(*RUNS, wrong), Results("toy", "small"), ["lookup"], [0], side_by_side=2)
    assert failures == ["reverse: wrong, seed 0: reverse has no part 'sums': it is no mixture"]
    results = Results("toy", "small")
    assert [(run["name"], run["seed"]) for run in results.runs] == [("reverse: lookup", 0)]
    assert all(results.place(kind).stat().st_size > 1000 for kind in ("png", "svg"))
    shown = rows(results.place("md").read_text())
    assert shown["lookup"][0] == "0"
    assert shown["lookup"][1].endswith("[57-100]")
    assert shown["mamba2:tiny"] == ["-"] * 6 + ["9 (50 %)"]
    assert shown["wrong"][0] == "-"
    where = results.environments[0]
    assert {"commit", "versions", "machine", "gpu", "command"} <= where.keys()

    capfd.readouterr()
    assert reproduce(recipe(*RUNS), results, None, [0]) == []
    assert capfd.readouterr().err.startswith("[1/1] reverse: mamba2:tiny, seed 0: 2 steps")
    assert [run["seed"] for run in Results("toy", "small").runs] == [0, 0]
    assert "A title" in results.place("md").read_text()
    assert where["command"] in footing(results)
    assert reproduce(recipe(*RUNS), results, None, [0]) == []
    assert capfd.readouterr().err == "nothing is missing\n"
    results.environments.append({**where, "command": "one of which no run is left"})
    assert "no run is left" not in footing(results)


DIES = """
import multiprocessing, os
from tallystick.tasks.reverse import Reverse

class Dies(Reverse):
    def sample(self, length, rng):
        if multiprocessing.parent_process():
            os._exit(1)
        return super().sample(length, rng)
"""


def test_a_worker_does_job_after_job_and_one_that_dies_is_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dies.py").write_text(DIES)
    (first, *_), dies = RUNS, replace(RUNS[0], task="dies.py:Dies", line="dies")
    results = Results("toy", "small")
    failures = reproduce(
        recipe(first, replace(first, line="second"), dies, replace(first, line="third")), results, None, [0]
    )
    assert failures == ["reverse: dies, seed 0: its process died (out of memory?)"]
    assert [run["name"] for run in results.runs] == [f"reverse: {line}" for line in ("lookup", "second", "third")]


def test_a_worker_that_died_idle_is_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    worker = _Worker("cpu", None)
    try:
        worker.process.kill()
        worker.process.join()
        worker.begin((RUNS[0], 0))
        _, outcome = worker.outcome()
    finally:
        worker.process.terminate()
    assert len(outcome["rows"]) == 3


PARENT = """
import time
from tallystick.studies.base import At, Run
from tallystick.studies.reproduce import _Worker

if __name__ == "__main__":
    worker = _Worker("cpu", None)
    worker.begin((Run(task="reverse", model="mamba2:tiny", lengths=(At(3, 5),), settings={"min_margin": 99}), 0))
    print("begun", flush=True)
    time.sleep(60)
"""


def test_a_worker_ends_with_its_parent(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, "parent.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"begun\n"
            parent.kill()
            parent.communicate(timeout=20)  # until the worker, which has it, too, has closed the pipe
        finally:
            with suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)


def test_other_settings_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = Results("toy", "small")
    results.add(RUNS[1], 0, {}, {"train": [2, 64, 0.1, False], "rows": []})
    before = results.place("json").read_text()
    changed = replace(RUNS[1], settings={**QUICK, "steps": 3, "lr": 0.1}, lengths=RUNS[1].lengths)
    with pytest.raises(
        ValueError, match="reverse: mamba2:tiny was done with other settings: steps was 2, is 3; lr was"
    ):
        reproduce(recipe(changed), Results("toy", "small"))
    assert results.place("json").read_text() == before
    with pytest.raises(ValueError, match="no model 'mamba3'; it has: lookup, mamba2, mamba2:tiny"):
        reproduce(recipe(*RUNS), results, ["mamba3"])
    with pytest.raises(ValueError, match="length 0: reverse has lengths 1 to"):
        reproduce(recipe(replace(RUNS[0], lengths=(At(0),))), Results("other", "small"))


def test_other_defaults_are_refused(tmp_path, monkeypatch):
    """Else a table would say of old results that they were trained as one trains now."""
    monkeypatch.chdir(tmp_path)
    results = Results("toy", "small")
    results.add(RUNS[0], 0, {}, {"train": [1, 64, 0.1, True], "rows": []})
    _resolved.cache_clear()
    monkeypatch.setattr(Reverse, "defaults", replace(Reverse.defaults, train_length=11))
    with pytest.raises(ValueError, match="other settings: train_length was 10, is 11. Move"):
        reproduce(recipe(RUNS[0]), Results("toy", "small"))
    _resolved.cache_clear()


def test_what_is_not_learned_says_nothing_of_a_prediction():
    """Not even of one that it fails."""
    whole, not_whole = Cell([100], 10, 10, 9, [100]), Cell([90], 9, 10, 9, [90])
    verdicts = [locality._verdict("fails", near, not_whole) for near in (whole, not_whole)]
    assert verdicts == [locality.AGREES, locality.NOT_LEARNED]


@pytest.mark.parametrize("text", ["{", "{}", '{"format": 1, "recipe": "other"}'])
def test_a_foreign_file_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "toy-small.json").write_text(text)
    with pytest.raises(ValueError, match="move it away"):
        Results("toy", "small")


def test_an_unknown_budget():
    with pytest.raises(ValueError, match="--budget large: there are small and paper"):
        Results("toy", "large")


def add(results, job, seed, *exact):
    """A run that was exact on so many of ten problems at each length."""
    lengths = zip(job.lengths, exact, strict=True)
    found = [[at.length, False, 10, n, 1000, 0, 5.0, 0.0, 0.1, 64, None] for at, n in lengths]
    results.add(job, seed, {"gpu": None, "processors": 2, "machine": "m", "commit": "c", "dirty": False,
                            "versions": {"torch": "2"}, "command": "x", "date": "d"},
                {"train": [2, 64, 0.1, True], "rows": found})  # fmt: skip


def test_all_seeds_are_shown(tmp_path, monkeypatch):
    """Median and range, never the best alone."""
    monkeypatch.chdir(tmp_path)
    results, job = Results("toy", "small"), RUNS[1]
    for seed, exact in enumerate((10, 4, 0)):
        add(results, job, seed, 10, exact)
    low, high = wilson(14, 30)
    shown = rows(markdown([job], results))["mamba2:tiny"]
    assert shown[:3] == ["0-2", "100 [89-100]", f"40 (0-100) [{100 * low:.0f}-{100 * high:.0f}]"]
    assert shown[3:] == ["8e-03", "9 (40 %)", "9 (50 %)"]
    assert cells(results.of(job))[9, False].percents == [100, 40, 0]
    assert json.loads(results.place("json").read_text())["runs"][0]["seed"] == 0


def test_locality_lists_exceptions_first(tmp_path, monkeypatch):
    """Local and covered: one model is exact, one fails beyond, and one has not even learned the training length."""
    monkeypatch.chdir(tmp_path)
    every, results = locality.jobs("small"), Results("toy", "small")
    check, *runs = [job for job in every if job.panel == "reverse default"]
    results.add(check, 0, {}, {"check": {"local": True, "covered": True, "rows": [[5, 3, 3, 9, 0, 1.0]]}})
    for job, exact in zip(runs, ((10, 10), (10, 9), (9, 0)), strict=False):
        add(results, job, 0, *exact)
    text = table(every, results)
    parts = text.split("## ")
    assert parts[0].startswith("1 rows agree, 1 differ, 1 were not learned, 0 have no prediction")
    assert rows(parts[1])["reverse default"][:4] == ["mamba2:tiny", "3", "100", "exact"]
    assert rows(parts[2])["reverse default"][0] == "lstm:tiny"
    assert rows(parts[3])["reverse default"][0] == "lookup"
    draw(locality.RECIPE, [], results)
    assert "mamba2:tiny" in results.place("svg").read_text()


def test_two_processes_write_one_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = {"train": [2, 64, 0.1, False], "rows": []}
    one, other = Results("toy", "small"), Results("toy", "small")
    one.add(RUNS[0], 0, {"machine": "a"}, outcome)
    other.add(RUNS[1], 0, {"machine": "b"}, outcome)
    one.add(RUNS[0], 1, {"machine": "a"}, outcome)
    kept = Results("toy", "small")
    assert [(run["name"], run["seed"], run["environment"]) for run in kept.runs] == [
        ("reverse: lookup", 0, 0),
        ("reverse: mamba2:tiny", 0, 1),
        ("reverse: lookup", 1, 0),
    ]
    assert kept.plans.keys() == {"reverse: lookup", "reverse: mamba2:tiny"}


def test_what_another_recipe_has_done_is_taken_from_there(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    outcome = {"train": [2, 64, 0.1, False], "rows": [[3, False, 5, 4, 90, 0, 1.0, 0.0, 1.0, 64, None]]}
    other = Results("figure6", "small")
    other.add(replace(RUNS[1], line="as it is called there"), 0, {**WHERE, "machine": "another"}, outcome)
    other.add(replace(RUNS[0], settings={"examples": 51}), 0, WHERE, outcome)
    results = Results("figure2", "small")
    assert reproduce(recipe(*RUNS), results, None, [0]) == []
    assert capfd.readouterr().err.startswith("[1/1] reverse: lookup, seed 0")
    taken, made = sorted(results.runs, key=lambda run: run["name"] == "reverse: lookup")
    assert (taken["name"], taken["rows"]) == (RUNS[1].name, outcome["rows"])
    assert results.environments[taken["environment"]]["machine"] == "another"
    assert made["rows"] != outcome["rows"]


def test_of_another_recipes_lengths_those_wanted_are_taken(tmp_path, monkeypatch):
    """If all are there, with enough problems; the first variant is the one that is not named."""
    monkeypatch.chdir(tmp_path)
    rest = [4, 90, 0, 1.0, 0.0, 1.0, 64, None]
    found = [[3, False, 5, *rest], [[6, 12], False, 5, *rest], [9, True, 4, *rest], [9, False, 5, *rest]]
    other = Results("figure6", "small")
    there = replace(RUNS[1], lengths=(At(3, 5), At(12, 5, below=(6,)), At(9, 5, worst_cases=True)))
    other.add(there, 0, WHERE, {"train": [2, 64, 0.1, False], "rows": found})
    wanted = {
        "alike": (replace(RUNS[1], variant="default", lengths=(At(3, 4), At(9, 0, worst_cases=True))), True),
        "more problems": (replace(RUNS[1], lengths=(At(3, 6),)), False),
        "pooled with others there": (replace(RUNS[1], lengths=(At(6, 5),)), False),
        "another length": (replace(RUNS[1], lengths=(At(3, 5), At(4, 5))), False),
        "no worst cases there": (replace(RUNS[1], lengths=(At(3, 5, worst_cases=True),)), False),
    }
    results = Results("figure2", "small")
    jobs = {name: replace(job, line=name) for name, (job, _) in wanted.items()}
    results.borrow([(job, 0) for job in jobs.values()])
    for name, (_, taken) in wanted.items():
        expected = [] if not taken else [[[3, False, 5, *rest], [9, True, 4, *rest]]]
        assert [run["rows"] for run in results.of(jobs[name])] == expected, name


def test_several_lengths_share_a_row(tmp_path, monkeypatch):
    """It says of each length what a row of its own says."""
    monkeypatch.chdir(tmp_path)
    apart, shared = (
        (At(3, 5), At(6, 5), At(9, 5), At(9, 0, worst_cases=True)),
        (At(9, 5, worst_cases=True, below=(3, 6)),),
    )
    one, other = (measure(replace(RUNS[1], lengths=lengths), 0, "cpu") for lengths in (apart, shared))
    assert (len(one["rows"]), len(other["rows"])) == (4, 2)
    assert other["rows"][0][:3] == [[3, 6, 9], False, 5]
    found, expected = cells([other]), cells([one])
    assert {place: cell for place, cell in found.items() if place in expected} == expected
    assert set(found) == {*expected, (3, True), (6, True)}
    assert line(RUNS[1], other).endswith("3-9: 0/15, 3-9 worst cases: 0/9")


def test_lengths_together():
    cell = together([Cell([100, 50], 6, 8, 90, [100, 75]), Cell([0, 50], 2, 8, 60, [25, 75])])
    assert cell == ([50, 50], 8, 16, 150, [62.5, 75])


def test_the_chomsky_table(tmp_path, monkeypatch):
    """One wrong problem is not 100 %, its score is what is known, and without a tool it is what was measured."""
    monkeypatch.chdir(tmp_path)
    every, results = chomsky.jobs("paper"), Results("toy", "paper")
    parity = {job.line: job for job in every if job.panel == "parity-check"}
    exact, lengths = [32] * 23 + [31], list(chomsky.LENGTHS)
    rest = [0, 5.0, 0.0, 9.0, 64]
    for seed, near in enumerate((exact, 32, 32)):
        found = [[lengths, False, 32, near, 100, *rest, None], [500, True, 6, 6, 100, *rest, 1.0],
                 [10_000, False, 4, 4, 100, *rest, 1.0]]  # fmt: skip
        results.add(parity["mamba2:tiny"], seed, {}, {"train": [150, 9, 9.0, True], "rows": found})
    direct = {"train": [2000, 9, 9.0, False], "rows": [[lengths, False, 32, 0, 100, *rest, [0.5, *[0.25] * 23]]]}
    results.add(parity["mamba2:tiny without a tool"], 0, {}, direct)
    text = chomsky.table(every, results)
    assert "in 0 of 1 tasks that are measured (seeds: 3)" in text
    ours, others, beyond = (part for part in text.split("| task |")[1:])
    assert rows(ours)["parity-check"] == [
        *("regular", "2,303/2,304 [99.7-99.9]", "95/96 [94.3-99.8]", "18/18 [82.4-100]", "12/12 [75.7-100]"),
        *("99.9 (99.8-100)", "0/768 [0-0.4]", "26", "100"),
    ]
    assert beyond.startswith(" mamba2:tiny |\n")  # nothing else was measured there
    assert rows(beyond)["parity-check"] == ["12/12 [75.7-100]"]
    assert rows(ours)["bucket-sort"] == ["context-sensitive", *["-"] * 7, "not checked"]
    assert rows(others)["parity-check"] == ["-", "99.9 (99.8-100)", "-", "-", "0"]


def test_the_farthest_of_most_seeds_and_of_any(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    every, results = far.jobs("paper"), Results("toy", "paper")
    lengths = {100_000: (0, 1), 1_000_000: (0, 1), 10_000_000: (0,)}
    for job in every:
        if job.name.startswith("addition: mamba2"):
            length = job.lengths[0].length
            for seed in lengths.get(length, ()):
                rest = [30 * length, 0, 1.0, 0.0, 1.0, 64, 1.0]
                found = [[length, False, 3, 3, *rest], *([[length, True, 3, 2, *rest]] if length == 1_000_000 else [])]
                results.add(job, seed, WHERE, {"train": [2, 64, 0.1, True], "rows": found})
    lines = [line for line in far.table(every, results).split("\n\n")[0].splitlines() if line.startswith("| addition")]
    assert [line.split(" | ")[3:7] for line in lines] == [
        ["1,000,000", "2", "6/6 + 4/6 worst cases", "10,000,000"],
        ["10,000,000", "1", "3/3", "100,000,000"],
    ]

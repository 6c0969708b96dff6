"""The study `locality`: predictions of `check` for every task and program, compared with trained models.

Worst cases, and how far back models look, were added after runs had been stored. Those runs are shown until they are
measured again, and their rows say that they are based on random problems only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median_low
from typing import NamedTuple

from tallystick import tasks
from tallystick.evaluation.reach import TOLERANCE, WINDOWS
from tallystick.locality.verdict import predict
from tallystick.studies.definitions.common import preset, settings
from tallystick.studies.framework import figure
from tallystick.studies.framework.cells import MISSING, Cell, Place, cells
from tallystick.studies.framework.experiment import At, Declared, Experiment, LocalityCheck
from tallystick.studies.framework.markdown import document, table
from tallystick.studies.framework.results import Results
from tallystick.studies.framework.schema import Check, StoredRun, check_rows_of, rows_of
from tallystick.studies.framework.study import Study
from tallystick.tasks.chomsky import CHOMSKY

MODELS = ("lookup", "mamba2", "lstm", "gru", "mistral", "nope", "pythia")
ONE_SEED = ("nope", "pythia")
"""Models whose state grows: nothing is predicted for them, and they are there for comparison only."""
LEFT_OUT = ("direct",)
"""Variants of the Chomsky hierarchy's tasks that are left out, since the study `chomsky` measures them."""
OPTIONS = ("turing:bb5",)
"""Tasks with options that are measured beside the registry's tasks."""
FAR = {"addition": 1000, "hanoi": 9, "hanoi-recursive": 10}
"""Lengths of measurement beyond training; for other tasks, their third `eval` length beyond it."""
NO_NOTES = ("logic-graph",)
"""Tasks whose paper program cannot be made local by notes: it needs information that grows with the graph, and notes
cannot stand in the answer."""
LATER = ("worst_cases", "looks_back")
"""Fields added to the plan after runs had been stored."""

DIFFERS, RANDOM_ONLY, NOT_LEARNED, AGREES = "differs", "random only", "not learned", "agrees"
NOT_TESTED, UNDECIDED, NOTHING = "worst cases not tested", "undecided", "nothing predicted"
TITLES = {
    DIFFERS: "Prediction and measurement differ",
    RANDOM_ONLY: "They agree on random problems alone: worst cases are not as predicted",
    NOT_LEARNED: "Not exact at the training length: nothing to compare",
    AGREES: "Prediction and measurement agree, worst cases included",
    NOT_TESTED: "They agree on random problems alone: worst cases were not measured",
    UNDECIDED: "check is undecided",
    NOTHING: "Nothing predicted",
}
WORDS = {
    "exact": "exact",
    "fails": "fails",
    "open": "open: copies contents",
    "undecided": "undecided",
    "none": "nothing: its state grows",
}
"""Results of `predict` as the table words them."""


class Measured(NamedTuple):
    """A model's results at one length."""

    random: Cell
    worst: Cell | None
    """None if worst cases were not measured, or there are none."""

    @property
    def is_exact(self) -> bool:
        """Whether all problems are exact, including worst cases."""
        return self.random.is_exact and (self.worst is None or self.worst.is_exact)


class Row(NamedTuple):
    """One model on one program of a task."""

    experiment: Experiment
    check: Check | None = None
    predicted: str = ""
    near: Measured | None = None
    """Results at the training length."""
    far: Measured | None = None
    """Results beyond the training length."""
    looks_back: str = MISSING
    """How far back the model looks: the fewest last tokens that give its predictions, over the seeds."""
    random_alone: bool = False
    """Whether some runs were measured without worst cases."""
    verdict: str = ""
    """Verdict, a key of TITLES; empty if nothing was measured."""


def experiments(budget: str) -> list[Declared]:
    """Declare a check, and an experiment with every model, for each program of each task."""
    named = [*(name for name in tasks.TASKS if not tasks.load(name).text), *OPTIONS]
    return [each for name in named for variant in _variants(name) for each in _of(name, variant)]


def _variants(name: str) -> list[str]:
    """List the task's programs, and the paper's program with notes of its control state."""
    variants = [variant for variant in tasks.load(name).variants if name not in CHOMSKY or variant not in LEFT_OUT]
    noted = "paper" in variants and name not in NO_NOTES
    return [*variants, *(["paper+notes"] if noted else [])]


def _of(name: str, variant: str) -> list[Declared]:
    task, panel = tasks.load(name), f"{name} {variant}"
    trained = task.defaults.train_length
    beyond = [n for n in sorted(task.defaults.eval) if n > trained]
    far = FAR.get(name, [*beyond, 4 * trained][min(2, len(beyond) - 1)])
    at = At(trained, 20, worst_cases=True), At(far, 20, worst_cases=True)
    check = LocalityCheck(task=name, variant=variant, panel=panel)
    return [
        check,
        *(
            Experiment(
                task=name, variant=variant, model=preset(model, "small"), at=at, panel=panel, added=LATER,
                looks_back=True,
                settings=settings(name, model, "small"), seeds=(0,) if model in ONE_SEED else (),
            )
            for model in MODELS
        ),
    ]  # fmt: skip


def rows_by_verdict(declared: Sequence[Declared], results: Results) -> dict[str, list[Row]]:
    """Return the rows by verdict; those that were not measured are under ""."""
    checks = {each.panel: _check(results.of(each)) for each in declared if isinstance(each, LocalityCheck)}
    rows = [_row(each, checks.get(each.panel), results) for each in declared if isinstance(each, Experiment)]
    return {verdict: [row for row in rows if row.verdict == verdict] for verdict in (*TITLES, "")}


def _check(runs: Sequence[StoredRun]) -> Check | None:
    return runs[0].get("check") if runs else None


def _row(experiment: Experiment, check: Check | None, results: Results) -> Row:
    runs = results.of(experiment)
    if check is None or not runs:
        return Row(experiment)
    found = cells(runs)
    near, far = (_measured(found, at) for at in experiment.at)
    random_alone = any("worst_cases" not in results.plans[run["plan"]]["plan"] for run in runs)
    predicted = predict(_described(experiment, runs[0]), check, experiment.at[-1].length)
    verdict = judge(predicted, near, far, random_alone)
    return Row(experiment, check, predicted, near, far, _looks_back(runs), random_alone, verdict)


def _looks_back(runs: Sequence[StoredRun]) -> str:
    """Format how far back the models of several seeds look: median and range."""
    known = [math.inf if run["looks_back"] is None else run["looks_back"] for run in runs if "looks_back" in run]
    if not known:
        return MISSING
    low, middle, high = (_tokens(size) for size in (min(known), median_low(known), max(known)))
    return middle if low == high else f"{middle} ({low}-{high})"


def _tokens(size: float) -> str:
    return f"> {WINDOWS[-1]}" if size == math.inf else str(size)


def _measured(found: Mapping[Place, Cell], at: At) -> Measured:
    return Measured(found[Place(at.length)], found.get(Place(at.length, worst_cases=True)))


def _described(experiment: Experiment, run: StoredRun) -> dict[str, object]:
    """Describe a run for `predict`; its state is fixed if it has the same size within training and beyond."""
    sizes = {row.state_bytes for row in rows_of(run)}
    return {"model": experiment.model, "train_length": experiment.train_length, "fixed_state": len(sizes) == 1}


def judge(predicted: str, near: Measured, far: Measured, random_alone: bool) -> str:
    """Compare a prediction, which is about models that are exact at the training length, with the measurements."""
    if predicted == "undecided":
        return UNDECIDED
    if predicted not in ("exact", "fails"):
        return NOTHING
    if not near.is_exact:
        return NOT_LEARNED
    if far.is_exact == (predicted == "exact"):
        return NOT_TESTED if random_alone else AGREES
    return RANDOM_ONLY if far.random.is_exact and predicted == "exact" else DIFFERS


HEAD = (
    *("task, program", "model", "k", "k of the model", "coverage, %", "predicted", "at the training length", "beyond"),
    "worst cases",
)


def tables(declared: Sequence[Declared], results: Results) -> str:
    """Show a section per verdict, beginning with those where prediction and measurement differ."""
    rows = rows_by_verdict(declared, results)
    titles = {**TITLES, "": "Not measured"}
    parts = [table(["verdict", "rows"], [[title, len(rows[verdict])] for verdict, title in titles.items()]), READ]
    for verdict, title in TITLES.items():
        parts += [f"## {title}", table(HEAD, map(_cells, rows[verdict])) if rows[verdict] else "None."]
    return document(*parts)


READ = (
    "k: at the lengths of `check`; coverage at the last of them. *k of the model*: how many last tokens give a model's "
    f"predictions to within {TOLERANCE:g} in total variation, median over seeds (range); a model that looks further "
    "back than the program reads what decides nothing in training, and may read it otherwise in longer problems. "
    "Measured: % exact of 20 random problems a seed, median over seeds (range) [95 % interval]; seeds 0 to 2, of nope "
    "and pythia 0 alone. *Worst cases*: exact ones of all seeds, at the training length and beyond; *random problems "
    "alone*: worst cases were not measured, since the study measured none when these runs were made."
)


def _cells(row: Row) -> list[str]:
    assert row.check
    assert row.near
    assert row.far
    checked, (near, far) = check_rows_of(row.check), row.experiment.at
    return [
        *(row.experiment.panel, row.experiment.line, ", ".join(str(each.k) for each in checked), row.looks_back),
        *(f"{100 * (checked[-1].coverage or 0):.4g}", WORDS[row.predicted]),
        *(f"{near.length:,}: {row.near.random}", f"{far.length:,}: {row.far.random}", _worst(row)),
    ]


def _worst(row: Row) -> str:
    if row.random_alone:
        return "random problems alone"
    found = [measured.worst for measured in (row.near, row.far) if measured and measured.worst]
    return ", ".join(cell.as_counts for cell in found) or "there are none"


def draw(title: str, declared: Sequence[Declared], results: Results, path: Path) -> None:
    """Draw a grid of the percentages of exact problems beyond training, framed where the prediction differs."""
    rows = rows_by_verdict(declared, results)
    every = [row for mine in rows.values() for row in mine]
    order = {each.name: i for i, each in enumerate(declared)}
    every.sort(key=lambda row: order[row.experiment.name])
    percents = {(row.experiment.panel, row.experiment.line): _percent(row.far) for row in every}
    framed = {(row.experiment.panel, row.experiment.line) for row in rows[DIFFERS] + rows[RANDOM_ONLY]}
    figure.grid("% exact beyond training, all seeds together (framed: not as predicted)", percents, framed, path)


def _percent(measured: Measured | None) -> float:
    """Return the percentage of exact problems over all seeds; a median would hide a single seed that fails."""
    if measured is None:
        return math.nan
    found = [cell for cell in measured if cell]
    return 100 * sum(cell.exact for cell in found) / sum(cell.problems for cell in found)


STUDIES = (
    Study(
        name="locality",
        title="Locality: predicted and measured",
        about="`tallystick check` looks at the trajectories alone. A task is local if the same number k of last tokens "
        "decides every token at all lengths looked at, and covered if all deciding contexts occur at the training "
        "length.",
        experiments=experiments,
        budgets=("small",),
        table=tables,
        figure=draw,
    ),
)

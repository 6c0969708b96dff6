"""The locality study: what `check` predicts of every task and program, against what trained models do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from tallystick import tasks
from tallystick.locality.verdict import predict
from tallystick.studies import figure
from tallystick.studies.base import At, Check, Job, Recipe, Run
from tallystick.studies.cells import Cell, cells
from tallystick.studies.common import preset, settings
from tallystick.studies.measure import CHECK_COLUMNS, COLUMNS
from tallystick.studies.results import Results
from tallystick.tasks.chomsky import CHOMSKY

MODELS = ("lookup", "mamba2", "lstm", "gru", "mistral", "nope", "pythia")
ONE_SEED = ("nope", "pythia")
"""Their state grows, so nothing is predicted of them: they stand there for comparison."""
LEFT_OUT = ("direct",)
"""Variants of the Chomsky hierarchy's tasks: the recipe `chomsky` measures them."""
OPTIONS = ("turing:bb5",)
"""Beside the names of the registry."""
FAR = {"addition": 1000, "hanoi": 9, "hanoi-recursive": 10}
"""Where the measure of what holds beyond training is not the third of the task's eval lengths beyond it."""
NO_NOTES = ("logic-graph",)
"""Whose paper program no notes make local: what it asks for grows with the graph, and none can stand in the answer."""
DIFFERS, NOT_LEARNED, AGREES, OPEN = "differs", "not learned", "agrees", "open"


class Row(NamedTuple):
    """One model on one task's program."""

    run: Run
    check: dict[str, Any] | None = None
    predicted: str = ""
    near: Cell | None = None
    far: Cell | None = None
    verdict: str = ""
    """Empty where it is not measured."""


def jobs(budget: str) -> list[Job]:
    """A check and a run of every model for each program of each task."""
    named = [*tasks.TASKS, *OPTIONS]
    return [job for name in named for variant in _variants(name) for job in _of(name, variant, budget)]


def _variants(name: str) -> list[str]:
    """The task's own, and the paper's with notes of where the program is."""
    variants = [variant for variant in tasks.load(name).variants if name not in CHOMSKY or variant not in LEFT_OUT]
    noted = "paper" in variants and name not in NO_NOTES
    return [*variants, *(["paper+notes"] if noted else [])]


def _of(name: str, variant: str, budget: str) -> list[Job]:
    task, panel = tasks.load(name), f"{name} {variant}"
    trained = task.defaults.train_length
    beyond = [n for n in sorted(task.defaults.eval) if n > trained]
    lengths = At(trained, 20), At(FAR.get(name, [*beyond, 4 * trained][min(2, len(beyond) - 1)]), 20)
    check = Check(task=name, variant=variant, panel=panel)
    runs = [
        Run(task=name, variant=variant, model=preset(model, "small"), lengths=lengths, panel=panel,
            settings=settings(name, model, "small"), seeds=(0,) if model in ONE_SEED else ())
        for model in MODELS
    ]  # fmt: skip
    return [check, *runs]


def table(every: Sequence[Job], results: Results) -> str:
    """Markdown: rows where prediction and measurement differ first."""
    rows = _rows(every, results)
    lines = [_counts(rows), ""]
    for verdict, title in TITLES.items():
        mine = [_line(row) for row in rows if row.verdict == verdict]
        lines += [f"## {title}", "", *([HEAD, *mine] if mine else ["None."]), ""]
    return "\n".join(lines)


def draw(recipe: Recipe, runs: list[Run], results: Results) -> None:
    """A grid of what is exact beyond the training length, framed where the prediction differs."""
    rows = _rows([*recipe.jobs(results.budget)], results)
    percents = {(row.run.panel, row.run.line): _percent(row.far) for row in rows}
    framed = {(row.run.panel, row.run.line) for row in rows if row.verdict == DIFFERS}
    title = "% exact beyond training, all seeds together (framed: not as predicted)"
    figure.grid(title, percents, framed, results)


def _percent(cell: Cell | None) -> float:
    """Not the median: one seed that fails is what a frame is about."""
    return 100 * cell.exact / cell.problems if cell else math.nan


TITLES = {
    DIFFERS: "Prediction and measurement differ",
    NOT_LEARNED: "Not exact at the training length: nothing to compare",
    AGREES: "Prediction and measurement agree",
    OPEN: "Nothing predicted",
}
WORDS = {"exact": "exact", "fails": "fails", "open": "open: copies contents", "none": "nothing: its state grows"}
"""What `report.predict` says."""
HEAD = (
    "| task, program | model | k | coverage, % | predicted | at the training length | beyond |\n"
    "|---|---|---|---|---|---|---|"
)


def _line(row: Row) -> str:
    assert row.check is not None
    ks = ", ".join(str(values[CHECK_COLUMNS.index("k")]) for values in row.check["rows"])
    coverage = f"{100 * row.check['rows'][-1][CHECK_COLUMNS.index('coverage')]:.4g}"
    shown = [f"{at.length:,}: {cell}" for at, cell in zip(row.run.lengths, (row.near, row.far), strict=True)]
    return f"| {' | '.join([row.run.panel, row.run.line, ks, coverage, WORDS[row.predicted], *shown])} |"


def _counts(rows: list[Row]) -> str:
    measured = {name: sum(row.verdict == name for row in rows) for name in TITLES}
    missing = sum(not row.verdict for row in rows)
    return (
        f"{measured[AGREES]} rows agree, {measured[DIFFERS]} differ, {measured[NOT_LEARNED]} were not learned, "
        f"{measured[OPEN]} have no prediction, {missing} are not measured. k: at the lengths of `check`; coverage at "
        "the last of them. Measured: % exact of 20 random problems a seed, worst cases not among them, median over "
        "seeds (range) [95 % interval]; seeds 0 to 2, of nope and pythia 0 alone."
    )


def _rows(every: Sequence[Job], results: Results) -> list[Row]:
    checks = {job.panel: results.of(job)[0]["check"] for job in every if isinstance(job, Check) and results.of(job)}
    return [_row(job, checks.get(job.panel), results) for job in every if isinstance(job, Run)]


def _row(run: Run, check: dict[str, Any] | None, results: Results) -> Row:
    done = results.of(run)
    if check is None or not done:
        return Row(run)
    near, far = (cell for (_, worst_cases), cell in cells(done).items() if not worst_cases)
    predicted = predict(_described(run, done[0]), check, run.lengths[-1].length)
    return Row(run, check, predicted, near, far, _verdict(predicted, near, far))


def _described(job: Run, run: dict[str, Any]) -> dict[str, Any]:
    """As `predict` wants it. A state is fixed if it is as large beyond training as within."""
    sizes = {row[COLUMNS.index("state_bytes")] for row in run["rows"]}
    return {"model": job.model, "train_length": job.train_length, "fixed_state": len(sizes) == 1}


def _verdict(predicted: str, near: Cell, far: Cell) -> str:
    if predicted not in ("exact", "fails"):
        return OPEN
    if near.exact < near.problems:  # what is predicted, is predicted of models that are exact there
        return NOT_LEARNED
    return AGREES if (far.exact == far.problems) == (predicted == "exact") else DIFFERS


RECIPE = Recipe(
    title="Locality: predicted and measured",
    about="`tallystick check` looks at the trajectories alone. A task is local if the same number k of last tokens "
    "decides every token at all lengths looked at, and covered if all deciding contexts occur at the training length.",
    jobs=jobs,
    table=table,
    figure=draw,
)

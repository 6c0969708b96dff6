"""How far: the longest problems that one GPU verifies in a day's work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tallystick.studies import show
from tallystick.studies.base import At, Job, Recipe, Run
from tallystick.studies.cells import Cell, Place, cells, lines, panels
from tallystick.studies.results import Results

SMALL = {
    "addition": (At(1000, 20, worst_cases=True), At(10_000, 5)),
    "multiplication-1": (At(1000, 20), At(10_000, 3)),
    "multiplication-2": (At(1000, 20), At(10_000, 3)),
    "multiplication": (At(20, 20), At(50, 5)),
    "logic-graph": (At(100, 20), At(1000, 5)),
    "hanoi": (At(8, 20), At(11, 3)),
    "hanoi-recursive": (At(8, 20), At(14, 3)),
    "turing:bb5": (At(1000, 20), At(1_000_000, 0, worst_cases=True)),
    "turing-universal": (At(1000, 20), At(10_000, 0, worst_cases=True)),
}
FAR = {
    "addition": (At(10_000, 20, worst_cases=True), At(100_000, 20), At(1_000_000, 3), At(10_000_000, 1, seed=0)),
    "multiplication-1": (At(1000, 50), At(10_000, 20), At(100_000, 20)),
    "multiplication-2": (At(1000, 50), At(10_000, 20), At(100_000, 20)),
    "multiplication": (At(20, 50), At(100, 20), At(200, 20)),
    "logic-graph:3": (At(100, 50), At(1000, 50), At(10_000, 20)),
    "hanoi": (At(8, 50), At(12, 20), At(14, 20), At(16, 3)),
    "hanoi-recursive": (At(10, 50), At(15, 20), At(20, 3)),
    "turing:bb5": (At(1000, 50), At(100_000, 20), At(47_176_870, 0, worst_cases=True)),
    "turing-universal": (At(1000, 50), At(100_000, 20, worst_cases=True)),
}
"""By budget: problems a seed are 50 up to 10^5 tokens, 20 up to 10^7 and 3 beyond."""
PAPER = {
    "addition": (1000, 100),
    "multiplication-1": (1000, 100),
    "multiplication-2": (1000, 100),
    "logic-graph": (1000, 98),
    "logic-graph:3": (1000, 98),
    "hanoi": (12, 49),
    "hanoi-recursive": (9, 83),
}
BATCH = {"batch_size": 32, "lr": 4e-3}
"""8,192 tokens a step: of 2,048, some seeds did not learn to copy labels of three letters, or missed a rare context."""
SETTINGS: dict[str, dict[str, Any]] = {
    "multiplication-2": {"steps": 5000},
    "multiplication": {"steps": 5000, "train_length": 10},
    "logic-graph:3": {"steps": 5000, **BATCH},
    "hanoi": {"steps": 5000, "train_length": 8, **BATCH},
    "hanoi-recursive": {"train_length": 7},
    "turing-universal": BATCH,
}
"""Of the paper budget, beyond the defaults; a run stops earlier once it is exact with the margin."""
LONG = {
    "n_layer": 2,
    "batch_size": 128,
    "seq_len": 128,
    "lr": 3e-3,
    "weight_decay": 0.1,
    "decay_at_error": 1e-4,
    "workers": 4,
}
RECURRENT: dict[str, dict[str, Any]] = {
    "mamba1:tiny": {"batch_size": 128, "lr": 4e-3},
    "gated-deltanet:small": {
        "batch_size": 32,
        "lr": 2e-3,
        "dt_min": 0.001,
        "dt_max": 0.03,
        "decay_at_error": 1e-4,
        "steps": 5000,
    },
    "lstm:small": {**LONG, "forget_bias": 2.0, "steps": 8000},
    "gru:small": {**LONG, "update_bias": 1.0, "steps": 12_000},
}
"""Every other recurrent model, for logic graphs of 1,000 nodes: the task that lookup cannot do."""
OURS = {"small": "mamba2:tiny", "paper": "mamba2:small"}


def jobs(budget: str) -> list[Run]:
    """Each length by itself, the longest first."""
    measured = FAR if budget == "paper" else SMALL
    mine = [
        _run(task, model, at, _settings(task, model, budget))
        for model in ("lookup", OURS[budget])
        for task, lengths in measured.items()
        for at in reversed(lengths)
    ]
    others = RECURRENT if budget == "paper" else {}
    return mine + [_run("logic-graph", model, At(1000, 50, worst_cases=True), given) for model, given in others.items()]


def _run(task: str, model: str, at: At, given: dict[str, Any]) -> Run:
    """lookup stands there for comparison: one seed."""
    one = 0 if at.seed is None and model == "lookup" else at.seed
    return Run(
        task=task, model=model, lengths=(at,), settings=given, paper=PAPER.get(task), piece=f"{at.length:,}",
        seeds=() if one is None else (one,),
    )  # fmt: skip


def _settings(task: str, model: str, budget: str) -> dict[str, Any]:
    given = SETTINGS.get(task, {}) if budget == "paper" else {}
    return {name: value for name, value in given.items() if model != "lookup" or name == "train_length"}


def table(every: Sequence[Job], results: Results) -> str:
    """Markdown: the farthest of every line, then all that was measured."""
    groups = panels([job for job in every if isinstance(job, Run)])
    rows = [row for panel, group in groups for job, done in lines(group, results) for row in _rows(panel, job, done)]
    return "\n".join([HEAD, *rows, "", show.markdown(every, results)])


HEAD = (
    "| task | model | trained on | length | seeds | exact | model tokens a problem | errors a token < | the paper's "
    "best |\n|---|---|---|---|---|---|---|---|---|"
)


def _rows(panel: str, job: Run, done: list[dict[str, Any]]) -> list[str]:
    """The farthest that most seeds did, and that any did."""
    found = cells(done)
    most = max((len(cell.percents) for cell in found.values()), default=0)
    ends = [
        max(n for n, worst_cases in found if len(found[n, worst_cases].percents) >= least)
        for least in (most, 1)
        if found
    ]
    return [_row([panel, job.line, f"<= {job.train_length}"], end, found, job) for end in dict.fromkeys(ends)]


def _row(first: list[str], end: int, found: dict[Place, Cell], job: Run) -> str:
    """Random problems and worst cases at one length."""
    measured = {worst_cases: cell for (n, worst_cases), cell in found.items() if n == end}
    exact = " + ".join(
        f"{cell.exact}/{cell.problems}{' worst cases' * worst_cases}" for worst_cases, cell in measured.items()
    )
    problems, right, tokens = (sum(getattr(c, n) for c in measured.values()) for n in ("problems", "exact", "tokens"))
    did = [str(max(len(cell.percents) for cell in measured.values())), exact, f"{tokens / problems:,.0f}"]
    return show.row([*first, f"{end:,}", *did, show.bound(problems - right, tokens), show.paper(job.paper)])


RECIPE = Recipe(
    title="How far",
    about="The longest problems that we verify, teacher-forced: what free running would do, by induction. The paper's "
    "numbers are those of its best model there (it tests up to 1,000 digits and nodes).",
    jobs=jobs,
    table=table,
)

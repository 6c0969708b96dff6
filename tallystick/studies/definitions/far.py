"""The study `far`: the longest problems that one GPU verifies in a day."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.studies.definitions.common import best
from tallystick.studies.framework import markdown
from tallystick.studies.framework.cells import MISSING, Line, error_bound, panels
from tallystick.studies.framework.experiment import At, Declared, Experiment, Setting
from tallystick.studies.framework.markdown import document, paper, table
from tallystick.studies.framework.results import Results
from tallystick.studies.framework.schema import rows_of
from tallystick.studies.framework.study import Study

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
"""Lengths of the paper budget; problems per seed are 50 up to 10^5 tokens, 20 up to 10^7 and 3 beyond."""
FREE = {
    "addition": At(1_000_000, 1, mode="generate"),
    "hanoi-recursive": At(20, 1, mode="generate"),
    "turing:bb5": At(47_176_870, 0, mode="generate", worst_cases=True),
}
"""Lengths at which every token is also decoded by itself, with live tools, on one core of a CPU."""
BATCH: dict[str, Setting] = {"batch_size": 32, "lr": 4e-3}
"""Batches of 8,192 tokens: with 2,048 some seeds did not learn to copy labels of three letters, or missed a context."""
SETTINGS: dict[str, dict[str, Setting]] = {
    "multiplication-2": {"steps": 5000},
    "multiplication": {"steps": 5000, "train_length": 10},
    "logic-graph:3": {"steps": 5000, **BATCH},
    "hanoi": {"steps": 5000, "train_length": 8, **BATCH},
    "hanoi-recursive": {"train_length": 7},
    "turing-universal": BATCH,
}
"""Settings of the paper budget that differ from the defaults; a run stops earlier once it is exact with the margin."""
LONG: dict[str, Setting] = {
    **{"n_layer": 2, "batch_size": 128, "seq_len": 128, "lr": 3e-3},
    **{"weight_decay": 0.1, "decay_at_error": 1e-4, "workers": 4},
}
GATED: dict[str, Setting] = {
    **{"batch_size": 32, "lr": 2e-3, "steps": 5000},
    **{"dt_min": 0.001, "dt_max": 0.03, "decay_at_error": 1e-4},
}
RECURRENT: dict[str, dict[str, Setting]] = {
    "mamba1:tiny": {"batch_size": 128, "lr": 4e-3},
    "gated-deltanet:small": GATED,
    "lstm:small": {**LONG, "forget_bias": 2.0, "steps": 8000},
    "gru:small": {**LONG, "update_bias": 1.0, "steps": 12_000},
}
"""Settings of the other recurrent models for logic graphs of 1,000 nodes, the task that lookup cannot solve."""
OURS = {"small": "mamba2:tiny", "paper": "mamba2:small"}


def experiments(budget: str) -> list[Experiment]:
    """Declare each length as a separate experiment, the longest first."""
    measured = FAR if budget == "paper" else SMALL
    mine = [
        _experiment(task, model, at, _settings(task, model, budget))
        for model in ("lookup", OURS[budget])
        for task, lengths in measured.items()
        for at in reversed(lengths)
    ]
    if budget == "small":
        return mine
    at = At(1000, 50, worst_cases=True)
    others = [_experiment("logic-graph", model, at, given) for model, given in RECURRENT.items()]
    tiny = OURS["small"]
    return mine + others + [_experiment(task, tiny, at, _settings(task, tiny, budget)) for task, at in FREE.items()]


def _experiment(task: str, model: str, at: At, given: dict[str, Setting]) -> Experiment:
    """Declare one length; lookup, which is there for comparison only, and free running have one seed."""
    free = at.mode == "generate"
    one = 0 if at.seed is None and (free or model == "lookup") else at.seed
    return Experiment(
        task=task, model=model, at=(at,), settings=given, paper=best(task), piece=f"{at.length:,}",
        line=f"{model}, free-running" if free else "", seeds=() if one is None else (one,),
    )  # fmt: skip


def _settings(task: str, model: str, budget: str) -> dict[str, Setting]:
    given = SETTINGS.get(task, {}) if budget == "paper" else {}
    return {name: value for name, value in given.items() if model != "lookup" or name == "train_length"}


HEAD = (
    *("task", "model", "trained on", "length", "seeds", "exact", "model tokens a problem", "errors a token <"),
    *("seconds", "the paper's best"),
)


def tables(declared: Sequence[Declared], results: Results) -> str:
    """Show the longest length of every line, then all measurements."""
    lines = [line for group in panels(declared, results).values() for line in group]
    rows = [_row(line, end) for line in lines for end in _ends(line)]
    return document(table(HEAD, rows), markdown.sections(declared, results))


def _ends(line: Line) -> list[int]:
    """List the longest length measured with the most seeds, and the longest with any."""
    seeds = {length: 0 for length, _, _ in line.cells}
    for place, cell in line.cells.items():
        seeds[place.length] = max(seeds[place.length], len(cell.percents))
    most = max(seeds.values(), default=0)
    ends = [max(length for length, done in seeds.items() if done >= least) for least in (most, 1) if seeds]
    return list(dict.fromkeys(ends))


def _row(line: Line, end: int) -> list[str]:
    """Return the row of one line at one length, random problems and worst cases."""
    measured = {place.worst_cases: cell for place, cell in line.cells.items() if place.length == end}
    exact = [f"{cell.exact}/{cell.problems}{' worst cases' * worst}" for worst, cell in measured.items()]
    found, first = list(measured.values()), line.first
    problems, tokens = sum(cell.problems for cell in found), sum(cell.tokens or 0 for cell in found)
    seeds = max(len(cell.percents) for cell in found)
    return [
        *(first.panel, first.line, f"<= {first.train_length}", f"{end:,}", str(seeds), " + ".join(exact)),
        *(f"{tokens / problems:,.0f}", error_bound(found), _seconds(line), paper(first.paper)),
    ]


def _seconds(line: Line) -> str:
    """Return the seconds of a free run; those of verification depend on what else the GPU did."""
    rows = [row for run in line.runs for row in rows_of(run) if row.mode == "generate"]
    return f"{sum(row.seconds or 0 for row in rows):,.0f}" if rows else MISSING


STUDIES = (
    Study(
        name="far",
        title="How far",
        about="The longest problems that we verify, teacher-forced: what free running would do, by induction. "
        "*Free-running*: each token decoded by itself, each call answered live, on one core of a CPU. The paper's "
        "numbers are those of its best model there (it tests up to 1,000 digits and nodes).",
        experiments=experiments,
        table=tables,
    ),
)

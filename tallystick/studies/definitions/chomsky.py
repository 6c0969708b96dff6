"""The study `chomsky`: tasks of the Chomsky hierarchy (Deletang et al. 2023, arXiv 2207.02098) solved through tools."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tallystick.evaluation.statistics import wilson
from tallystick.studies.definitions.common import sweep
from tallystick.studies.framework.cells import MISSING, Cell, Place, panels, together
from tallystick.studies.framework.experiment import At, Declared, Experiment
from tallystick.studies.framework.markdown import document, table
from tallystick.studies.framework.results import Results
from tallystick.studies.framework.study import Study
from tallystick.tasks.chomsky import CHOMSKY, CLASSES, PUBLISHED, QUADRATIC

KINDS = {"regular": "regular", "context_free": "context-free"}
"""Class of a task by its module; all others are context-sensitive."""
LAST, FAR = 500, 10_000
LENGTHS = tuple(round(41 + i * (LAST - 41) / 23) for i in range(24))
"""24 lengths evenly spaced from 41 to 500, both included; Deletang et al. test every length of that range."""
PROBLEMS = 32
"""Number of problems of each length; for quadratic tasks this makes up to 10^8 tokens per run."""
ONE_SEED = {"lookup": (0,), "pythia": (0,)}
"""Seeds of the models that are there for comparison only."""
OURS, WITHOUT = "mamba2:tiny", "mamba2:tiny without a tool"


def experiments(budget: str) -> list[Experiment]:
    """Declare a panel per task; models without a tool run freely, which takes longest, and come last."""
    return sorted((each for name in CHOMSKY for each in _of(name)), key=lambda each: each.line == WITHOUT)


def _of(name: str) -> list[Experiment]:
    """Declare one task with tools and without; without, free running shows how much of an answer is right."""
    panel, within = name.removeprefix("chomsky:"), At(LAST, PROBLEMS, below=LENGTHS[:-1])
    near = within, At(LAST, 0, worst_cases=True)
    at = *near, At(FAR // 10 if name in QUADRATIC else FAR, 4)
    runs = sweep(name, "small", ("lookup", "mamba2", "lstm"), at=at, panel=panel, seeds=ONE_SEED)
    runs += sweep(name, "small", ("pythia",), at=near, panel=panel, seeds=ONE_SEED)
    free = replace(within, mode="generate")
    (direct,) = sweep(name, "small", ("mamba2",), at=[free], panel=panel, variant="direct")
    return [*runs, replace(direct, line=WITHOUT)]


READ = (
    "*Exact*: problems of which every token is right, of all seeds together [95 % interval, %]. *At one length*: of "
    f"the length with the fewest. *Far*: at {FAR:,}, of the two quadratic tasks (binary-multiplication, compute-sqrt) "
    f"at {FAR // 10:,}. *Their score*: the share of the answer's tokens that stand in their place, %, mean over "
    "sequences (their code pools a batch's tokens), then over seeds (range over seeds); with a tool it is 100 where "
    "all is exact, and elsewhere a lower bound, for what is not exact counts as 0. *Without a tool*: the same model, "
    "from answers alone, for as many steps at most; it answers freely. *Published*: the best of RNN, Stack-RNN, "
    "Tape-RNN, Transformer and LSTM, their score at 41 to 500; *not checked*: that figure could not be. "
    f"{MISSING}: not measured."
)
HEAD = (
    *("task", "class", "exact, 41 to 500", "at one length", "worst cases, 500", "far", "their score"),
    *("without a tool: exact", "without a tool: their score", "published"),
)
Found = Mapping[Place, Cell]
"""A line's cells by place."""


def tables(declared: Sequence[Declared], results: Results) -> str:
    """Show a row per task with our results and the published ones, then the results of every model."""
    groups = panels(declared, results)
    found = {panel: {line.first.line: line.cells for line in group} for panel, group in groups.items()}
    lines = list(next(iter(found.values())))
    beyond = [line for line in lines if any(_far(of[line]) for of in found.values())]
    return document(
        READ,
        _count(found),
        f"## {OURS}",
        table(HEAD, [[panel, _kind(panel), *_cells(of), _published(panel)] for panel, of in found.items()]),
        "## Every model: % exact at 41 to 500, mean over seeds (range over seeds)",
        table(
            ["task", *lines],
            [[panel, *(_percents(_within(of[line])) for line in lines)] for panel, of in found.items()],
        ),
        "## Far: exact of all seeds",
        table(
            ["task", *beyond], [[panel, *(_exact(_far(of[line])) for line in beyond)] for panel, of in found.items()]
        ),
    )


def _count(found: Mapping[str, Mapping[str, Found]]) -> str:
    ours = [_within(of[OURS]) for of in found.values()]
    measured = [together(mine) for mine in ours if mine]
    seeds = {len(cell.percents) for cell in measured}
    return (
        f"{OURS} is exact on all problems of 41 to 500 in {sum(cell.is_exact for cell in measured)} of {len(measured)} "
        f"tasks that are measured (seeds: {' or '.join(map(str, sorted(seeds)))})."
    )


def _cells(of: Mapping[str, Found]) -> list[str]:
    """Return the cells between a task's class and its published score."""
    ours, without = _within(of[OURS]), _within(of[WITHOUT])
    worst_cases = [cell for place, cell in of[OURS].items() if place.worst_cases]
    fewest = sorted(ours, key=lambda cell: cell.exact)[:1]
    exact = [_exact(part) for part in (ours, fewest, worst_cases, _far(of[OURS]))]
    return [*exact, _score(ours), _exact(without), _score(without)]


def _far(found: Found) -> list[Cell]:
    return [cell for place, cell in found.items() if place.length > LAST]


def _within(found: Found) -> list[Cell]:
    return [cell for place, cell in found.items() if place.length <= LAST and not place.worst_cases]


def _exact(found: Sequence[Cell]) -> str:
    if not found:
        return MISSING
    cell = together(found)
    low, high = (_percent(100 * share) for share in wilson(cell.exact, cell.problems))
    return f"{cell.exact:,}/{cell.problems:,} [{low}-{high}]"


def _score(found: Sequence[Cell]) -> str:
    return _spread(together(found).scores) if found else MISSING


def _percents(found: Sequence[Cell]) -> str:
    return _spread(together(found).percents) if found else MISSING


def _spread(percents: Sequence[float]) -> str:
    """Format the mean, with the range in brackets."""
    spread = f" ({_percent(min(percents))}-{_percent(max(percents))})" if len({*percents}) > 1 else ""
    return f"{_percent(sum(percents) / len(percents))}{spread}"


def _percent(value: float) -> str:
    """Format a percentage, rounded down so that 100 means all."""
    return f"{math.floor(10 * value + 1e-9) / 10:g}"


def _kind(panel: str) -> str:
    return KINDS.get(CLASSES[panel].partition(":")[0], "context-sensitive")


def _published(panel: str) -> str:
    published = PUBLISHED.get(f"chomsky:{panel}")
    return "not checked" if published is None else _percent(published)


STUDIES = (
    Study(
        name="chomsky",
        title="The Chomsky hierarchy's tasks through tools",
        about="Deletang et al. (2023) train on lengths up to 40 and test on 41 to 500; so do we, on 24 of these "
        f"lengths, {PROBLEMS} problems each. Ours learn from traces with a tool, theirs from answers alone, so this is "
        "no contest: our budget without a tool is one more column.",
        experiments=experiments,
        budgets=("small",),
        table=tables,
    ),
)

"""The tasks of the Chomsky hierarchy (Deletang et al. 2023, arXiv 2207.02098), solved through tools."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tallystick.evaluation.statistics import wilson
from tallystick.studies.base import At, Job, Recipe, Run
from tallystick.studies.cells import Cell, Place, cells, panels, together
from tallystick.studies.common import sweep
from tallystick.studies.results import Results
from tallystick.studies.show import row
from tallystick.tasks.chomsky import CHOMSKY, CLASSES, PUBLISHED, QUADRATIC

KINDS = {"regular": "regular", "context_free": "context-free"}
"""The class of a task by its module; context-sensitive in all others."""
LAST, FAR = 500, 10_000
LENGTHS = tuple(round(41 + i * (LAST - 41) / 23) for i in range(24))
"""They test on every length of 41 to 500; these are evenly spread over them, both ends included."""
PROBLEMS = 32
"""At each length; of the quadratic tasks these are up to 10^8 tokens a run."""
ONE_SEED = {"lookup": (0,), "pythia": (0,)}
"""They stand there for comparison."""
OURS, WITHOUT = "mamba2:tiny", "mamba2:tiny without a tool"
MISSING = "-"


def jobs(budget: str) -> list[Run]:
    """A panel a task; the models are small in both budgets. What answers freely takes longest, and comes last."""
    return sorted((run for name in CHOMSKY for run in _of(name)), key=lambda run: run.line == WITHOUT)


def _of(name: str) -> list[Run]:
    """With tools; and without, where free running shows how much of an answer is right."""
    panel, within = name.removeprefix("chomsky:"), At(LAST, PROBLEMS, below=LENGTHS[:-1])
    near = within, At(LAST, 0, worst_cases=True)
    at = *near, At(FAR // 10 if name in QUADRATIC else FAR, 4)
    runs = sweep(name, "small", ("lookup", "mamba2", "lstm"), at=at, panel=panel, seeds=ONE_SEED)
    runs += sweep(name, "small", ("pythia",), at=near, panel=panel, seeds=ONE_SEED)
    (direct,) = sweep(name, "small", ("mamba2",), at=(within,), panel=panel, variant="direct")
    return [*runs, replace(direct, line=WITHOUT, mode="generate")]


def table(every: Sequence[Job], results: Results) -> str:
    """Markdown: a line a task with ours and theirs; then every model."""
    runs = panels([job for job in every if isinstance(job, Run)])
    found = {panel: {run.line: cells(results.of(run)) for run in group} for panel, group in runs}
    lines = list(next(iter(found.values())))
    beyond = [line for line in lines if any(_far(of[line]) for of in found.values())]
    parts = [
        *(READ, "", _count(found), "", f"## {OURS}", "", HEAD),
        *(row([panel, _kind(panel), *_cells(of), _published(panel)]) for panel, of in found.items()),
        *(
            "",
            "## Every model: % exact at 41 to 500, mean over seeds (range over seeds)",
            "",
            row(["task", *lines]),
            row(["---"] * (1 + len(lines))),
        ),
        *(row([panel, *(_percents(_within(of[line])) for line in lines)]) for panel, of in found.items()),
        *("", "## Far: exact of all seeds", "", row(["task", *beyond]), row(["---"] * (1 + len(beyond)))),
        *(row([panel, *(_exact(_far(of[line])) for line in beyond)]) for panel, of in found.items()),
    ]
    return "\n".join([*parts, ""])


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
    "| task | class | exact, 41 to 500 | at one length | worst cases, 500 | far | their score | without a tool: exact | "
    "without a tool: their score | published |\n|---|---|---|---|---|---|---|---|---|---|"
)
Found = dict[Place, Cell]
"""What a run did, by length, and whether of the worst cases."""


def _count(found: dict[str, dict[str, Found]]) -> str:
    ours = [list(_within(of[OURS]).values()) for of in found.values()]
    measured = [together(mine) for mine in ours if mine]
    exact, seeds = sum(cell.exact == cell.problems for cell in measured), {len(cell.percents) for cell in measured}
    return (
        f"{OURS} is exact on all problems of 41 to 500 in {exact} of {len(measured)} tasks that are measured "
        f"(seeds: {' or '.join(map(str, sorted(seeds)))})."
    )


def _cells(of: dict[str, Found]) -> list[str]:
    """Between a task's class and what is published of it."""
    ours, without = (list(_within(of[line]).values()) for line in (OURS, WITHOUT))
    worst_cases = [cell for (_, worst), cell in of[OURS].items() if worst]
    fewest = sorted(ours, key=lambda cell: cell.exact)[:1]
    exact = [_exact(part) for part in (ours, fewest, worst_cases, _far(of[OURS]))]
    return [*exact, _score(ours), _exact(without), _score(without)]


def _far(found: Found) -> list[Cell]:
    return [cell for (length, _), cell in found.items() if length > LAST]


def _within(found: Found) -> Found:
    return {place: cell for place, cell in found.items() if place[0] <= LAST and not place[1]}


def _exact(found: Sequence[Cell]) -> str:
    if not found:
        return MISSING
    cell = together(found)
    low, high = (_percent(100 * share) for share in wilson(cell.exact, cell.problems))
    return f"{cell.exact:,}/{cell.problems:,} [{low}-{high}]"


def _score(found: Sequence[Cell]) -> str:
    return _spread(together(found).scores) if found else MISSING


def _percents(found: Found) -> str:
    return _spread(together(list(found.values())).percents) if found else MISSING


def _spread(percents: list[float]) -> str:
    """Mean (range)."""
    spread = f" ({_percent(min(percents))}-{_percent(max(percents))})" if len(set(percents)) > 1 else ""
    return f"{_percent(sum(percents) / len(percents))}{spread}"


def _percent(value: float) -> str:
    """Rounded down: 100 is what nothing lacks."""
    return f"{math.floor(10 * value + 1e-9) / 10:g}"


def _kind(panel: str) -> str:
    return KINDS.get(CLASSES[panel].partition(":")[0], "context-sensitive")


def _published(panel: str) -> str:
    published = PUBLISHED.get(f"chomsky:{panel}")
    return "not checked" if published is None else _percent(published)


RECIPE = Recipe(
    title="The Chomsky hierarchy's tasks through tools",
    about="Deletang et al. (2023) train on lengths up to 40 and test on 41 to 500; so do we, on 24 of these lengths, "
    f"{PROBLEMS} problems each. Ours learn from traces with a tool, theirs from answers alone, so this is no contest: "
    "our budget without a tool is one more column.",
    jobs=jobs,
    table=table,
)

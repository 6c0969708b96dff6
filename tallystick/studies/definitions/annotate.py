"""The study `annotate`: non-local programs before and after --annotate, by k, coverage, tokens and exactness."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tallystick import tasks
from tallystick.evaluation.statistics import wilson
from tallystick.studies.framework.cells import MISSING, Cell, Line, panels
from tallystick.studies.framework.experiment import At, Declared, Experiment, LocalityCheck, Setting
from tallystick.studies.framework.markdown import document, seeds, table
from tallystick.studies.framework.results import Results
from tallystick.studies.framework.schema import Check, StoredRun, check_rows_of
from tallystick.studies.framework.study import Study

NAIVE = "examples/naive.py"


class Program(NamedTuple):
    """A program that is not local."""

    task: str
    variant: str
    length: int
    """Length at which models are measured."""
    samples: int
    """Number of random problems of that length."""
    problems: int
    """Number of random problems of each row of `check`."""
    has_notes: bool = True
    """Whether notes can make the program local; if not, the check says why."""


PROGRAMS = (
    Program("addition", "paper", 1000, 20, 1000),
    Program("multiplication-1", "paper", 1000, 20, 1000),
    Program("multiplication-2", "paper", 1000, 20, 1000),
    Program("hanoi-recursive", "paper", 12, 5, 1000),
    Program("hanoi", "paper", 12, 3, 100),
    Program("logic-graph", "paper", 1000, 20, 100, has_notes=False),
    Program(f"{NAIVE}:Larger", "default", 1000, 20, 1000),
    Program(f"{NAIVE}:Majority", "default", 1000, 20, 1000, has_notes=False),
)
BATCH: dict[str, Setting] = {"batch_size": 32, "lr": 0.004}
SETTINGS: dict[str, dict[str, Setting]] = {
    "multiplication-1": {**BATCH, "steps": 5000},
    "hanoi": {**BATCH, "steps": 6000, "decay_at_error": 1e-05, "d_state": 64},
}
"""Settings of mamba2 for tasks in which steps of 2,048 tokens left some seeds wrong far beyond training. For hanoi the
learning rate stays high for more than half of the budget, and a larger state distinguishes more symbols."""
MODELS = {"lookup": (0,), "mamba2:tiny": (0, 1, 2)}
"""Seeds of each model."""


def experiments(budget: str) -> list[Declared]:
    """Declare checks of each program without and with notes, and every model on those that exist."""
    return [each for program in PROGRAMS for variant in _variants(program) for each in _of(program, variant)]


def _variants(program: Program) -> tuple[str, str]:
    return program.variant, program.variant + tasks.NOTES


def _of(program: Program, variant: str) -> list[Declared]:
    panel = f"{program.task} {variant}"
    check = LocalityCheck(
        task=program.task, variant=variant, problems=program.problems, tokens_at=program.length, panel=panel
    )
    if variant != program.variant and not program.has_notes:
        return [check]
    at = (At(program.length, program.samples, worst_cases=True),)
    return [check, *(_experiment(program, variant, model, at, panel) for model in MODELS)]


def _experiment(program: Program, variant: str, model: str, at: tuple[At, ...], panel: str) -> Experiment:
    given = SETTINGS.get(program.task, {}) if model.startswith("mamba2") else {}
    return Experiment(
        task=program.task, variant=variant, model=model, at=at, settings=given, seeds=MODELS[model], problem_seed=0,
        panel=panel,
    )  # fmt: skip


READ = (
    "*k*: at each length of `check`; *coverage*: at the last. *Notes*: kinds of notes in the program; *tokens*: of two "
    "problems, and what notes add. A model's cell: exact random problems + worst cases of all seeds together, far "
    f"beyond training [95 % intervals, %]; {MISSING}: not measured, or there are none."
)


def tables(declared: Sequence[Declared], results: Results) -> str:
    """Show two rows per program, without and with notes."""
    checks = {each.panel: results.of(each)[-1:] for each in declared if isinstance(each, LocalityCheck)}
    lines = {panel: {line.first.model: line for line in group} for panel, group in panels(declared, results).items()}
    rows = []
    for program in PROGRAMS:
        plain, noted = (f"{program.task} {variant}" for variant in _variants(program))
        before = _check(checks[plain])
        for panel in (plain, noted):
            name = f"{Path(program.task).name}, to {program.length:,}"
            first = [name, panel.removeprefix(f"{program.task} "), *_checked(checks[panel], before)]
            rows.append([*first, *(_exact(lines.get(panel, {}).get(model)) for model in MODELS)])
    return document(READ, table(["program", "variant", "k", "coverage", "notes", "tokens", *MODELS], rows))


def _check(runs: Sequence[StoredRun]) -> Check | None:
    return runs[0].get("check") if runs else None


def _checked(runs: Sequence[StoredRun], before: Check | None) -> list[str]:
    """Return the four cells of a check; the first may say why there are no notes."""
    if runs and "refused" in runs[0]:
        return [runs[0]["refused"], *[MISSING] * 3]
    check = _check(runs)
    if check is None:
        return [MISSING] * 4
    rows = check_rows_of(check)
    coverage = f"{100 * (rows[-1].coverage or 0):.6g} %"
    return [", ".join(str(row.k) for row in rows), coverage, str(check.get("notes", MISSING)), _tokens(check, before)]


def _tokens(check: Check, before: Check | None) -> str:
    tokens, plain = check.get("tokens"), (before or check).get("tokens")
    if tokens is None or plain is None:
        return MISSING
    return f"{tokens:,}" if check is before else f"+{100 * (tokens / plain - 1):.1f} %"


def _exact(line: Line | None) -> str:
    """Format the results of all seeds together, the seeds, and the settings that differ from the defaults."""
    if line is None or not line.cells:
        return MISSING
    settings = " ".join(f"{key}={value}" for key, value in line.first.settings.items())
    told = f"; {settings}" if settings else ""
    return f"{' + '.join(map(_shares, line.cells.values()))} (seeds {seeds(line.seeds)}{told})"


def _shares(cell: Cell) -> str:
    low, high = wilson(cell.exact, cell.problems)
    return f"{cell.exact}/{cell.problems} [{100 * low:.0f}-{100 * high:.0f}]"


STUDIES = (
    Study(
        name="annotate",
        title="Programs that are not local, before and after --annotate",
        about="`--annotate` has a program say its control state in notes where the last few tokens would not decide "
        f"what comes next. {NAIVE} is in the repository: run this there.",
        experiments=experiments,
        budgets=("small",),
        table=tables,
        figure=None,
    ),
)

"""The paper's two theorems, compared with the results of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tallystick.studies.framework.cells import MISSING, panels
from tallystick.studies.framework.experiment import Declared, Experiment
from tallystick.studies.framework.markdown import document, table
from tallystick.studies.framework.results import Results
from tallystick.studies.framework.schema import rows_of
from tallystick.studies.framework.study import Study
from tallystick.studies.theory import bound, universal

BOUND_TASK, BOUND_LENGTHS, BOUND_STEPS = "addition", (1, 2, 3, 5, 10, 20), 3000
LARGER = ("mamba2:small", "mamba2:paper")
"""Models whose bound is shown without training them."""
MACHINE, STEPS = "turing:bb5", (40, 1000, 10_000)


def without_tools(budget: str) -> list[Experiment]:
    """Declare the training without tools of models of 16, 32 and 64 bits, and of a Mamba-2."""
    return [bound.experiment(BOUND_TASK, model, BOUND_LENGTHS, BOUND_STEPS) for model in bound.MODELS]


def bound_table(declared: Sequence[Declared], results: Results) -> str:
    """Show the bound of each model's state, and the share that each seed reached."""
    (lines,) = panels(declared, results).values()
    found = {line.first.model: line.cells for line in lines}
    rows = bound.bounds(BOUND_TASK, [*bound.MODELS, *LARGER], BOUND_LENGTHS, found)
    return bound.text(BOUND_TASK, rows)


def through_a_tape(budget: str) -> list[Experiment]:
    """Declare every model on short runs of a machine, and lookup with increasing numbers of samples."""
    models = [universal.experiment(MACHINE, model, STEPS) for model in universal.MODELS]
    return [*models, *(universal.of_samples(MACHINE, count, STEPS[-1]) for count in universal.counts())]


def universal_table(declared: Sequence[Declared], results: Results) -> str:
    """Show the bound on the samples, the number that lookup needed, and the results of every model."""
    theorem = universal.Bound.of(MACHINE.partition(":")[2])
    every = [each for each in declared if isinstance(each, Experiment)]
    models = [each for each in every if "examples" not in each.settings]
    done = [(each.model, run["seed"], run) for each in models for run in results.of(each)]
    exact = {
        (run["seed"], int(each.settings["examples"])): rows_of(run)[0].exact
        for each in every
        if each not in models
        for run in results.of(each)
    }
    seeds = sorted({seed for seed, _ in exact})
    needed = {seed: universal.samples_needed(lambda n, s=seed: exact.get((s, n)), theorem.epsilon) for seed in seeds}
    return document(universal.text(theorem, needed, STEPS, done), _by_samples(exact, seeds))


def _by_samples(exact: Mapping[tuple[int, int], int], seeds: Sequence[int]) -> str:
    """Format lookup's exact problems by the number of samples."""
    if not exact:
        return ""
    counts = list(universal.counts())
    rows = [[seed, *(exact.get((seed, count), MISSING) for count in counts)] for seed in seeds]
    head = ["seed", *(f"{count:,}" for count in counts)]
    return document(
        f"## lookup by its samples\n\nExact problems, of {universal.SAMPLES} of {STEPS[-1]:,} steps, by the number of "
        "samples:",
        table(head, rows),
    )


STUDIES = (
    Study(
        name="theory-bound",
        title="Theorem 2.1: what no fixed state can do alone",
        about="`tallystick theory bound` gives the bound of any task whose answers are counted, and of any model.",
        experiments=without_tools,
        budgets=("small",),
        table=bound_table,
        figure=None,
    ),
    Study(
        name="theory-universal",
        title="Theorem 2.2: what a fixed state can do through a tape",
        about="`tallystick theory universal` does the same for any machine.",
        experiments=through_a_tape,
        budgets=("small",),
        table=universal_table,
        figure=None,
    ),
)

"""The hybrid of Mamba and attention, and the recurrent-memory Transformer, on addition."""

from __future__ import annotations

from dataclasses import replace

from tallystick.studies.base import Recipe, Run
from tallystick.studies.common import sweep

PAPER = {"hybrid": (1000, 100), "rmt": (5, 100)}


def jobs(budget: str) -> list[Run]:
    """Beside the two that they are made of."""
    runs = sweep("addition", budget, ("mamba2", "pythia", "hybrid", "rmt"))
    return [replace(run, paper=PAPER.get(run.model.partition(":")[0], run.paper)) for run in runs]


RECIPE = Recipe(
    title="Hybrid and recurrent-memory Transformer: addition, trained on at most 5 digits",
    about="In the paper the hybrid goes to 1,000 digits, and the recurrent-memory Transformer is exact at 5 and no "
    "further.",
    jobs=jobs,
)

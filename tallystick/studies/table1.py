"""Table 1: multiplication by one and two digits, and logic graphs, trained on lengths up to 10."""

from __future__ import annotations

from tallystick.studies.base import Recipe, Run
from tallystick.studies.common import BEST, sweep

TASKS = ("multiplication-1", "multiplication-2", "logic-graph")


def jobs(budget: str) -> list[Run]:
    """Every model on each task."""
    return [run for task in TASKS for run in sweep(task, budget)]


RECIPE = Recipe(
    title="Table 1: multiplication and logic graphs, trained on lengths up to 10",
    about=f"In the paper Mamba reaches 1,000 on all three, and Transformers lose exactness within twice the training "
    f"length. lookup cannot solve logic graphs: their labels are to be copied. {BEST}",
    jobs=jobs,
)

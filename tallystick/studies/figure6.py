"""Figure 6: the curves of every task and model."""

from __future__ import annotations

from tallystick.studies import figure2, table1, table2
from tallystick.studies.base import Recipe, Run
from tallystick.studies.common import BEST


def jobs(budget: str) -> list[Run]:
    """Those of figure 2 and tables 1 and 2, with which it shares its run folders."""
    return [run for recipe in (figure2, table1, table2) for run in recipe.jobs(budget)]


RECIPE = Recipe(
    title="Figure 6: exactness by length, every task and model",
    about=f"The curves behind figure 2 and tables 1 and 2. {BEST}",
    jobs=jobs,
)

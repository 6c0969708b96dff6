"""Figure 9: the runs of figure 8, a panel a weight of addition, a line a budget of steps."""

from __future__ import annotations

from dataclasses import replace

from tallystick.studies import figure8
from tallystick.studies.base import Recipe, Run


def jobs(budget: str) -> list[Run]:
    """Figure 8 shares its run folders."""
    runs = sorted(figure8.jobs(budget), key=lambda run: figure8.WEIGHTS.index(float(run.line.split()[1])))
    return [replace(run, panel=run.line, line=run.panel) for run in runs]


RECIPE = Recipe(
    title="Figure 9: steps of training, by the share of addition in the mixture",
    about=figure8.RECIPE.about,
    jobs=jobs,
    seeds=figure8.RECIPE.seeds,
)

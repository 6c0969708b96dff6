"""Figure 8: addition as a help for multiplication by two digits, by its weight in the mixture."""

from __future__ import annotations

from typing import Any

from tallystick.studies.base import At, Recipe, Run
from tallystick.studies.common import preset, settings

WEIGHTS = (0.0, 0.33, 0.5, 0.6)
STEPS = (250, 500, 800)
LENGTHS = {"small": (20, 100, 300), "paper": (20, 50, 100, 200, 500, 1000)}


def jobs(budget: str) -> list[Run]:
    """A panel a budget of steps, a line a weight; multiplication alone is measured."""
    at = tuple(map(At, LENGTHS[budget]))
    return [
        Run(
            task=mixture(weight), part="multiplication-2" if weight else None,
            model=preset("mamba2", budget), lengths=at,
            panel=f"{steps} steps", line=f"addition {weight:g}", settings=_settings(budget, steps),
        )
        for steps in STEPS
        for weight in WEIGHTS
    ]  # fmt: skip


def _settings(budget: str, steps: int) -> dict[str, Any]:
    return {**settings("multiplication-2", "mamba2", budget), "steps": steps, "train_length": 20, "lr": 3e-3}


def mixture(weight: float) -> str:
    """The task's name; at 0 without the mark that a mixture's prompts begin with."""
    return f"addition:{weight:g},multiplication-2:{1 - weight:g}" if weight else "multiplication-2"


RECIPE = Recipe(
    title="Figure 8: multiplication by two digits, with addition mixed in",
    about="In the paper (at most 20 digits, learning rate 0.003) it helps little at 250 steps, clearly at 500, and is "
    "not needed at 800.",
    jobs=jobs,
    seeds=(0, 1, 2, 3, 4),
)

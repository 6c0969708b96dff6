"""Figure 7: how many steps, and how many digits, multiplication takes."""

from __future__ import annotations

from tallystick.studies.base import At, Recipe, Run
from tallystick.studies.common import preset, settings

STEPS = (250, 500, 800)
DIGITS = (5, 10, 20)
LENGTHS = {"small": (20, 100, 300), "paper": (20, 50, 100, 200, 500, 1000)}


def jobs(budget: str) -> list[Run]:
    """Steps x digits for a second number of one and of two digits."""
    model = preset("mamba2", budget)
    return [
        Run(
            task=task, model=model, lengths=tuple(map(At, LENGTHS[budget])), panel=f"{task}, {steps} steps",
            line=f"up to {digits} digits", settings=_settings(task, budget, steps, digits),
        )
        for task in ("multiplication-1", "multiplication-2")
        for steps in STEPS
        for digits in DIGITS
    ]  # fmt: skip


def _settings(task: str, budget: str, steps: int, digits: int) -> dict[str, object]:
    return {**settings(task, "mamba2", budget), "steps": steps, "train_length": digits, "lr": 3e-3}


RECIPE = Recipe(
    title="Figure 7: multiplication by steps and digits of training",
    about="In the paper more digits and more steps make it stable, and 20 digits are exact to 1,000 "
    "(learning rate 0.003, five runs each). Our runs stop earlier than the budget once they are exact with the margin.",
    jobs=jobs,
    seeds=(0, 1, 2, 3, 4),
)

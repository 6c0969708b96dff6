"""Figures 7 to 9: multiplication by steps, digits, and the share of addition in training.

Figure 9 is a view of figure 8: it shows the same results with a panel per weight and a line per number of steps.
"""

from __future__ import annotations

from tallystick.studies.definitions.common import MULTIPLICATION, preset, settings
from tallystick.studies.framework.experiment import At, Experiment, Setting
from tallystick.studies.framework.study import Study

STEPS = (250, 500, 800)
DIGITS = (5, 10, 20)
WEIGHTS = (0.0, 0.33, 0.5, 0.6)
FIVE = (0, 1, 2, 3, 4)
MIXED = (
    "In the paper (at most 20 digits, learning rate 0.003) it helps little at 250 steps, clearly at 500, and is not "
    "needed at 800."
)


def by_digits(budget: str) -> list[Experiment]:
    """Declare every combination of steps and digits, for a second number of one and of two digits."""
    return [
        Experiment(
            task=task, model=preset("mamba2", budget), at=_at(budget), settings=_settings(task, budget, steps, digits),
            panel=f"{task}, {steps} steps", line=f"up to {digits} digits",
        )
        for task in ("multiplication-1", "multiplication-2")
        for steps in STEPS
        for digits in DIGITS
    ]  # fmt: skip


def by_steps(budget: str) -> list[Experiment]:
    """Declare a panel per number of steps and a line per weight of addition; only multiplication is measured."""
    return [
        Experiment(
            task=mixture(weight), part="multiplication-2" if weight else None, model=preset("mamba2", budget),
            at=_at(budget), settings=_settings("multiplication-2", budget, steps, 20),
            panel=f"{steps} steps", line=f"addition {weight:g}",
        )
        for steps in STEPS
        for weight in WEIGHTS
    ]  # fmt: skip


def by_weight(budget: str) -> list[Experiment]:
    """Return the experiments of figure 8 with a panel per weight of addition and a line per number of steps."""
    weights = [f"addition {weight:g}" for weight in WEIGHTS]
    turned = sorted(by_steps(budget), key=lambda each: weights.index(each.line))
    return [each.shown_as(panel=each.line, line=each.panel) for each in turned]


def mixture(weight: float) -> str:
    """Return the name of the mixture; at weight 0 it is multiplication alone, whose prompts have no mark."""
    return f"addition:{weight:g},multiplication-2:{1 - weight:g}" if weight else "multiplication-2"


def _at(budget: str) -> tuple[At, ...]:
    return tuple(map(At, MULTIPLICATION[budget]))


def _settings(task: str, budget: str, steps: int, digits: int) -> dict[str, Setting]:
    return {**settings(task, "mamba2", budget), "steps": steps, "train_length": digits, "lr": 3e-3}


STUDIES = (
    Study(
        name="figure7",
        title="Figure 7: multiplication by steps and digits of training",
        about="In the paper more digits and more steps make it stable, and 20 digits are exact to 1,000 (learning rate "
        "0.003, five runs each). Our runs stop earlier than the budget once they are exact with the margin.",
        experiments=by_digits,
        seeds=FIVE,
    ),
    Study(
        name="figure8",
        title="Figure 8: multiplication by two digits, with addition mixed in",
        about=MIXED,
        experiments=by_steps,
        seeds=FIVE,
    ),
    Study(
        name="figure9",
        title="Figure 9: steps of training, by the share of addition in the mixture",
        about=MIXED,
        experiments=by_weight,
        seeds=FIVE,
        results="figure8",
    ),
)

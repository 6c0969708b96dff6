"""Figure 5: ten seeds of the iterative Tower of Hanoi, whose results differ widely in the paper."""

from __future__ import annotations

from tallystick.studies.base import At, Recipe, Run
from tallystick.studies.common import LENGTHS, sweep

TEN = tuple(range(10))
MODELS = ("mamba2", "mamba1", "lstm", "gru", "pythia", "mistral")


def jobs(budget: str) -> list[Run]:
    """Both programs, for the paper's is not local; ten seeds of Mamba and Pythia, three of the others."""
    seeds = {"mamba2": TEN, "mamba1": TEN, "pythia": TEN}
    at = [At(length, 20) for length in LENGTHS["hanoi"][budget]]
    panels = {"local": "hanoi, local program", "paper": "hanoi, the paper's program"}
    return [
        run
        for variant, panel in panels.items()
        for run in sweep("hanoi", budget, MODELS, at=at, variant=variant, panel=panel, seeds=seeds)
    ]


RECIPE = Recipe(
    title="Figure 5: ten seeds of the Tower of Hanoi",
    about="The paper's ten Mamba seeds at 12 disks, trained on at most 8, range from 0 to 49 % although at least "
    "99.75 % of the tokens are right; Pythia's token accuracy stays below 93 %.",
    jobs=jobs,
)

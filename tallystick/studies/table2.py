"""Table 2: the Tower of Hanoi, iterative and recursive."""

from __future__ import annotations

from tallystick.studies.base import At, Recipe, Run
from tallystick.studies.common import BEST, LENGTHS, sweep

TASKS = ("hanoi", "hanoi-recursive")


def jobs(budget: str) -> list[Run]:
    """Every model on both; 12 disks take some 500,000 tokens."""
    return [run for task in TASKS for run in sweep(task, budget, at=[At(n, 20) for n in LENGTHS[task][budget]])]


RECIPE = Recipe(
    title="Table 2: the Tower of Hanoi",
    about="In the paper the iterative form is trained on at most 8 disks and Mamba solves 12 in 49 % of the problems "
    f"with its best of ten seeds; the recursive one goes from 7 disks to 8 or 9. Small: trained on at most 6. {BEST}",
    jobs=jobs,
)

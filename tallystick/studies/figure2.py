"""Figure 2: addition with pointers, trained on at most 5 digits."""

from __future__ import annotations

from tallystick.studies.base import At, Recipe, Run
from tallystick.studies.common import BEST, LENGTHS, sweep


def jobs(budget: str) -> list[Run]:
    """Every model; the longest problems with the worst cases."""
    *short, longest = LENGTHS["addition"][budget]
    return sweep("addition", budget, at=[*map(At, short), At(longest, worst_cases=True)])


RECIPE = Recipe(
    title="Figure 2: addition, trained on at most 5 digits",
    about=f"In the paper Mamba and LSTM add 1,000 digits, a GRU most of the time, and Transformers fail early. {BEST}",
    jobs=jobs,
)

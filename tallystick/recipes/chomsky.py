"""The tasks of the Chomsky hierarchy (Deletang et al. 2023, arXiv 2207.02098), solved through tools."""

from __future__ import annotations

from tallystick.recipes.base import At, Recipe, Run
from tallystick.recipes.common import sweep

REGULAR = ("even-pairs", "modular-arithmetic", "parity-check", "cycle-navigation")
CONTEXT_FREE = ("stack-manipulation", "reverse-string", "modular-arithmetic-brackets", "solve-equation")
CONTEXT_SENSITIVE = (
    *("duplicate-string", "missing-duplicate", "odds-first", "binary-addition", "binary-multiplication"),
    *("compute-sqrt", "bucket-sort"),
)
MODELS = ("lookup", "mamba2", "lstm", "pythia")
LENGTHS = {"small": (40, 100, 500), "paper": (40, 100, 500, 1000)}
"""They train on at most 40 and test up to 500."""


def jobs(budget: str) -> list[Run]:
    """A panel a task; the models are small in both budgets."""
    at, names = list(map(At, LENGTHS[budget])), (*REGULAR, *CONTEXT_FREE, *CONTEXT_SENSITIVE)
    return [run for name in names for run in sweep(f"chomsky:{name}", "small", MODELS, at=at, panel=name)]


RECIPE = Recipe(
    title="The Chomsky hierarchy's tasks through tools",
    about="Deletang et al. train on lengths up to 40 and test up to 500: without tools, RNNs and LSTMs generalise on "
    "regular tasks alone, stack and tape RNNs on some of the higher ones, and Transformers on hardly any.",
    jobs=jobs,
)

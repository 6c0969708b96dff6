"""Ablations of addition: without thoughts, without the tool, and with a calculator called once."""

from __future__ import annotations

from tallystick.studies.base import At, Recipe, Run
from tallystick.studies.common import preset, settings

FORMS = {
    "local": "pointers and thoughts",
    "paper": "pointers and thoughts, the paper's program",
    "direct": "no thoughts, no tool",
    "reversed": "no thoughts, no tool, answer reversed",
    "no-tool": "the same thoughts, the tool's answers to be predicted",
    "calculator": "one call of a calculator",
}
"""Variant of addition -> what it is."""
PAPER = {
    "local": (1000, 100),
    "direct": "100 % at 5, hardly beyond",
    "reversed": "100 % at 5, hardly beyond",
    "no-tool": "poor even at 5",
    "calculator": "100 % at 5, hardly beyond",
}
MODELS = {"small": ("lookup", "mamba2", "lstm"), "paper": ("lookup", "mamba2", "mamba1")}
LENGTHS = {"small": (5, 6, 8, 10, 20, 100, 1000), "paper": (5, 6, 7, 8, 10, 20, 50, 100, 1000)}


def jobs(budget: str) -> list[Run]:
    """A panel a model, a line a form."""
    at = tuple(At(length, 20 if length == 1000 else 50) for length in LENGTHS[budget])
    return [
        Run(
            task="addition", variant=variant, model=preset(model, budget), lengths=at,
            settings=settings("addition", model, budget), panel=preset(model, budget), line=line,
            paper=None if model == "lookup" else PAPER.get(variant),
        )
        for model in MODELS[budget]
        for variant, line in FORMS.items()
    ]  # fmt: skip


RECIPE = Recipe(
    title="Ablations of addition: what the tool and the thoughts are for",
    about="Theorem 2.1: without interaction a model of fixed state fails from some length on. In the paper (Mamba, at "
    "most 5 digits) the forms without it are right in distribution and hardly beyond, and the one that has to predict "
    "the tool's answers is poor even in distribution.",
    jobs=jobs,
)

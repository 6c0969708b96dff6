"""How far: the longest problems that one GPU verifies in a day's work."""

from __future__ import annotations

from tallystick.recipes.base import At, Recipe, Run

SMALL = {
    "addition": (At(1000, 20, corners=True), At(10_000, 5)),
    "multiplication-1": (At(1000, 20), At(10_000, 3)),
    "multiplication-2": (At(1000, 20), At(10_000, 3)),
    "multiplication": (At(20, 20), At(50, 5)),
    "logic-graph": (At(100, 20), At(1000, 5)),
    "hanoi": (At(8, 20), At(11, 3)),
    "hanoi-recursive": (At(8, 20), At(14, 3)),
    "turing:bb5": (At(1000, 20), At(1_000_000, 0, corners=True)),
    "turing-universal": (At(1000, 20), At(10_000, 0, corners=True)),
}
FAR = {
    "addition": (At(10_000, 20, corners=True), At(100_000, 20), At(1_000_000, 3), At(10_000_000, 1, seed=0)),
    "multiplication-1": (At(1000, 50), At(10_000, 20), At(100_000, 20)),
    "multiplication-2": (At(1000, 50), At(10_000, 20), At(100_000, 20)),
    "multiplication": (At(20, 50), At(100, 20), At(200, 20)),
    "logic-graph:3": (At(100, 50), At(1000, 50), At(10_000, 20)),
    "hanoi": (At(8, 50), At(12, 20), At(14, 20), At(16, 3)),
    "hanoi-recursive": (At(10, 50), At(15, 20), At(20, 3)),
    "turing:bb5": (At(1000, 50), At(100_000, 20), At(47_176_870, 0, corners=True)),
    "turing-universal": (At(1000, 50), At(100_000, 20, corners=True)),
}
"""By budget: problems a seed are 50 up to 10^5 tokens, 20 up to 10^7 and 3 beyond."""
PAPER = {
    "addition": (1000, 100),
    "multiplication-1": (1000, 100),
    "multiplication-2": (1000, 100),
    "logic-graph": (1000, 98),
    "logic-graph:3": (1000, 98),
    "hanoi": (12, 49),
    "hanoi-recursive": (9, 83),
}
TRAINED = {"multiplication": 10, "hanoi": 8, "hanoi-recursive": 7}
STEPS = {"hanoi": 5000, "logic-graph:3": 5000, "multiplication": 5000, "multiplication-2": 5000}
"""Budgets beyond the default; a run stops earlier once it is exact with the margin."""


def jobs(budget: str) -> list[Run]:
    """lookup where the task is covered, the small Mamba-2 everywhere; each length by itself, the longest first."""
    return [
        Run(
            task=task, model=model, lengths=(at,), settings=_settings(task, model, budget), paper=PAPER.get(task),
            piece=f"{at.length:,}", seeds=() if at.seed is None else (at.seed,),
        )
        for model in ("lookup", "mamba2:small" if budget == "paper" else "mamba2:tiny")
        for task, lengths in (FAR if budget == "paper" else SMALL).items()
        for at in reversed(lengths)
    ]  # fmt: skip


def _settings(task: str, model: str, budget: str) -> dict[str, int]:
    if budget == "small":
        return {}
    length = {"train_length": TRAINED[task]} if task in TRAINED else {}
    steps = {"steps": STEPS[task]} if task in STEPS and model != "lookup" else {}
    return length | steps


RECIPE = Recipe(
    title="How far",
    about="The longest problems that we verify, teacher-forced: what free running would do, by induction. The paper's "
    "numbers are those of its best model there (it tests up to 1,000 digits and nodes).",
    jobs=jobs,
)

"""What several recipes share: models and settings of each budget, lengths of each task, the paper's results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tallystick.studies.base import At, Run

MODELS = ("lookup", "mamba2", "mamba1", "lstm", "gru", "pythia", "nope", "mistral")
"""Every model of the paper (its Mamba is mamba1), and of ours lookup, mamba2 and a Transformer without positions."""
GROWING = ("pythia", "nope", "hybrid", "rmt")
"""Their state grows with the length, so fewer rows side by side fit."""
LENGTHS: dict[str, dict[str, tuple[int, ...]]] = {
    "addition": {"small": (5, 10, 20, 100, 1000), "paper": (5, 10, 20, 50, 100, 200, 500, 1000)},
    "multiplication-1": {"small": (10, 20, 100, 1000), "paper": (10, 13, 20, 50, 100, 200, 500, 1000)},
    "multiplication-2": {"small": (10, 20, 100, 500), "paper": (10, 14, 20, 50, 100, 200, 500, 1000)},
    "logic-graph": {"small": (10, 20, 100, 300), "paper": (10, 20, 50, 100, 200, 500, 1000)},
    "hanoi": {"small": (6, 7, 8, 9), "paper": (8, 9, 10, 11, 12)},
    "hanoi-recursive": {"small": (6, 7, 8, 10), "paper": (7, 8, 9, 10, 12)},
}
TRAINED = {"hanoi": 8, "hanoi-recursive": 7}
"""The paper's training lengths, where our default is shorter."""
PAPER: dict[str, dict[str, tuple[int, float] | str]] = {
    "addition": {"mamba": (1000, 100), "lstm": (1000, 100), "gru": (1000, 80), "pythia": "fails early",
                 "mistral": "fails early"},
    "multiplication-1": {"mamba": (1000, 100), "lstm": (500, 100), "gru": (500, 100), "pythia": (20, 79),
                         "mistral": (13, 25)},
    "multiplication-2": {"mamba": (1000, 100), "lstm": (100, 100), "gru": (100, 100), "pythia": (14, 12),
                         "mistral": (20, 33)},
    "logic-graph": {"mamba": (1000, 98), "lstm": (1000, 100), "gru": (1000, 100), "pythia": (1000, 5),
                    "mistral": (500, 9)},
    "hanoi": {"mamba": (12, 49), "lstm": (8, 100), "gru": (8, 100), "pythia": (8, 100), "mistral": (8, 100)},
    "hanoi-recursive": {"mamba": (8, 100), "lstm": (9, 83), "gru": (8, 100), "pythia": (7, 100), "mistral": (8, 87)},
}  # fmt: skip
"""By task and model: the largest length with at least 5 %, and the percent exact there, at its best."""
BEST = (
    "The paper's numbers are the best of 2 seeds (Hanoi: 10 or 3) and a grid of settings, and those of its Mamba stand "
    "beside both of ours; ours are all seeds of one setting, with the local program that `check` certifies."
)


def preset(model: str, budget: str) -> str:
    """name:preset; lookup has but one."""
    return model if model == "lookup" else f"{model}:{'paper' if budget == 'paper' else 'tiny'}"


def settings(task: str, model: str, budget: str) -> dict[str, Any]:
    """Settings of training. Paper: 2,000 steps of 16,384 tokens, a little less than 128 additions, its smallest batch;
    a run stops earlier once it is exact with the margin.

    Its grid, of which it reports the best, is not searched: learning rate 1e-4, 3e-4, 5e-4, 1e-3, 3e-3, 5e-3; batch
    128, 256, 512, 1024; weight decay 0, 0.01.
    """
    if model == "lookup":
        return {}
    if budget == "small":
        return {"steps": 2000} if model in GROWING else {}
    rows = {"batch_size": 4, "seq_len": 4096} if model in GROWING else {"batch_size": 16, "seq_len": 1024}
    length = {"train_length": TRAINED[task]} if task in TRAINED else {}
    return {"steps": 2000, "lr": 5e-4, **rows, **length}


def paper(task: str, model: str) -> tuple[int, float] | str | None:
    """What the paper reports."""
    name = "mamba" if model.startswith("mamba") else model
    return PAPER.get(task, {}).get(name)


def sweep(
    task: str, budget: str, models: Iterable[str] = MODELS, *, at: Iterable[At] = (), variant: str = "",
    panel: str = "", given: Mapping[str, Any] = {}, seeds: Mapping[str, tuple[int, ...]] = {},
) -> list[Run]:  # fmt: skip
    """A run for each model; at: where it is measured, by default the task's lengths; given: settings of all;
    seeds: of some of the models."""
    lengths = tuple(at) or tuple(At(length) for length in LENGTHS[task][budget])
    return [
        Run(
            task=task, variant=variant, model=preset(model, budget), lengths=lengths, panel=panel or task,
            settings={**settings(task, model, budget), **({} if model == "lookup" else given)},
            paper=paper(task, model), line=preset(model, budget), seeds=seeds.get(model, ()),
        )
        for model in models
    ]  # fmt: skip

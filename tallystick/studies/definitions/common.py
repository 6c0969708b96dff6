"""The parts that several studies share: models, lengths, settings, and the paper's results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tallystick.studies.framework.experiment import At, Experiment, Setting

MODELS = ("lookup", "mamba2", "mamba1", "lstm", "gru", "pythia", "nope", "mistral")
"""The paper's models (its Mamba is mamba1), and ours: lookup, mamba2 and nope."""
GROWING = ("pythia", "nope", "hybrid", "rmt")
"""Models whose state grows with the length, so that fewer sequences fit in a batch."""
LENGTHS: dict[str, dict[str, tuple[int, ...]]] = {
    "addition": {"small": (5, 10, 20, 100, 1000), "paper": (5, 10, 20, 50, 100, 200, 500, 1000)},
    "multiplication-1": {"small": (10, 20, 100, 1000), "paper": (10, 13, 20, 50, 100, 200, 500, 1000)},
    "multiplication-2": {"small": (10, 20, 100, 500), "paper": (10, 14, 20, 50, 100, 200, 500, 1000)},
    "logic-graph": {"small": (10, 20, 100, 300), "paper": (10, 20, 50, 100, 200, 500, 1000)},
    "hanoi": {"small": (6, 7, 8, 9), "paper": (8, 9, 10, 11, 12)},
    "hanoi-recursive": {"small": (6, 7, 8, 10), "paper": (7, 8, 9, 10, 12)},
}
MULTIPLICATION = {"small": (20, 100, 300), "paper": (20, 50, 100, 200, 500, 1000)}
"""Lengths of multiplication in figures 7 to 9."""
ABLATIONS = {"small": (5, 6, 8, 10, 20, 100, 1000), "paper": (5, 6, 7, 8, 10, 20, 50, 100, 1000)}
"""Lengths of the ablations of addition."""
TRAINED = {"hanoi": 8, "hanoi-recursive": 7}
"""The paper's training lengths of the tasks whose default is shorter here."""
PAPER: dict[str, dict[str, tuple[int, float] | str]] = {
    "addition": {"mamba": (1000, 100), "lstm": (1000, 100), "gru": (1000, 80), "pythia": "fails early",
                 "mistral": "fails early", "hybrid": (1000, 100), "rmt": (5, 100)},
    "multiplication-1": {"mamba": (1000, 100), "lstm": (500, 100), "gru": (500, 100), "pythia": (20, 79),
                         "mistral": (13, 25)},
    "multiplication-2": {"mamba": (1000, 100), "lstm": (100, 100), "gru": (100, 100), "pythia": (14, 12),
                         "mistral": (20, 33)},
    "logic-graph": {"mamba": (1000, 98), "lstm": (1000, 100), "gru": (1000, 100), "pythia": (1000, 5),
                    "mistral": (500, 9)},
    "hanoi": {"mamba": (12, 49), "lstm": (8, 100), "gru": (8, 100), "pythia": (8, 100), "mistral": (8, 100)},
    "hanoi-recursive": {"mamba": (8, 100), "lstm": (9, 83), "gru": (8, 100), "pythia": (7, 100), "mistral": (8, 87)},
}  # fmt: skip
"""The paper's best results by task and model: the largest length with at least 5 % exact, and the percentage there."""
PAPER_FORMS = {
    "local": (1000, 100),
    "direct": "100 % at 5, hardly beyond",
    "reversed": "100 % at 5, hardly beyond",
    "no-tool": "poor even at 5",
    "calculator": "100 % at 5, hardly beyond",
}
"""The paper's results in the ablations of addition (Mamba), by variant of the task."""
BEST = (
    "The paper's numbers are the best of 2 seeds (Hanoi: 10 or 3) and a grid of settings, and those of its Mamba stand "
    "beside both of ours; ours are all seeds of one setting, with the local program that `check` certifies."
)


def preset(model: str, budget: str) -> str:
    """Return the model with its preset for a budget; lookup has only one preset."""
    return model if model == "lookup" else f"{model}:{'paper' if budget == 'paper' else 'tiny'}"


def settings(task: str, model: str, budget: str) -> dict[str, Setting]:
    """Return the training settings that differ from the defaults.

    Budget "paper": 2,000 steps of 16,384 tokens, a little less than 128 additions, which is the paper's smallest batch.
    A run stops earlier once it is exact with the margin. The paper's grid, whose best result it reports, is not
    searched: learning rate 1e-4, 3e-4, 5e-4, 1e-3, 3e-3, 5e-3; batch 128, 256, 512, 1024; weight decay 0, 0.01.
    """
    if model == "lookup":
        return {}
    if budget == "small":
        return {"steps": 2000} if model in GROWING else {}
    batch = {"batch_size": 4, "seq_len": 4096} if model in GROWING else {"batch_size": 16, "seq_len": 1024}
    length = {"train_length": TRAINED[task]} if task in TRAINED else {}
    return {"steps": 2000, "lr": 5e-4, **batch, **length}


def paper(task: str, model: str) -> tuple[int, float] | str | None:
    """Return the paper's result for a model."""
    return PAPER.get(task, {}).get("mamba" if model.startswith("mamba") else model)


def best(task: str) -> tuple[int, float] | None:
    """Return the paper's best result on a task over all models, ignoring the task's options."""
    results = PAPER.get(task.partition(":")[0], {}).values()
    return max((result for result in results if isinstance(result, tuple)), default=None)


def sweep(
    task: str, budget: str, models: Iterable[str] = MODELS, *, at: Iterable[At] = (), variant: str = "",
    panel: str = "", seeds: Mapping[str, tuple[int, ...]] = {},
) -> list[Experiment]:  # fmt: skip
    """Declare one experiment per model.

    at: lengths of measurement; by default 50 problems at each of the task's lengths. seeds: by model, for those whose
    seeds are not the study's.
    """
    places = tuple(at) or tuple(At(length) for length in LENGTHS[task][budget])
    return [
        Experiment(
            task=task, variant=variant, model=preset(model, budget), at=places, panel=panel,
            settings=settings(task, model, budget), paper=paper(task, model), seeds=seeds.get(model, ()),
        )
        for model in models
    ]  # fmt: skip

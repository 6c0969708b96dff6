"""Theorem 2.1 (paper, section 1): without a tool, or after one command, a state of b bits allows at most 2^b answers.

The answer of a model without a tool, or after the last observation, is determined by the state in which the answer
begins. So at most the share of the 2^b likeliest answers can be right, and that share falls with the length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tallystick import models, tasks
from tallystick.evaluation.statistics import wilson
from tallystick.studies.framework.cells import Cell, Place
from tallystick.studies.framework.experiment import At, Experiment, Setting
from tallystick.studies.framework.markdown import document, table
from tallystick.studies.theory.answers import EXACT, LONGEST, bites, share

MODELS = ("bits:16", "bits:32", "bits:64", "mamba2:tiny")
BELOW = (1.0, 0.5, 0.01)
"""Shares of right answers; for each, the length is given from which on it is out of reach."""
SAMPLES = 1000
"""Number of problems of each length."""
SETTINGS: dict[str, Setting] = {"batch_size": 64, "seq_len": 32, "lr": 0.002, "state_passing": 0}
"""Training settings of models without tools, whose examples have about a dozen tokens."""
CURRICULUM = 100
"""Examples of the curriculum per step of the budget: lengths grow over a little more than half of training."""

Found = Mapping[str, Mapping[Place, Cell]]
"""Each measured model's cells by place."""


def experiment(
    task: str, model: str, lengths: Sequence[int], steps: int | None = None, samples: int = SAMPLES
) -> Experiment:
    """Declare the training of a model on a task without a tool; steps: by default the task's.

    Raises ValueError for a task without the variant `direct`.
    """
    budget = steps or tasks.load(task, "direct").defaults.steps
    return Experiment(
        task=task, variant="direct", model=model, problem_seed=0,
        at=tuple(At(length, samples, worst_cases=True) for length in lengths),
        settings={**SETTINGS, "steps": budget, "curriculum": CURRICULUM * budget},
    )  # fmt: skip


def state_bits(name: str, vocab_size: int) -> int:
    """Return the number of bits of a model's state, without allocating it. Raises ValueError if the state grows."""
    with torch.device("meta"):
        model = models.build(name, vocab_size=vocab_size)
    if not model.fixed_state:
        raise ValueError(f"{name}'s state grows with its input; choose a model of fixed state, as theorem 2.1 requires")
    return 8 * model.state_bytes(1)


def bounds(task: str, names: Sequence[str], lengths: Sequence[int], found: Found) -> list[dict[str, Any]]:
    """Return for each model the lengths from which its state is too small, and the bound at each given length.

    Raises ValueError for a task without counted answers, and for a model whose state grows.
    """
    bits = {name: state_bits(name, len(tasks.load(task).vocab)) for name in names}
    return [
        {
            "model": name,
            "bits": bits[name],
            "below": [{"share": below, "from": bites(task, bits[name], below)} for below in BELOW],
            "rows": [_row(length, share(task, length, bits[name]), found.get(name, {})) for length in lengths],
        }
        for name in names
    ]


def _row(length: int, limit: float, found: Mapping[Place, Cell]) -> dict[str, Any]:
    """Return the bound at one length with each seed's result; within: whether no seed is significantly above it."""
    cell = found.get(Place(length))
    samples = cell.problems // len(cell.counts) if cell else 0
    measured = [{"exact": n, "samples": samples, "ci95": wilson(n, samples)} for n in cell.counts] if cell else []
    return {
        "length": length,
        "bound": limit,
        "measured": measured,
        "within": all(at["ci95"][0] <= limit for at in measured),
    }


def text(task: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Format the result of `bounds` as Markdown."""
    sign = "" if task in EXACT else "at most "
    lengths = [at["length"] for at in rows[0]["rows"]]
    states = [[row["model"], f"{row['bits']:,}", *(_length(below["from"]) for below in row["below"])] for row in rows]
    shares = [
        [row["model"], *(f"{sign}{_percent(at['bound'])}{_seeds(at['measured'])}" for at in row["rows"])]
        for row in rows
    ]
    return document(
        f"{task} without a tool, or after one command: the length from which, by theorem 2.1, no weights can be right "
        "on all problems, on half of them, on one in a hundred.",
        table(["state", "bits", "not on all, from", "not on half, from", "not on 1 in 100, from"], states),
        f"The share that can be right at each length{_reached(rows)}:",
        table(["state", *(f"{n:,}" for n in lengths)], shares),
        "A model that fails at a shorter length has not learned the task: that is no consequence of the theorem.",
    )


def _length(length: int | None) -> str:
    return f"not below {LONGEST:.0e}" if length is None else f"{length:,}"


def _reached(rows: Sequence[Mapping[str, Any]]) -> str:
    samples = {each["samples"] for row in rows for at in row["rows"] for each in at["measured"]}
    return f", and in brackets what each seed reached (% of {max(samples):,} problems)" if samples else ""


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %" if value > 1e-6 else "< 0.0001 %"


def _seeds(measured: Sequence[Mapping[str, Any]]) -> str:
    shares = ", ".join(f"{100 * at['exact'] / at['samples']:.3g}" for at in measured)
    return f" ({shares})" if measured else ""

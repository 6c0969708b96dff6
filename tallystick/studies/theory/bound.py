"""Theorem 2.1 (paper, section 1): alone, or after one command, a state of b bits leads to at most 2^b answers.

What a model answers without a tool, or after the last observation, is decided by the state that it begins the answer
in. So at most the share of the 2^b likeliest answers can be right, and that share falls with the length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tallystick import models, tasks
from tallystick.studies.theory.answers import EXACT, LONGEST, bites, share
from tallystick.studies.theory.measure import measure, table

MODELS = ("bits:16", "bits:32", "bits:64", "mamba2:tiny")
BELOW = (1.0, 0.5, 0.01)
"""Shares of right answers for which the length is given from which they are out of reach."""
SETTINGS = {"batch_size": "64", "seq_len": "32", "lr": "0.002", "state_passing": "0"}
"""How models without tools are trained: their examples are a dozen tokens."""
CURRICULUM = 100
"""The shortest come first: lengths grow over so many examples a step of the budget, a little more than half of it."""


def bound(
    task: str,
    names: list[str],
    lengths: list[int],
    seeds: list[int],
    *,
    steps: int | None = None,
    device: str = "cpu",
    samples: int = 1000,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """For each model the lengths from which its state is too small, and what it can reach at the lengths given.

    seeds: train it with each of these on the task's variant `direct`, and measure it beside the bound; steps: the
    budget; device: where; samples: problems of each length. report: takes a line a run. Raises ValueError for a task
    without counted answers or, with seeds, without that variant, and for a model whose state grows.
    """
    rows = []
    for name in names:
        bits = state_bits(name, len(tasks.load(task).vocab))
        runs = [_measured(task, name, seed, lengths, samples, report, steps=steps, device=device) for seed in seeds]
        rows.append(
            {
                "model": name,
                "bits": bits,
                "below": [{"share": below, "from": bites(task, bits, below)} for below in BELOW],
                "rows": [_row(runs, n, share(task, n, bits)) for n in lengths],
                "runs": runs,
            }
        )
    return {"theorem": "2.1", "task": task, "exact": task in EXACT, "lengths": lengths, "models": rows}


def state_bits(name: str, vocab_size: int) -> int:
    """Bits of a model's state, without its weights. Raises ValueError if it grows with what is read."""
    with torch.device("meta"):
        model = models.build(name, vocab_size=vocab_size)
    if not model.fixed_state:
        raise ValueError(f"{name}'s state grows with what it reads: theorem 2.1 is about states of fixed size")
    return 8 * model.state_bytes(1)


def _measured(task, name, seed, lengths, samples, report, **given) -> dict[str, Any]:
    direct = tasks.load(task, "direct")
    steps = given["steps"] or direct.defaults.steps
    overrides = SETTINGS | {"curriculum": str(CURRICULUM * steps)}
    run = measure(direct, name, seed, lengths, samples, overrides, **given)
    exact = ", ".join(f"{row['exact']} at {row['length']}" for row in run["rows"] if not row["worst_cases"])
    report(f"{name}, seed {seed}: {run['trained']['seconds']:.0f} s; exact of {samples}: {exact}")
    return run


def _row(runs: list[dict[str, Any]], length: int, limit: float) -> dict[str, Any]:
    """The bound at one length with each seed's exact problems; within: whether none is surely above it."""
    rows = [(run["seed"], row) for run in runs for row in run["rows"] if row["length"] == length]
    measured = [
        {"seed": seed, "exact": row["exact"], "samples": row["samples"], "ci95": row["ci95"]}
        for seed, row in rows
        if not row["worst_cases"]
    ]
    return {
        "length": length,
        "bound": limit,
        "measured": measured,
        "within": all(at["ci95"][0] <= limit for at in measured),
    }


def text(report: dict[str, Any]) -> str:
    """The report in Markdown."""
    sign = "" if report["exact"] else "at most "
    states = [
        [row["model"], f"{row['bits']:,}", *(_length(below["from"]) for below in row["below"])]
        for row in report["models"]
    ]
    shares = [
        [row["model"], *(f"{sign}{_percent(at['bound'])}{_seeds(at['measured'])}" for at in row["rows"])]
        for row in report["models"]
    ]
    measured = any(row["runs"] for row in report["models"])
    return (
        f"{report['task']} without a tool, or after one command: the length from which, by theorem 2.1, no weights can "
        "be right on all problems, on half of them, on one in a hundred\n\n"
        + table(["state", "bits", "not on all, from", "not on half, from", "not on 1 in 100, from"], states)
        + f"\nThe share that can be right at each length{_reached(report) * measured}:\n\n"
        + table(["state", *(f"{n:,}" for n in report["lengths"])], shares)
        + "\nA model that fails at a shorter length has not learned the task: that is no consequence of the theorem.\n"
    )


def _length(length: int | None) -> str:
    return f"not below {LONGEST:.0e}" if length is None else f"{length:,}"


def _reached(report: dict[str, Any]) -> str:
    runs = [run for row in report["models"] for run in row["runs"]]
    samples = max(row["samples"] for run in runs for row in run["rows"]) if runs else 0
    return f", and in brackets what each seed reached (% of {samples:,} problems)"


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %" if value > 1e-6 else "< 0.0001 %"


def _seeds(measured: list[dict[str, Any]]) -> str:
    shares = ", ".join(f"{100 * at['exact'] / at['samples']:.3g}" for at in measured)
    return f" ({shares})" if measured else ""

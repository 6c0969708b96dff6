"""The documents of `tallystick theory`: a theorem's bounds for any task or machine, beside the results of models."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tallystick import models
from tallystick.studies.framework.cells import cells
from tallystick.studies.framework.experiment import Experiment
from tallystick.studies.framework.measure import measure
from tallystick.studies.framework.schema import Outcome, rows_of, training_of
from tallystick.studies.theory import bound, universal
from tallystick.studies.theory.answers import EXACT, share

Say = Callable[[str], None]
"""A callback that receives a line of progress."""


def report_bound(
    task: str,
    names: Sequence[str],
    lengths: Sequence[int],
    seeds: Sequence[int],
    *,
    steps: int | None = None,
    device: str = "cpu",
    samples: int = bound.SAMPLES,
    say: Say = lambda line: None,
) -> tuple[dict[str, Any], str]:
    """Return the document and Markdown of theorem 2.1; with seeds, models are trained without a tool and measured.

    Raises ValueError, before anything is trained, for a task without counted answers or, with seeds, without the
    variant `direct`, and for a model whose state grows.
    """
    share(task, 1, 1)
    bound.bounds(task, names, lengths, {})
    declared = [bound.experiment(task, name, lengths, steps, samples) for name in names if seeds]
    done = {each.model: _measured(each, seeds, device, say) for each in declared}
    rows = bound.bounds(task, names, lengths, {name: cells(runs.values()) for name, runs in done.items()})
    models = [row | {"runs": _documents(row["model"], done.get(row["model"], {}))} for row in rows]
    head = {"theorem": "2.1", "task": task, "exact": task in EXACT, "lengths": list(lengths)}
    return head | {"models": models}, bound.text(task, rows)


def report_universal(
    machine: str,
    names: Sequence[str],
    lengths: Sequence[int],
    seeds: Sequence[int],
    epsilon: float = 0.05,
    delta: float = 0.05,
    *,
    say: Say = lambda line: None,
) -> tuple[dict[str, Any], str]:
    """Return the document and Markdown of theorem 2.2: the bound, lookup's needed samples, and the results of models.

    machine: a name or file, as for turing. Raises ValueError for what is no machine, model or share.
    """
    theorem = universal.Bound.of(machine, epsilon, delta)
    for name in names:  # before the work
        models.resolve(name, vocab_size=1)
    needed = {seed: samples_needed(theorem.task, seed, max(lengths), epsilon) for seed in seeds}
    say(f"{theorem.task}: lookup needs {', '.join(map(str, needed.values()))} samples")
    done = {name: _measured(universal.experiment(theorem.task, name, lengths), seeds, "cpu", say) for name in names}
    document = {"theorem": "2.2", **asdict(theorem), "bound": theorem.samples, "lengths": list(lengths)}
    document["needed"] = [{"seed": seed, "examples": count} for seed, count in needed.items()]
    document["runs"] = [run for name, runs in done.items() for run in _documents(name, runs)]
    shown = [(name, seed, outcome) for name, runs in done.items() for seed, outcome in runs.items()]
    return document, universal.text(theorem, needed, lengths, shown)


def samples_needed(task: str, seed: int, length: int, epsilon: float) -> int | None:
    """Return the fewest samples with which lookup is wrong on at most a share of epsilon at this length."""

    def exact(count: int) -> int:
        outcome = _measured(universal.of_samples(task, count, length), [seed], "cpu", lambda line: None)[seed]
        return rows_of(outcome)[0].exact

    return universal.samples_needed(exact, epsilon)


def _measured(experiment: Experiment, seeds: Sequence[int], device: str, say: Say) -> dict[int, Outcome]:
    """Train and measure with each seed, in temporary folders."""
    done = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            done[seed] = measure(experiment, seed, device, say, Path(folder))
            exact = ", ".join(f"{row.exact}/{row.samples} at {row.length:,}" for row in rows_of(done[seed]))
            say(f"{experiment.line}, seed {seed}: {training_of(done[seed]).seconds:.0f} s; exact: {exact}")
    return done


def _documents(model: str, runs: Mapping[int, Outcome]) -> list[dict[str, Any]]:
    return [
        {
            "model": model,
            "seed": seed,
            "training": asdict(training_of(outcome)),
            "rows": [asdict(row) for row in rows_of(outcome)],
        }
        for seed, outcome in runs.items()
    ]

"""Theorem 2.2 (paper, section 1): through a tape, a string matcher learns any Turing machine from short runs.

Its bound: m = n0 M log(M / delta) / epsilon samples of at most n0 steps, M = states x symbols, are enough to be wrong
on a share of at most epsilon at any length, with probability 1 - delta.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tallystick import models, tasks
from tallystick.evaluation.verify import verify
from tallystick.locality import sequences
from tallystick.studies.theory.measure import measure, table
from tallystick.tasks.turing import Turing

MODELS = ("lookup", "mamba2:tiny")
SAMPLES = 20
"""Problems of each length."""
MOST = 4096
"""Samples that the string matcher is given at most, when it is asked how many it needs."""


def universal(
    machine: str,
    names: list[str],
    lengths: list[int],
    seeds: list[int],
    epsilon: float = 0.05,
    delta: float = 0.05,
    *,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Exactness of each model and seed at each length, and how many samples lookup needs beside the bound.

    machine: a name or file, as for turing. report: takes a line a run. Raises ValueError for what is no machine.
    """
    task = tasks.load(f"turing:{machine}")
    assert isinstance(task, Turing)
    states, symbols = len(task.machine.states), len(task.machine.symbols)
    n0 = task.defaults.train_length
    enough = sample_bound(n0, states * symbols, epsilon, delta)
    needed = [{"seed": seed, "examples": samples_needed(task, seed, max(lengths), epsilon)} for seed in seeds]
    report(f"{task.name}: lookup needs {', '.join(str(row['examples']) for row in needed)} samples")
    runs = []
    for name in names:
        for seed in seeds:
            runs.append(measure(task, name, seed, lengths, SAMPLES, {}))
            seconds, exact = runs[-1]["trained"]["seconds"], _exact(runs[-1], lengths[-1])
            report(f"{name}, seed {seed}: {seconds:.0f} s; exact at {lengths[-1]}: {exact}")
    return {
        "theorem": "2.2",
        "task": task.name,
        "states": states,
        "symbols": symbols,
        "train_length": n0,
        "epsilon": epsilon,
        "delta": delta,
        "bound": enough,
        "needed": needed,
        "lengths": lengths,
        "runs": runs,
    }


def sample_bound(n0: int, pairs: int, epsilon: float, delta: float) -> int:
    """The theorem's m. Raises ValueError if epsilon or delta is no probability."""
    for name, value in (("epsilon", epsilon), ("delta", delta)):
        if not 0 < value < 1:
            raise ValueError(f"{name} {value} must be between 0 and 1")
    return math.ceil(n0 * pairs * math.log(pairs / delta) / epsilon)


def samples_needed(task: tasks.Task, seed: int, length: int, epsilon: float) -> int | None:
    """The fewest samples, a power of 2, from which lookup is wrong on at most a share of epsilon at this length."""
    prompts = [task.problem("test", seed, length, i) for i in range(SAMPLES)]
    count = 1
    while count <= MOST:
        examples = sequences.sample(task, "train", seed, task.defaults.train_length, count)
        model = models.build("lookup", vocab_size=len(task.vocab)).fit(examples)
        if sum(result.exact for result in verify(model, task, prompts)) >= (1 - epsilon) * SAMPLES:
            return count
        count *= 2
    return None


def text(report: dict[str, Any]) -> str:
    """The report in Markdown."""
    pairs = report["states"] * report["symbols"]
    counts = [str(row["examples"] or f"more than {MOST}") for row in report["needed"]]
    rows = [
        [
            *(run["model"], run["seed"], f"{run['trained']['examples']:,}", f"{run['trained']['seconds']:.0f}"),
            *(_exact(run, length) for length in report["lengths"]),
            f"{min(row['min_margin'] for row in run['rows']):.1f}",
        ]
        for run in report["runs"]
    ]
    head = ["model", "seed", "samples", "seconds", *(f"{n:,}" for n in report["lengths"]), "smallest margin"]
    return (
        f"{report['task']}: {report['states']} states, {report['symbols']} symbols, M = {pairs}; trained on at most "
        f"n0 = {report['train_length']} steps. The theorem's bound on the samples, for a share of at most epsilon = "
        f"{report['epsilon']} wrong with probability 1 - delta = {1 - report['delta']:.4g}: {report['bound']:,}. "
        f"lookup needed {', '.join(counts)} (powers of 2 tried; seeds "
        f"{', '.join(str(row['seed']) for row in report['needed'])}; wrong on at most epsilon of {SAMPLES} problems of "
        f"{max(report['lengths']):,} steps).\n\nExact problems at each number of steps, random tapes and states + the "
        "blank tape:\n\n" + table(head, rows)
    )


def _exact(run: dict[str, Any], length: int) -> str:
    """Random problems and worst cases of one length, as 20/20 + 1/1."""
    rows = [row for row in run["rows"] if row["length"] == length]
    return " + ".join(f"{row['exact']}/{row['samples']}" for row in rows)

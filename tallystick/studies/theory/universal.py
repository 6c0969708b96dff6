"""Theorem 2.2 (paper, section 1): through a tape, a string matcher learns any Turing machine from short runs.

Its bound: m = n0 M log(M / delta) / epsilon samples of at most n0 steps, M = states x symbols, are enough to be wrong
on a share of at most epsilon at any length, with probability 1 - delta.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tallystick import tasks
from tallystick.studies.framework.experiment import At, Experiment
from tallystick.studies.framework.markdown import document, table
from tallystick.studies.framework.schema import Outcome, rows_of, training_of
from tallystick.tasks.turing import Turing

MODELS = ("lookup", "mamba2:tiny")
SAMPLES = 20
"""Problems of each length."""
MOST = 4096
"""Samples that the string matcher is given at most, when it is asked how many it needs."""


LEAST = 1e-12
"""The smallest share or chance that a bound is computed for."""


@dataclass(frozen=True)
class Bound:
    """The theorem's bound for one machine."""

    task: str
    states: int
    symbols: int
    train_length: int
    """Steps of the longest samples, the theorem's n0."""
    epsilon: float
    """Share of problems that may be wrong."""
    delta: float
    """Chance that more are."""

    @classmethod
    def of(cls, machine: str, epsilon: float = 0.05, delta: float = 0.05) -> Bound:
        """Take a machine by name or file, as for turing. Raises ValueError for what is no machine or no share."""
        task = tasks.load(f"turing:{machine}")
        assert isinstance(task, Turing)
        for name, value in (("epsilon", epsilon), ("delta", delta)):
            if not LEAST <= value < 1:
                raise ValueError(f"{name} {value} must be at least {LEAST:g} and less than 1")
        states, symbols = len(task.machine.states), len(task.machine.symbols)
        return cls(task.name, states, symbols, task.defaults.train_length, epsilon, delta)

    @property
    def pairs(self) -> int:
        """The theorem's M."""
        return self.states * self.symbols

    @property
    def samples(self) -> int:
        """The theorem's m: so many samples are enough."""
        return math.ceil(self.train_length * self.pairs * math.log(self.pairs / self.delta) / self.epsilon)


def experiment(task: str, model: str, lengths: Sequence[int]) -> Experiment:
    """Declare the training of a model on short runs of the machine."""
    at = tuple(At(length, SAMPLES, worst_cases=True) for length in lengths)
    return Experiment(task=task, model=model, at=at, problem_seed=0)


def of_samples(task: str, count: int, length: int) -> Experiment:
    """Declare lookup, given so many samples."""
    return Experiment(
        task=task,
        model="lookup",
        settings={"examples": count},
        at=(At(length, SAMPLES),),
        line=f"lookup, {count} samples",
    )


def counts() -> Iterator[int]:
    """Yield the numbers of samples that are tried: powers of 2."""
    count = 1
    while count <= MOST:
        yield count
        count *= 2


def samples_needed(exact: Callable[[int], int | None], epsilon: float) -> int | None:
    """Find the fewest samples with which lookup is wrong on a share of at most epsilon; None if none tried are enough.

    exact: the exact problems, of SAMPLES, that lookup solves with so many samples; None where it is not known.
    """
    for count in counts():
        found = exact(count)
        if found is not None and found >= (1 - epsilon) * SAMPLES:
            return count
    return None


Done = tuple[str, int, Outcome]
"""A model, its seed, and the outcome."""


def text(theorem: Bound, needed: Mapping[int, int | None], lengths: Sequence[int], done: Sequence[Done]) -> str:
    """Write the bound, the samples that lookup needed by seed, and every model's exact problems in Markdown."""
    found = ", ".join(str(count or f"more than {MOST}") for count in needed.values())
    head = ["model", "seed", "samples", "seconds", *(f"{n:,}" for n in lengths), "smallest margin"]
    tried = (
        f" lookup needed {found} (powers of 2 tried; seeds {', '.join(map(str, needed))}; wrong on at most epsilon of "
        f"{SAMPLES} problems of {max(lengths):,} steps)."
    )
    return document(
        f"{theorem.task}: {theorem.states} states, {theorem.symbols} symbols, M = {theorem.pairs}; trained on at "
        f"most n0 = {theorem.train_length} steps. The theorem's bound on the samples, for a share of at most epsilon = "
        f"{theorem.epsilon} wrong with probability 1 - delta = {1 - theorem.delta:.4g}: {theorem.samples:,}."
        f"{tried if needed else ''}",
        "Exact problems at each number of steps, random tapes and states + the blank tape:",
        table(head, [_row(*each, lengths) for each in done]),
    )


def _row(model: str, seed: int, outcome: Outcome, lengths: Sequence[int]) -> list[Any]:
    training = training_of(outcome)
    margins = [row.min_margin for row in rows_of(outcome) if row.min_margin is not None]
    return [
        *(model, seed, f"{training.examples:,}", f"{training.seconds:.0f}"),
        *(exact_at(outcome, length) for length in lengths),
        f"{min(margins):.1f}",
    ]


def exact_at(outcome: Outcome, length: int) -> str:
    """Write the exact random problems and worst cases of one length, such as 20/20 + 1/1."""
    return " + ".join(f"{row.exact}/{row.samples}" for row in rows_of(outcome) if row.length == length)

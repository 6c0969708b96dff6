"""Theorem 2.2 (paper, section 1): with a tape, a string matcher learns any Turing machine from short runs.

Its bound: m = n0 M log(M / delta) / epsilon samples of at most n0 steps, M = states x symbols, suffice for an error
rate of at most epsilon at any length, with probability 1 - delta.
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
"""Number of problems of each length."""
MOST = 4096
"""Maximum number of samples tried in the search for the number that lookup needs."""


LEAST = 1e-12
"""The smallest share or chance that a bound is computed for."""


@dataclass(frozen=True)
class Bound:
    """The theorem's bound for one machine."""

    task: str
    states: int
    symbols: int
    train_length: int
    """Number of steps of the longest samples, the theorem's n0."""
    epsilon: float
    """Share of problems that may be wrong."""
    delta: float
    """Probability that more are wrong."""

    @classmethod
    def of(cls, machine: str, epsilon: float = 0.05, delta: float = 0.05) -> Bound:
        """Build the bound of a machine, given by name or file as for the task turing.

        Raises ValueError for an unknown machine, or an epsilon or delta that is not between 0 and 1.
        """
        task = tasks.load(f"turing:{machine}")
        assert isinstance(task, Turing)
        for name, value in (("epsilon", epsilon), ("delta", delta)):
            if not LEAST <= value < 1:
                raise ValueError(f"{name} {value} must be at least {LEAST:g} and less than 1")
        states, symbols = len(task.machine.states), len(task.machine.symbols)
        return cls(task.name, states, symbols, task.defaults.train_length, epsilon, delta)

    @property
    def pairs(self) -> int:
        """The theorem's M, the number of pairs of state and symbol."""
        return self.states * self.symbols

    @property
    def samples(self) -> int:
        """The theorem's m, a sufficient number of samples."""
        return math.ceil(self.train_length * self.pairs * math.log(self.pairs / self.delta) / self.epsilon)


def experiment(task: str, model: str, lengths: Sequence[int]) -> Experiment:
    """Declare the training of a model on short runs of a machine."""
    at = tuple(At(length, SAMPLES, worst_cases=True) for length in lengths)
    return Experiment(task=task, model=model, at=at, problem_seed=0)


def of_samples(task: str, count: int, length: int) -> Experiment:
    """Declare lookup fitted to `count` samples."""
    return Experiment(
        task=task,
        model="lookup",
        settings={"examples": count},
        at=(At(length, SAMPLES),),
        line=f"lookup, {count} samples",
    )


def counts() -> Iterator[int]:
    """Yield the numbers of samples to try: powers of 2."""
    count = 1
    while count <= MOST:
        yield count
        count *= 2


def samples_needed(exact: Callable[[int], int | None], epsilon: float) -> int | None:
    """Return the fewest samples with which lookup is wrong on at most a share of epsilon; None if more than MOST.

    exact: function from a number of samples to the number of exact problems among SAMPLES; None if unknown.
    """
    for count in counts():
        found = exact(count)
        if found is not None and found >= (1 - epsilon) * SAMPLES:
            return count
    return None


Done = tuple[str, int, Outcome]
"""A model, its seed and its outcome."""


def text(theorem: Bound, needed: Mapping[int, int | None], lengths: Sequence[int], done: Sequence[Done]) -> str:
    """Format the bound, the samples that lookup needed by seed, and every model's results as Markdown."""
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
    """Format the exact random problems and worst cases of one length, such as 20/20 + 1/1."""
    return " + ".join(f"{row.exact}/{row.samples}" for row in rows_of(outcome) if row.length == length)

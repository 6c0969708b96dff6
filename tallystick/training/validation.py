"""Validation during training, on held-out problems, which decide when it ends, and on longer ones, for information."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tallystick import suffix
from tallystick.config import Settings
from tallystick.engine.result import Result
from tallystick.episode import Recorder
from tallystick.evaluation.statistics import finite, finite_error
from tallystick.evaluation.verify import verify_recorded
from tallystick.locality import held_out, programs, sequences
from tallystick.models.base import Model
from tallystick.rows import HeldOutSummary, Summary
from tallystick.tasks import Task

BEYOND_TOKENS = 5000
"""Maximum number of tokens of a problem beyond the training length that is measured during training."""
ERRORS = 3
"""Maximum number of first errors kept of the held-out problems."""


class Validation:
    """The problems on which a training run is validated."""

    def __init__(self, task: Task, settings: Settings):
        self._task, self._length, self._carries = task, settings.train_length, settings.state_passing > 0
        self.held_out, self._needed = held_out.choose(task, settings.seed, settings.train_length)
        self._k = _k(task, self.held_out)
        self._digests = [record.digest for record in self.held_out]
        self._beyond = longer_problems(task, settings)

    @property
    def digests(self) -> frozenset[str]:
        """Digests of the held-out prompts, by which training recognises that it has drawn one of them."""
        return frozenset(self._digests)

    def measure(self, model: Model, overlap: Collection[str]) -> HeldOutSummary:
        """Measure the held-out problems, each from a zero state; overlap: digests of those drawn in training."""
        results = verify_recorded(model, self._task, self.held_out)
        errors = [result.first_error for result in results if result.first_error]
        seen = sum(digest in overlap for digest in self._digests)
        return {
            **_summary(self._length, results),
            "needed": self._needed,
            "k": self._k,
            "train_overlap": seen / len(results),
            "first_errors": [finite_error(error) for error in errors[:ERRORS]],
        }

    def measure_carried(self, model: Model) -> Summary | None:
        """Measure the held-out problems, each from the previous one's final state; None if training never does this."""
        if not self._carries:
            return None
        return _summary(self._length, verify_recorded(model, self._task, self.held_out, carry=True))

    def measure_beyond(self, model: Model) -> list[Summary]:
        """Measure longer problems."""
        return [_summary(length, verify_recorded(model, self._task, records)) for length, records in self._beyond]


def _summary(length: int, results: Sequence[Result]) -> Summary:
    tokens, exact = sum(result.model_tokens for result in results), sum(result.exact for result in results)
    return {
        "length": length,
        "samples": len(results),
        "exact": exact,
        "token_accuracy": 1 - (len(results) - exact) / tokens,
        "min_margin": finite(min(result.min_margin for result in results)),
    }


def _k(task: Task, records: Sequence[Recorder]) -> int:
    """Return the fewest last tokens that decide every model token; -1 if more than `held_out.REACH`."""
    told = [sequences.of_record(task, record) for record in records]
    return suffix.build(suffix.Contexts.of(told, len(task.vocab)), held_out.REACH).k


def longer_problems(task: Task, settings: Settings) -> list[tuple[int, list[Recorder]]]:
    """Record problems of the task's two longest `eval` lengths beyond training with at most BEYOND_TOKENS tokens."""
    chosen = []
    for length in sorted(n for n in task.defaults.eval if n > settings.train_length):
        prompts = [task.problem("live", settings.seed, length, i) for i in task.indices("live", length, 4)]
        if len(programs.record(task, prompts[0], limit=BEYOND_TOKENS + 1)) <= BEYOND_TOKENS:
            chosen.append((length, prompts))
    return [(length, [programs.record(task, prompt) for prompt in prompts]) for length, prompts in chosen[-2:]]

"""The problems that training draws."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tallystick.config import RunConfig
from tallystick.tasks import Task, runner

SAMPLED, SAMPLED_TOKENS = 3, 4096
"""Problems, and tokens of each, by which two processes make sure that they draw the same."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where training problems, the examples, come from."""

    task: str
    """As for `tasks.load`."""
    variant: str | None
    """The task's program."""
    length: int
    """Examples are at most this long."""
    seed: int
    """Random seed of the examples."""
    state_passing: float = 0.0
    """Share of the examples that begin in the state that the one before them left, not in zero: the model meets states
    as old as those of problems far longer than its own (Buitrago and Gu 2025, arXiv 2507.02782)."""
    curriculum: int = 0
    """The first so many examples grow evenly from the task's shortest length to `length`. It counts examples, not
    steps, so that an example stays a pure function of its number."""

    @classmethod
    def of(cls, config: RunConfig, task: str | None = None) -> Source:
        """Make the source of a run; task: what loads it, where it is not the configured name."""
        settings = config.settings
        return cls(
            task=task or config.task,
            variant=config.variant,
            length=settings.train_length,
            seed=settings.seed,
            state_passing=settings.state_passing,
            curriculum=settings.curriculum,
        )

    def largest(self, task: Task, example: int) -> int:
        """Compute the largest length that the example may have."""
        if example >= self.curriculum:
            return self.length
        return task.min_length + (self.length - task.min_length + 1) * example // self.curriculum

    def problem(self, task: Task, example: int) -> list[str]:
        """Draw the example's prompt."""
        return task.problem("train", self.seed, self.largest(task, example), example, up_to=True)

    def fingerprint(self, task: Task) -> str:
        """Digest the vocabulary and the first trajectories: alike in every process unless the task is impure."""
        digest = hashlib.sha256(repr(task.vocab.tokens).encode())
        for example in range(SAMPLED):
            digest.update(runner.record(task, self.problem(task, example), limit=SAMPLED_TOKENS).ids.tobytes())
        return digest.hexdigest()

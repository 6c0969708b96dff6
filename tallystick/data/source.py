"""The source of the problems that training draws."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from tallystick import tasks
from tallystick.config import RunConfig
from tallystick.rows import Focus
from tallystick.tasks import Task, runner

FOCUSED = 0.5
"""Share of the examples that are drawn from a focus."""
SAMPLED, SAMPLED_TOKENS = 3, 4096
"""Number of problems, and of tokens of each, by which two processes check that they draw the same."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The source of training problems, called examples."""

    task: str
    """Name of the task, as given to `tasks.load`."""
    variant: str | None
    """Name of the task's program."""
    tokenizer: str = ""
    """Name of a text task's tokenizer; "" for the task's own."""
    length: int
    """Maximum length of the examples."""
    seed: int
    """Random seed of the examples."""
    state_passing: float = 0.0
    """Share of the examples that begin from the final state of the previous one instead of a zero state, so that the
    model meets states as old as in far longer problems (Buitrago and Gu 2025, arXiv 2507.02782)."""
    curriculum: int = 0
    """Number of examples over which the maximum length grows linearly from the task's shortest to `length`. It counts
    examples rather than steps, so that an example is a pure function of its number."""
    focus: tuple[Focus, ...] = ()
    """Problems to aim at, in the order of their first examples; the last that has begun counts."""

    @classmethod
    def of(
        cls, config: RunConfig, task: str | None = None, tokenizer: str | None = None, focus: Sequence[Focus] = ()
    ) -> Source:
        """Return the source of a run's examples; task, tokenizer: names to load, if other than the configured ones."""
        settings = config.settings
        return cls(
            task=task or config.task,
            variant=config.variant,
            tokenizer=config.tokenizer if tokenizer is None else tokenizer,
            length=settings.train_length,
            seed=settings.seed,
            state_passing=settings.state_passing,
            curriculum=settings.curriculum,
            focus=tuple(focus),
        )

    def largest(self, task: Task, example: int) -> int:
        """Return the maximum length of an example."""
        if example >= self.curriculum:
            return self.length
        return task.min_length + (self.length - task.min_length + 1) * example // self.curriculum

    def load(self) -> Task:
        """Load the task."""
        return tasks.load(self.task, self.variant, self.tokenizer)

    def problem(self, task: Task, example: int) -> list[str]:
        """Draw the prompt of an example."""
        if prompt := self.focused(example):
            return prompt
        return task.problem("train", self.seed, self.largest(task, example), example, up_to=True)

    def focused(self, example: int) -> list[str]:
        """Draw the prompt of an example from the focus; empty if this example is not drawn from one."""
        begun = [focus for focus in self.focus if focus["first"] <= example]
        if not begun:
            return []
        rng = random.Random(f"focus {self.seed} {example}")
        return rng.choice(begun[-1]["prompts"]) if rng.random() < FOCUSED else []

    def fingerprint(self, task: Task, problems: int = SAMPLED) -> str:
        """Hash the vocabulary and the first trajectories: equal in all processes unless the task is impure."""
        digest = hashlib.sha256(repr(task.vocab.tokens).encode())
        for example in range(problems):
            digest.update(runner.record(task, self.problem(task, example), limit=SAMPLED_TOKENS).ids.tobytes())
        return digest.hexdigest()

"""Which examples training draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tallystick import tasks


@dataclass(frozen=True, kw_only=True)
class Source:
    """What training examples are drawn from."""

    task: str
    """Name or file:class, as for `tasks.load`."""
    variant: str | None
    """The task's program."""
    length: int
    """Examples are at most this long."""
    seed: int
    """Of the examples."""
    state_passing: float = 0.0
    """Share of the examples that begin in the state that the one before them left, not in zero: the model meets states
    as old as those of problems far longer than its own (Buitrago and Gu 2025, arXiv 2507.02782)."""
    curriculum: int = 0
    """The first so many examples grow evenly from the task's shortest length to `length`. It counts examples, not
    steps, so that an example stays a pure function of its number."""

    @classmethod
    def of(cls, config: dict[str, Any]) -> Source:
        """The source of a run, from its config.json."""
        settings = config["settings"]
        own = {name: settings[name] for name in ("seed", "state_passing", "curriculum") if name in settings}
        return cls(task=config["task"], variant=config["variant"], length=settings["train_length"], **own)

    def largest(self, task: tasks.Task, example: int) -> int:
        """The length that the example has at most."""
        if example >= self.curriculum:
            return self.length
        return task.min_length + (self.length - task.min_length + 1) * example // self.curriculum

    def problem(self, task: tasks.Task, example: int) -> list[str]:
        """The example's prompt."""
        return task.problem("train", self.seed, self.largest(task, example), example, up_to=True)

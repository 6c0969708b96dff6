"""What a recipe is: jobs (trainings to be measured), and the paper's numbers to stand beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from tallystick import tasks
from tallystick.config import configure

if TYPE_CHECKING:
    from tallystick.studies.results import Results

BUDGETS = ("small", "paper")
"""small: minutes on one GPU, a coffee break on a CPU; paper: its sizes and steps."""


class At(NamedTuple):
    """Where a run is measured."""

    length: int
    problems: int = 50
    """Random ones; none at 0."""
    worst_cases: bool = False
    """Whether the task's worst cases are measured there, too."""
    seed: int | None = None
    """The only seed that is measured there; None: all."""
    below: tuple[int, ...] = ()
    """Shorter lengths that are measured likewise; the results keep one row for all of them."""

    @property
    def lengths(self) -> tuple[int, ...]:
        """All of them, the shortest first."""
        return *self.below, self.length

    def __str__(self):
        only = "" if self.seed is None else f" (seed {self.seed})"
        lengths = "/".join(map(str, self.lengths))
        return f"{lengths}x{self.problems}{' and worst cases' if self.worst_cases else ''}{only}"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training, and where its model is measured."""

    task: str
    model: str
    lengths: tuple[At, ...]
    variant: str = ""
    """The task's program; its first if not named."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those of training and model that are not the defaults."""
    part: str | None = None
    """Of a mixture: the task whose problems alone are measured."""
    mode: str = "verify"
    """verify or generate."""
    panel: str = ""
    """The table's section and the figure's panel that it belongs to; the task if not named."""
    line: str = ""
    """Its row there, and its line in the figure; the model if not named."""
    piece: str = ""
    """Which of a line's measurements it makes, where they are so long that they are done side by side."""
    seeds: tuple[int, ...] = ()
    """The only ones that it takes; () for the recipe's."""
    paper: tuple[int, float] | str | None = None
    """What the paper has there: the largest length with at least 5 %, and the percent exact; or a few words."""

    def __post_init__(self):
        for name, value in (("panel", self.panel or self.task), ("line", self.line or self.model)):
            object.__setattr__(self, name, value)

    @property
    def name(self) -> str:
        """As "addition: mamba2:tiny"; unique in its recipe."""
        return f"{self.panel}: {self.line}{f', {self.piece}' if self.piece else ''}"

    @property
    def plan(self) -> dict[str, Any]:
        """Everything that decides its outcome but the seed and the code, defaults too, as text: the same after a
        journey through JSON."""
        names = ("task", "variant", "model", "part", "mode")
        given = {name: getattr(self, name) for name in names}
        resolved = _resolved(self.task, self.variant, self.model, tuple(self.settings.items()))
        return given | resolved | {"lengths": ", ".join(map(str, self.lengths))}

    @property
    def train_length(self) -> int:
        """The longest problems of training."""
        return int(self.settings.get("train_length", tasks.load(self.task).defaults.train_length))


@cache
def _resolved(task: str, variant: str, model: str, settings: tuple[tuple[str, Any], ...]) -> dict[str, str]:
    """Every setting of a training, as text. Notes change none of them, and take seconds to be made."""
    loaded = tasks.load(task, variant.removesuffix(tasks.NOTES) or None)
    with torch.device("meta"):  # no weights are needed
        config = configure(loaded, model, {name: str(value) for name, value in settings})
    every = config["model_settings"] | config["settings"]
    return {name: str(value) for name, value in every.items() if name not in ("seed", "device")}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One look at a task's locality: what is predicted of it."""

    task: str
    variant: str = ""
    problems: int = 1000
    panel: str = ""
    line: str = "check"
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self):
        object.__setattr__(self, "panel", self.panel or " ".join(filter(None, (self.task, self.variant))))

    @property
    def name(self) -> str:
        """As "addition paper: check"."""
        return f"{self.panel}: {self.line}"

    @property
    def plan(self) -> dict[str, Any]:
        """As of a Run."""
        return {"task": self.task, "variant": self.variant, "check": self.problems}


Job = Run | Check
"""What a recipe does once for each of its seeds."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A table and a figure, and how to make them."""

    title: str
    about: str
    """What the paper says there, and where ours differs."""
    jobs: Callable[[str], Sequence[Job]]
    """The jobs of a budget."""
    seeds: tuple[int, ...] = (0, 1, 2)
    table: Callable[[Sequence[Job], Results], str] | None = None
    """Makes its Markdown; None: `show.markdown`."""
    figure: Callable[[Recipe, list[Run], Results], None] | None = None
    """Writes its PNG and SVG; None: `figure.draw`."""


def key(config: Mapping[str, Any]) -> str:
    """A short name for settings: the beginning of SHA-256 of their sorted JSON."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def seeds_of(job: Job, recipe: Recipe, chosen: list[int] | None) -> list[int]:
    """The seeds that a job is done with: the chosen ones, or the recipe's, as far as it takes them."""
    return [s for s in chosen or job.seeds or recipe.seeds if not job.seeds or s in job.seeds]

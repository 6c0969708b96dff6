"""Declarations of the trainings that a study measures, and of its checks of locality.

Each has a plan: everything that determines its outcome, except the seed and the code. Results are stored by the plan's
hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache

from tallystick import tasks
from tallystick.config import configure

Setting = str | int | float | bool
Plan = dict[str, str | None]
"""Everything that determines an outcome, by name; values are text, so that a plan survives JSON unchanged."""
LATER = {"dt_floor": "0.0", "precision": "fp32", "A_max": "16.0"}
"""Settings that came after runs had been stored, with the value by which nothing changes: plans leave it out."""


@dataclass(frozen=True)
class At:
    """A length at which a trained model is measured."""

    length: int
    problems: int = 50
    """Number of random problems; 0 for none."""
    worst_cases: bool = False
    """Whether the task's worst cases are also measured."""
    mode: str = "verify"
    """Mode of measurement: verify or generate."""
    seed: int | None = None
    """The only seed measured at this length; None for every seed."""
    below: tuple[int, ...] = ()
    """Shorter lengths measured in the same way; the results have one row for all of them."""

    @property
    def lengths(self) -> tuple[int, ...]:
        """All lengths, the shortest first."""
        return *self.below, self.length

    @property
    def place(self) -> str:
        """Lengths, mode and seed as text."""
        mode = "" if self.mode == "verify" else f" {self.mode}"
        return f"{'/'.join(map(str, self.lengths))}{mode}{'' if self.seed is None else f' (seed {self.seed})'}"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A training with the measurements of its model; done once for each seed."""

    task: str
    model: str
    at: tuple[At, ...]
    variant: str = ""
    """Name of the task's program; the first if empty."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Settings of training and model that differ from the defaults."""
    part: str | None = None
    """In a mixture, the only part whose problems are measured; None for all."""
    problem_seed: int | None = None
    """Seed of the measured problems; None for the experiment's own, so that each seed has other problems."""
    seeds: tuple[int, ...] = ()
    """The only seeds of the experiment; () for the study's."""
    looks_back: bool = False
    """Whether it is measured how far back the trained model looks."""
    certify: bool = False
    """Whether training goes on until the model is certified, which is tried at each validation, too, for the figure."""
    added: tuple[str, ...] = ()
    """Fields added to the plan after runs had been stored, the first one first; a run without them is shown until it is
    measured again."""
    panel: str = ""
    """Name of the table's section and figure's panel; the task if empty."""
    line: str = ""
    """Name of the table's row and figure's line; the model if empty."""
    piece: str = ""
    """Name of this part of a line's measurements, if they take so long that each is a separate experiment."""
    paper: tuple[int, float] | str | None = None
    """The paper's result: the largest length with at least 5 % exact and the percentage there, or a few words."""
    original: str = ""
    """In a view of another study, the experiment's name in that study."""

    def __post_init__(self) -> None:
        for name, value in (("panel", self.panel or self.task), ("line", self.line or self.model)):
            object.__setattr__(self, name, value)

    @property
    def name(self) -> str:
        """Name such as "addition: mamba2:tiny", unique in its results file."""
        return self.original or f"{self.panel}: {self.line}{f', {self.piece}' if self.piece else ''}"

    def shown_as(self, panel: str, line: str) -> Experiment:
        """Return the experiment at another place of a view's table."""
        return replace(self, panel=panel, line=line, original=self.name)

    @property
    def plan(self) -> Plan:
        """Everything that determines the outcome, with all defaults resolved."""
        variant, resolved = _resolved(self.task, self.variant, self.model, tuple(self.settings.items()))
        return {
            "task": self.task,
            "variant": variant,
            "model": self.model,
            "part": self.part,
            **resolved,
            "lengths": ", ".join(f"{at.place} x {at.problems}" for at in self.at if at.problems),
            "worst_cases": ", ".join(at.place for at in self.at if at.worst_cases),
            "problem_seed": None if self.problem_seed is None else str(self.problem_seed),
            **{name: "yes" for name in ("looks_back", "certify") if getattr(self, name)},
        }

    @property
    def train_length(self) -> int:
        """Length of the longest training problems."""
        return int(self.settings.get("train_length", tasks.load(self.task).defaults.train_length))


@cache
def _resolved(
    task: str, variant: str, model: str, settings: tuple[tuple[str, Setting], ...]
) -> tuple[str, dict[str, str]]:
    """Resolve the variant's name and all settings of a training.

    The task is loaded without notes, which change no setting and take seconds to make.
    """
    base = variant.removesuffix(tasks.NOTES)
    loaded = tasks.load(task, base or None)
    config = configure(loaded, model, {name: str(value) for name, value in settings})
    every = {**config.model_settings, **asdict(config.settings)}
    texts = {name: str(value) for name, value in every.items() if name not in ("seed", "device")}
    for name, before in LATER.items():
        if texts.get(name) == before:
            del texts[name]
    return loaded.variant + variant[len(base) :], texts


@dataclass(frozen=True, kw_only=True)
class LocalityCheck:
    """A `check` of a program, from which the results of models are predicted."""

    task: str
    variant: str = ""
    """Name of the task's program; the first if empty."""
    problems: int = 1000
    """Number of random problems of each row."""
    tokens_at: int | None = None
    """Length at which the tokens of problems are counted; None to count none."""
    panel: str = ""
    line: str = "check"
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "panel", self.panel or " ".join(filter(None, (self.task, self.variant))))

    @property
    def name(self) -> str:
        """Name such as "addition paper: check", unique in its results file."""
        return f"{self.panel}: {self.line}"

    @property
    def plan(self) -> Plan:
        """Everything that determines the outcome."""
        base = self.variant.removesuffix(tasks.NOTES)
        return {
            "task": self.task,
            "variant": tasks.load(self.task, base or None).variant + self.variant[len(base) :],
            "problems": str(self.problems),
            "tokens_at": None if self.tokens_at is None else str(self.tokens_at),
        }


Declared = Experiment | LocalityCheck
"""An entry of a study."""


def digest(value: object) -> str:
    """Return the first 12 hex digits of the SHA-256 of a value's sorted JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def valid_plans(declared: Declared) -> tuple[Plan, ...]:
    """Return the declaration's plan and, if fields were added to it later, the plans from before each was added."""
    plan, added = declared.plan, () if isinstance(declared, LocalityCheck) else declared.added
    later = [added[first:] for first in range(len(added), -1, -1)]
    return tuple({key: value for key, value in plan.items() if key not in missing} for missing in later)


def describe_changes(before: Plan, now: Plan) -> str:
    """Describe the differences between two plans."""
    keys = {**before, **now}
    pairs = [(key, before.get(key, "not set"), now.get(key, "not set")) for key in keys]
    return "; ".join(f"{key} was {old}, is {new}" for key, old, new in pairs if old != new)

"""The data of a report; the page's scripts read the same names from JSON."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import tallystick
from tallystick.episode import Role
from tallystick.locality.checks import CheckReport
from tallystick.report.conversation import Conversation
from tallystick.report.stretches import Stretch
from tallystick.rows import Certified
from tallystick.vocab import TRAINED

CACHE_MODEL = "pythia:tiny"
"""The Transformer whose cache is drawn beside the runs' states."""


@dataclass
class RunData:
    """Data of one run folder."""

    id: int
    """Index among the report's runs."""
    program: int
    """Index of the run's program among the report's programs."""
    path: str
    name: str
    task: str
    variant: str
    model: str
    seed: int
    train_length: int
    parameters: int | None
    """Number of parameters; None if the model can no longer be built."""
    fixed_state: bool | None
    """Whether the size of the model's state is independent of the length; None if the model can no longer be built."""
    settings: dict[str, Any]
    """Settings of training and of the model."""
    environment: dict[str, Any]
    metrics: list[dict[str, Any]]
    rows: list[dict[str, Any]] | None
    """Rows of eval.json, with `all_exact`, `predicted` and `comparison`; None if nothing was measured."""
    command: str
    """Command that measures the run."""
    notes: list[str]
    """Messages about missing or damaged data."""
    certified: Certified | None = None
    """What the run's certificate says; None if there is none of this run as it is."""


@dataclass
class EpisodeSize:
    """The size of an episode of one length."""

    tokens: int
    cache: int
    """Size of CACHE_MODEL's cache after so many tokens, in bytes."""


@dataclass
class Program:
    """Data of a program on which runs were trained: a task, a variant and a training length."""

    id: int
    """Index among the report's programs."""
    task: str
    variant: str
    train_length: int
    label: str = ""
    """Text that distinguishes the program from the report's other programs; "" if there are none."""
    about: str = ""
    vocab: list[str] = field(default_factory=list)
    check: CheckReport | None = None
    predicted: str = "none"
    """Prediction of `check` for a fixed-state model beyond the training length."""
    sizes: dict[int, EpisodeSize] = field(default_factory=dict)
    """Size of an episode, by the lengths at which runs were measured."""


@dataclass
class Group:
    """Runs that differ only in the seed."""

    program: int
    model: str
    runs: list[int]
    reach: int | None
    """Longest length up to which every measured episode of every run was exact; None if there is no such length."""
    all_exact: bool
    """Whether at least one episode was measured, and all were exact."""
    label: str = ""
    """Text that distinguishes the group from the report's other groups."""


@dataclass
class ShownEpisode:
    """An episode that can be stepped through: the program's own, or the program's around a run's first error."""

    program: int
    length: int
    stretch: Stretch | None
    """Its tokens; None for a text task."""
    conversation: Conversation | None
    """Its turns, for a text task."""
    run: int | None = None
    """Index of the run that deviated in this episode; None for the program's own."""
    row: int | None = None
    """Index of the run's row that has the error."""
    error: dict[str, Any] | None = None


@dataclass
class Report:
    """Everything that the page shows."""

    runs: list[RunData]
    programs: list[Program]
    groups: list[Group]
    episodes: list[ShownEpisode]
    roles: tuple[str, ...] = tuple(role.name.lower() for role in Role)
    trained: tuple[bool, ...] = tuple(TRAINED.tolist())
    cache_model: str = CACHE_MODEL
    version: str = tallystick.__version__
    made: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M"))

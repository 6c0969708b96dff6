"""What a report is made of. The page's scripts read the same names from JSON."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import tallystick
from tallystick.episode import Role
from tallystick.locality.checks import CheckReport
from tallystick.report.stretches import Stretch
from tallystick.vocab import TRAINED

CACHE_MODEL = "pythia:tiny"
"""The Transformer whose cache is drawn beside the runs' states."""


@dataclass
class RunData:
    """What the page shows of one run folder."""

    id: int
    """Its place among the report's runs."""
    program: int
    """The place of its program among the report's programs."""
    path: str
    name: str
    task: str
    variant: str
    model: str
    seed: int
    train_length: int
    parameters: int | None
    """None if the model cannot be built any more."""
    fixed_state: bool | None
    """Whether the state stays as large as it is, however long the problem."""
    settings: dict[str, Any]
    """The settings of training and of the model."""
    environment: dict[str, Any]
    metrics: list[dict[str, Any]]
    rows: list[dict[str, Any]] | None
    """Rows of eval.json, with `all_exact`, `predicted` and `comparison`; None if nothing was measured."""
    command: str
    """The command that measures it."""
    notes: list[str]
    """What is missing or damaged."""


@dataclass
class EpisodeSize:
    """The size of an episode of one length."""

    tokens: int
    cache: int
    """Bytes of CACHE_MODEL's cache after so many tokens."""


@dataclass
class Program:
    """What the page shows of a program that runs were trained on: a task, a variant and a training length."""

    id: int
    """Its place among the report's programs."""
    task: str
    variant: str
    train_length: int
    label: str = ""
    """What sets it apart from the report's other programs; "" if there are none."""
    about: str = ""
    vocab: list[str] = field(default_factory=list)
    check: CheckReport | None = None
    predicted: str = "none"
    """What `check` predicts of a model of fixed state beyond the training length."""
    sizes: dict[int, EpisodeSize] = field(default_factory=dict)
    """The size of an episode, by the lengths that runs were measured at."""


@dataclass
class Group:
    """Runs that differ in nothing but the seed."""

    program: int
    model: str
    runs: list[int]
    reach: int | None
    """The longest length up to which every episode measured of every run was exact; None if there is no such length."""
    all_exact: bool
    """Whether every episode measured was exact, and there is one."""
    label: str = ""
    """What sets it apart from the report's other groups."""


@dataclass
class ShownEpisode:
    """An episode that can be stepped through: one that the program solves, or one around a run's first error."""

    program: int
    length: int
    stretch: Stretch
    run: int | None = None
    """The run that went wrong in it."""
    row: int | None = None
    """Which of the run's rows has the error."""
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

"""The one schema of results files: runs, and the environments that they were made in.

In the file a row is a list in the order of the fields here; null stands for what was not measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NotRequired, TypedDict

FORMAT_VERSION = 2
Summary = Mapping[str, float]
"""Results on the held-out problems at the end of training, as in metrics.jsonl."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A trained model's results at one length; intervals, bounds and accuracy per token follow from them.

    Several lengths share a row in the file where an experiment says so: a column is then a list, if they differ in it,
    or what POOLED makes of it.
    """

    length: int
    worst_cases: bool
    mode: str
    samples: int
    exact: int
    model_tokens: int | None
    """Tokens the model had to say, up to each problem's first error."""
    low_margin_tokens: int | None
    min_margin: float | None
    train_overlap: float | None
    """The share of problems that training produced, too."""
    seconds: float | None
    state_bytes: int | None
    score: float | None
    """Mean partial score; None where it is not known."""
    answer: float | None
    """The share of right answers; None where it is not known."""
    stops: Mapping[str, int] | None
    """Episodes by what ended them; None in rows of several lengths."""


POOLED = {
    "low_margin_tokens": sum,
    "min_margin": lambda margins: None if None in margins else min(margins),
    "train_overlap": max,
    "seconds": sum,
    "state_bytes": max,
}
"""Columns of which a row of several lengths keeps one number."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """The end of a training."""

    step: int
    tokens: int | None
    seconds: float | None
    """Seconds of the training loop, as in metrics.jsonl."""
    passed: bool
    """Whether the held-out problems were exact with the margin."""
    wall_seconds: float | None
    """Seconds from the task's name to the trained folder."""
    cpu_seconds: float | None
    """Seconds of all processors meanwhile, data workers included."""
    examples: int | None
    """Training examples begun."""
    loss: float | None
    held_out: Summary | None
    held_out_carried: Summary | None


@dataclass(frozen=True, kw_only=True)
class CheckRow:
    """A row of `check`: the problems up to one length."""

    length: int
    problems: int | None
    worst_cases: int | None
    k: int
    k_random: int | None
    contexts: int | None
    unseen: int | None
    coverage: float | None
    problems_covered: float | None


COLUMNS, TRAINING_COLUMNS, CHECK_COLUMNS = ([f.name for f in fields(kind)] for kind in (Row, Training, CheckRow))


class Check(TypedDict):
    """The report of `check` on a program."""

    local: bool | None
    """None: undecided."""
    covered: bool
    rows: list[list[Any]]
    """Lists in the order of CHECK_COLUMNS."""
    reason: NotRequired[str]
    """Why it is not local, or undecided."""
    notes: NotRequired[int]
    """Notes that were added to the program."""
    tokens: NotRequired[int]
    """Tokens of two problems at the declared length."""


class Deviation(TypedDict):
    """The first wrong token of a run."""

    position: int
    want: str
    got: str | None
    """None: the model said nothing."""
    after: str
    """The last tokens before it."""


class Outcome(TypedDict, total=False):
    """The outcome of a run: a training with its rows, a check, or why there is no such program."""

    training: list[Any]
    """A list in the order of TRAINING_COLUMNS."""
    rows: list[list[Any]]
    """Lists in the order of COLUMNS."""
    eval_seconds: float
    first_error: Deviation
    check: Check
    refused: str
    """Why no notes make the program local."""


class StoredRun(Outcome):
    """An outcome in a results file."""

    plan: str
    """The hash of the plan; the file has the plan itself."""
    seed: int
    environment: int
    """Number of the environment in the file."""


class Environment(TypedDict):
    """The machine, code and command that made a run; null stands for what is not known."""

    python: str | None
    versions: Mapping[str, str]
    machine: str | None
    processors: int | None
    gpu: str | None
    device: str | None
    commit: str | None
    dirty: bool | None
    """Whether there were changes that were not committed."""
    command: str | None
    date: str | None
    held_out_rule: NotRequired[str]
    """The rule by which training chose its held-out problems, if it was another than now."""


FORMER_RULE = "worst cases only where they add a context"
"""The held-out rule until all worst cases of the training length were always among the held-out problems."""


def rows_of(run: Outcome) -> list[Row]:
    """Read a run's rows, one for each length."""
    return [row for rows in grouped_rows_of(run) for row in rows]


def grouped_rows_of(run: Outcome) -> list[list[Row]]:
    """Read a run's rows, those together that share a row in the file."""
    return [[Row(**row) for row in _apart(values)] for values in run.get("rows", [])]


def _apart(values: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Split a row of several lengths into one for each; each has what the file pools."""
    row = dict(zip(COLUMNS, values, strict=True))
    lengths = row["length"] if isinstance(row["length"], list) else [row["length"]]
    for i in range(len(lengths)):
        yield {name: value[i] if isinstance(value, list) else value for name, value in row.items()}


def training_of(run: Outcome) -> Training:
    """Read the end of a run's training."""
    assert "training" in run, "a check trains nothing"
    return Training(**dict(zip(TRAINING_COLUMNS, run["training"], strict=True)))


def check_rows_of(check: Check) -> list[CheckRow]:
    """Read the rows of a check."""
    return [CheckRow(**dict(zip(CHECK_COLUMNS, values, strict=True))) for values in check["rows"]]

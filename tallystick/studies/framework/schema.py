"""The schema of results files: runs and the environments in which they were made.

In the file a row is a list in the order of the fields here; null stands for values that were not measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NotRequired, TypedDict

FORMAT_VERSION = 2
Summary = Mapping[str, float]
"""Results on held-out problems at the end of training, as in metrics.jsonl."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A trained model's results at one length; intervals, bounds and accuracy per token follow from them.

    In the file several lengths may share a row (`At.below`): a column is then one pooled value (POOLED), or a list if
    the lengths differ in it.
    """

    length: int
    worst_cases: bool
    mode: str
    samples: int
    exact: int
    model_tokens: int | None
    """Number of model tokens compared, up to each problem's first error."""
    low_margin_tokens: int | None
    min_margin: float | None
    train_overlap: float | None
    """Share of the problems that were also drawn in training."""
    seconds: float | None
    state_bytes: int | None
    score: float | None
    """Mean partial score; None if unknown."""
    answer: float | None
    """Share of right answers; None if unknown."""
    stops: Mapping[str, int] | None
    """Number of episodes by stop reason; None in rows of several lengths."""


POOLED = {
    "low_margin_tokens": sum,
    "min_margin": lambda margins: None if None in margins else min(margins),
    "train_overlap": max,
    "seconds": sum,
    "state_bytes": max,
}
"""Functions that pool a column in rows of several lengths, by the column's name."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """Final state of a training."""

    step: int
    tokens: int | None
    seconds: float | None
    """Seconds spent in the training loop, as in metrics.jsonl."""
    passed: bool
    """Whether the held-out problems were exact with the margin."""
    wall_seconds: float | None
    """Wall-clock seconds from the task's name to the trained folder."""
    cpu_seconds: float | None
    """CPU seconds used meanwhile, including data workers."""
    examples: int | None
    """Number of training examples begun."""
    loss: float | None
    held_out: Summary | None
    held_out_carried: Summary | None


@dataclass(frozen=True, kw_only=True)
class CheckRow:
    """A row of `check`: results on the problems up to one length."""

    length: int
    problems: int | None
    worst_cases: int | None
    k: int
    k_random: int | None
    contexts: int | None
    unseen: int | None
    coverage: float | None
    problems_covered: float | None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attempt to certify a model during its training."""

    step: int
    contexts: int
    open: int
    """Number of contexts that stayed open."""
    real_errors: int
    """Number of open contexts for which a problem was found that shows an error."""
    certified: float | None
    """Least certified margin of all contexts; None if some are open."""
    held_out: float | None
    """Least margin of the held-out problems."""


COLUMNS, TRAINING_COLUMNS, CHECK_COLUMNS, ATTEMPT_COLUMNS = (
    [f.name for f in fields(kind)] for kind in (Row, Training, CheckRow, Attempt)
)


class Check(TypedDict):
    """The report of `check` on a program."""

    local: bool | None
    """None if undecided."""
    covered: bool
    rows: list[list[Any]]
    """Rows as lists in the order of CHECK_COLUMNS."""
    reason: NotRequired[str]
    """Reason why the task is not local, or is undecided."""
    notes: NotRequired[int]
    """Number of kinds of notes added to the program."""
    tokens: NotRequired[int]
    """Total number of tokens of two problems of the declared length."""


class Deviation(TypedDict):
    """The first wrong token of a run."""

    position: int
    want: str
    got: str | None
    """None: the model said nothing."""
    after: str
    """The last tokens before the wrong one."""


class Outcome(TypedDict, total=False):
    """The outcome of a run: a training with its rows, a check, or a refusal."""

    training: list[Any]
    """Final state of training, as a list in the order of TRAINING_COLUMNS."""
    rows: list[list[Any]]
    """Rows as lists in the order of COLUMNS."""
    eval_seconds: float
    certified: float
    """Least margin that a certificate of the trained model has for every length; missing if there is none."""
    checked: bool
    """Whether separate code verified the certificate, as `certify --check` does; missing if that was not tried."""
    first_error: Deviation
    looks_back: int | None
    """Fewest last tokens that give the model's predictions; None if more than were tried are needed."""
    attempts: list[list[Any]]
    """Attempts to certify the model during training, as lists in the order of ATTEMPT_COLUMNS."""
    check: Check
    refused: str
    """Reason why no notes make the program local."""


class StoredRun(Outcome):
    """An outcome in a results file."""

    plan: str
    """Hash of the plan, which the file also contains."""
    seed: int
    environment: int
    """Index of the environment in the file."""


class Environment(TypedDict):
    """The machine, code and command of a run; null stands for unknown values."""

    python: str | None
    versions: Mapping[str, str]
    machine: str | None
    processors: int | None
    gpu: str | None
    device: str | None
    commit: str | None
    dirty: bool | None
    """Whether there were uncommitted changes."""
    command: str | None
    date: str | None
    held_out_rule: NotRequired[str]
    """Rule by which training chose its held-out problems, if it was not the current one."""


FORMER_RULE = "worst cases only where they add a context"
"""Earlier rule for the held-out problems, which now include all worst cases of the training length."""


def rows_of(run: Outcome) -> list[Row]:
    """Return a run's rows, one for each length."""
    return [row for rows in grouped_rows_of(run) for row in rows]


def grouped_rows_of(run: Outcome) -> list[list[Row]]:
    """Return a run's rows, grouped by the row of the file that they share."""
    return [[Row(**row) for row in _apart(values)] for values in run.get("rows", [])]


def _apart(values: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Split a row of several lengths into one row for each; all have the pooled values."""
    row = dict(zip(COLUMNS, values, strict=True))
    lengths = row["length"] if isinstance(row["length"], list) else [row["length"]]
    for i in range(len(lengths)):
        yield {name: value[i] if isinstance(value, list) else value for name, value in row.items()}


def training_of(run: Outcome) -> Training:
    """Return the final state of a run's training."""
    assert "training" in run, "a check trains nothing"
    return Training(**dict(zip(TRAINING_COLUMNS, run["training"], strict=True)))


def attempts_of(run: Outcome) -> list[Attempt]:
    """Return the attempts to certify a run's model during its training."""
    return [Attempt(**dict(zip(ATTEMPT_COLUMNS, values, strict=True))) for values in run.get("attempts", [])]


def check_rows_of(check: Check) -> list[CheckRow]:
    """Return the rows of a check."""
    return [CheckRow(**dict(zip(CHECK_COLUMNS, values, strict=True))) for values in check["rows"]]

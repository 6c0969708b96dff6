"""Rows of results: the documents of metrics.jsonl, eval.json and the progress that `resume` needs."""

from __future__ import annotations

from types import UnionType
from typing import Any, NotRequired, TypedDict, get_args, get_origin, get_type_hints, is_typeddict


class FirstError(TypedDict):
    """The first token of an episode that differs from the program's."""

    index: int
    """Number of the problem."""
    position: int
    """Number of the token in the episode; [BOS] is 0."""
    context: list[str]
    """The last tokens before it."""
    want: str
    """The program's token."""
    got: str | None
    """The model's; None where it says nothing (lookup)."""
    margin: float | None
    """Logit of the program's token less the best other, not positive; None in a row if it is not finite."""


class EpisodesSummary(TypedDict):
    """How episodes went; each counts up to its first deviation."""

    exact: int
    answer: float | None
    """The share of right answers; None where verify cannot know."""
    score: float | None
    """The mean of the partial scores; None where verify cannot know."""
    token_accuracy: float
    ci95: list[float]
    """Wilson's interval of the exact share."""
    model_tokens: int
    error_bound: float
    """95 % upper bound on the error rate per model token."""
    low_margin_tokens: int
    min_margin: float | None
    """None: the logits are not finite."""
    stops: dict[str, int]
    first_errors: list[FirstError]


class EvalRow(EpisodesSummary):
    """Problems of one length in `eval`."""

    length: int
    worst_cases: bool
    """Whether these are the worst cases of that length, not random problems."""
    mode: str
    seed: int
    samples: int
    train_overlap: float
    """The share of the problems that training drew, too."""
    seconds: float
    state_bytes: int


class Trained(TypedDict):
    """How far a run was trained."""

    step: int
    finished: bool
    """False: it was interrupted."""
    passed: bool
    """Whether the held-out problems were exact with the margin."""


class EvalReport(TypedDict):
    """The `eval --json` document, and eval.json."""

    task: str
    variant: str
    model: str
    part: NotRequired[str]
    """The part of a mixture whose problems were posed."""
    train_length: int
    trained: Trained | None
    """None: the folder does not tell."""
    rows: list[EvalRow]
    weights: NotRequired[str]
    """In the file: SHA-256 of the weights that the rows were measured on."""


class Summary(TypedDict):
    """How exact the model is on some problems, during training."""

    length: int
    samples: int
    exact: int
    token_accuracy: float
    min_margin: float | None


class HeldOutSummary(Summary):
    """How exact the model is on the held-out problems, which decide when training ends."""

    needed: int
    """Problems that it would take to meet every context."""
    k: int
    """The fewest last tokens that decide every model token of theirs; -1: more than were looked at."""
    train_overlap: float
    """The share of these problems that training drew, too."""
    first_errors: list[FirstError]


class MetricsRow(TypedDict):
    """One line of metrics.jsonl: a look at the held-out problems."""

    step: int
    loss: float | None
    """The mean since the row before; None where no step was made."""
    lr: float
    tokens: int
    seconds: float
    tokens_per_second: int
    decay_until: int | None
    """The step at which the learning rate reaches zero; None: it does not fall yet."""
    held_out: HeldOutSummary
    held_out_carried: Summary | None
    """The same problems, each begun in the state that the one before it left."""
    beyond: list[Summary]
    """Longer problems: they decide nothing."""
    passed: bool


class ScheduleState(TypedDict):
    """What `resume` needs of the learning rate's schedule."""

    start: int
    """The step of its last beginning."""
    fall: tuple[int, int] | None
    """The first and last step of the rate's fall."""


class Reached(TypedDict):
    """How far training has come: all that is read of `Progress` where only the weights are used."""

    step: int
    passed: bool


class Progress(Reached):
    """Where training stands, beside its tensors."""

    tokens: int
    seconds: float
    positions: list[list[list[tuple[int, int]]]] | None
    """Where each data worker's stream stands: a `data.packing.Position` each."""
    schedule: ScheduleState
    overlap: list[str]
    """Digests of the held-out problems that training has drawn."""
    config: dict[str, Any]
    """The run's configuration, as in config.json."""


def require(kind: Any, value: object, name: str) -> None:
    """Check that a JSON value is of a type: a TypedDict, a list, tuple or dict, one of these or None, or a plain type.

    Raises ValueError that names the part which is missing or of another type; name: that of the whole.
    """
    plain, parts = get_origin(kind) or kind, get_args(kind)
    if plain is Any or (plain is UnionType and value is None):
        return
    if plain is UnionType:
        require(parts[0], value, name)
    elif is_typeddict(kind):
        _require_keys(kind, value, name)
    else:
        plain = list if plain is tuple else plain  # as JSON writes it
        if type(value) is not plain and not (plain is float and type(value) is int):
            raise ValueError(f"{name} must be of type {plain.__name__}, not {type(value).__name__}")
        _require_items(kind, value, name)


def _require_keys(kind: Any, value: Any, name: str) -> None:
    """Check a JSON object against a TypedDict; other keys may stand beside its own."""
    require(dict, value, name)
    for key, part in get_type_hints(kind, include_extras=True).items():
        optional = get_origin(part) is NotRequired  # which __required_keys__ does not know of
        if key in value:
            require(get_args(part)[0] if optional else part, value[key], f"{name}.{key}")
        elif key in kind.__required_keys__ and not optional:
            raise ValueError(f"{name} has no {key}")


def _require_items(kind: Any, value: Any, name: str) -> None:
    """Check the items of a list or tuple, or the values of a dict, whose type names theirs."""
    parts = get_args(kind)
    if not parts:
        return
    if get_origin(kind) is tuple and len(value) != len(parts):
        raise ValueError(f"{name} must have {len(parts)} items, not {len(value)}")
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        require(parts[-1], item, f"{name}[{key!r}]")

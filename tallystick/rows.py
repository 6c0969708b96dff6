"""Rows of results: the documents of metrics.jsonl and eval.json, and the progress kept in checkpoints."""

from __future__ import annotations

from types import UnionType
from typing import Any, NotRequired, TypedDict, get_args, get_origin, get_type_hints, is_typeddict


class FirstError(TypedDict):
    """The first token of an episode that differs from the program's."""

    index: int
    """Index of the problem."""
    position: int
    """Index of the wrong token in the episode; [BOS] is 0."""
    context: list[str]
    """The last tokens before the wrong one."""
    want: str
    """The program's token."""
    got: str | None
    """The model's token; None where it says nothing (lookup)."""
    margin: float | None
    """Logit of the program's token minus the best other logit, not positive; None in a row if it is not finite."""


class Fact(TypedDict):
    """How often a task's fact is true of what episodes leave."""

    true: int
    known: int
    """Number of episodes of which it is known."""


class EpisodesSummary(TypedDict):
    """Summary of episodes, each of which counts up to its first deviation from the program."""

    exact: int
    answer: float | None
    """Share of right answers; None where `verify` cannot know."""
    score: float | None
    """Mean of the partial scores; None where `verify` cannot know."""
    facts: NotRequired[dict[str, Fact]]
    """The task's facts by name; of free-running episodes only, and missing in rows of earlier versions."""
    token_accuracy: float
    ci95: list[float]
    """Wilson's 95 % interval of the share of exact episodes."""
    model_tokens: int
    error_bound: float
    """95 % upper bound on the error rate per model token."""
    low_margin_tokens: int
    min_margin: float | None
    """None if the logits are not finite."""
    stops: dict[str, int]
    first_errors: list[FirstError]


class EvalRow(EpisodesSummary):
    """Results on the problems of one length in `eval`."""

    length: int
    worst_cases: bool
    """Whether the problems are the worst cases of that length rather than random ones."""
    mode: str
    seed: int
    samples: int
    train_overlap: float
    """Share of the problems that were also drawn in training."""
    seconds: float
    state_bytes: int


class Trained(TypedDict):
    """Training progress of a run."""

    step: int
    finished: bool
    """False if training was interrupted."""
    passed: bool
    """Whether the held-out problems were exact with the margin."""


class Certified(TypedDict):
    """What a run's certificate says: every problem of the task's shape is exact, whatever its length."""

    min_margin: float
    """Least certified margin in logits."""
    contexts: int


class EvalReport(TypedDict):
    """Document of `eval --json` and of eval.json."""

    task: str
    variant: str
    model: str
    part: NotRequired[str]
    """Part of a mixture whose problems were posed."""
    on: NotRequired[str]
    """Name of another task whose problems were posed."""
    train_length: int
    trained: Trained | None
    """None if the run folder has no optimizer.safetensors to tell."""
    rows: list[EvalRow]
    certified: NotRequired[Certified | None]
    """In the printed document only: the run's certificate; None if there is none of these weights."""
    weights: NotRequired[str]
    """In the file only: SHA-256 of the weights that the rows were measured on."""


class Summary(TypedDict):
    """Exactness of the model on some problems, measured during training."""

    length: int
    samples: int
    exact: int
    token_accuracy: float
    min_margin: float | None


class HeldOutSummary(Summary):
    """Exactness of the model on the held-out problems, which decide when training ends."""

    needed: int
    """Number of problems needed to meet every context."""
    k: int
    """Fewest last tokens that decide every model token of these problems; -1 if more than were looked at."""
    train_overlap: float
    """Share of these problems that were also drawn in training."""
    first_errors: list[FirstError]


class MetricsRow(TypedDict):
    """One line of metrics.jsonl: the result of a validation."""

    step: int
    loss: float | None
    """Mean loss since the previous row; None if no step was made."""
    lr: float
    tokens: int
    seconds: float
    tokens_per_second: int
    decay_until: int | None
    """Step at which the learning rate reaches zero; None until it begins to fall."""
    held_out: HeldOutSummary
    held_out_carried: Summary | None
    """Results on the held-out problems when each begins from the final state of the previous one."""
    beyond: list[Summary]
    """Results on longer problems, for information only: they do not influence training."""
    passed: bool


class ScheduleProgress(TypedDict):
    """What `resume` needs of the learning rate's schedule."""

    start: int
    """The step of its last beginning."""
    fall: tuple[int, int] | None
    """The first and last step of the rate's fall."""


class Focus(TypedDict):
    """Problems from which half of the training examples are drawn, from one example on; `train --certify` adds them."""

    first: int
    """Number of the first example."""
    prompts: list[list[str]]


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
    schedule: ScheduleProgress
    overlap: list[str]
    """Digests of the held-out problems that training has drawn."""
    config: dict[str, Any]
    """The run's configuration, as in config.json."""
    focus: NotRequired[list[Focus]]
    """Problems that training was aimed at; checkpoints of earlier versions have none."""
    fingerprint: NotRequired[str]
    """`Source.fingerprint` of the task, for `resume`; checkpoints of earlier versions have none."""


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

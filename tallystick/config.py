"""The configuration of a run: every setting with its default and range, and where its value comes from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, get_type_hints

from tallystick import models, tasks
from tallystick.ranges import check_ranges, ranged
from tallystick.tasks import Task

if TYPE_CHECKING:  # imports torch, which the data workers must not
    from tallystick.models.base import Model
    from tallystick.models.config import Config

COUNTS = (1, 10**9)
"""Range of a number of steps or tokens."""
DEVICES = ("cpu", "cuda")
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of training; each can be set as key=value."""

    train_length: int = ranged(MISSING, 0, 10**9)
    """Training problems have at most this length."""
    steps: int = ranged(MISSING, *COUNTS)
    """Maximum number of optimizer steps; training ends earlier once the held-out problems are exact with a margin."""
    seed: int = ranged(0, 0, 2**63 - 1)
    """Random seed of the weights and the problems."""
    batch_size: int = ranged(8, 1, 2**20)
    """Sequences in a batch."""
    seq_len: int = ranged(256, 1, 2**24)
    """Tokens of each sequence in a batch."""
    lr: float = ranged(6e-3, 1e-12, 1e6)
    """Peak learning rate of AdamW."""
    warmup: int = ranged(50, *COUNTS)
    """Steps until the learning rate reaches its peak."""
    weight_decay: float = ranged(0.0, 0.0, 1e3)
    """Weight decay of matrices; other parameters have none."""
    grad_clip: float = ranged(1.0, 1e-12, 1e12)
    """Maximum norm of the gradient; a larger gradient is scaled down to it."""
    state_passing: float = ranged(MISSING, 0.0, 1.0)
    """Share of training problems that begin from the final state of the previous one; by default 0.5, or 0 if the state
    of the model grows."""
    curriculum: int = ranged(0, 0, 10**12)
    """Number of problems over which the maximum length grows linearly from the task's shortest to train_length."""
    validate_every: int = ranged(50, *COUNTS)
    """Steps between two validations on the held-out problems; each also saves a checkpoint for `resume`."""
    decay_at_error: float = ranged(1e-3, 0.0, 1.0)
    """Held-out error rate per token at which the learning rate begins to fall."""
    min_margin: float = ranged(3.0, 0.0, 1e9)
    """Logit margin that every held-out token must have at the end."""
    workers: int = ranged(1, 1, 256)
    """Number of processes that make training data; it must divide batch_size."""
    threads: int = ranged(1, 1, 256)
    """CPU threads of torch. A second one makes tiny models a third faster, but costs far more on a busy machine."""
    device: str = "cpu"
    """cpu or cuda."""
    precision: str = "fp32"
    """fp32, or bf16: training's matrix products and what lies between them in bfloat16, twice as fast or more on a GPU.
    Weights, states and decays stay fp32, and so does all validation."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.batch_size % self.workers:
            raise ValueError(f"workers={self.workers} does not divide batch_size={self.batch_size}")
        if self.device not in DEVICES:
            raise ValueError(f"device must be cpu or cuda, got {self.device!r}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be fp32 or bf16, got {self.precision!r}")


KINDS = get_type_hints(Settings)
"""The type of each setting."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything, apart from the code, that determines a run's weights."""

    task: str
    """Name of the task, as given to `tasks.load`."""
    variant: str
    """Name of the task's program."""
    model: str
    """Name and preset of the model, as given to `models.build`."""
    model_settings: Mapping[str, Any]
    """Every field of the model's Config except vocab_size."""
    settings: Settings
    tokenizer: str = ""
    """Name of a text task's tokenizer, as given to `tasks.load`; "" for the task's own."""
    extended_from: tuple[int, ...] = ()
    """Earlier maximum numbers of steps, each raised by `resume --steps`."""
    certify: bool = False
    """Whether training ends only once the model is certified exact at every length, or no steps are left."""

    def to_json(self) -> dict[str, Any]:
        """Return the document of config.json."""
        document = asdict(self) | {"model_settings": dict(self.model_settings)}
        optional = {"tokenizer": self.tokenizer, "extended_from": list(self.extended_from), "certify": self.certify}
        return {key: value for key, value in (document | optional).items() if key not in optional or value}

    @classmethod
    def from_json(cls, document: object) -> RunConfig:
        """Build a configuration from `to_json`'s document.

        Raises ValueError naming a key that is missing or unknown, of a wrong type or out of range.
        """
        known = _typed("the document", document, dict)
        _check_keys(cls, known, "", optional={"tokenizer", "extended_from", "certify"})
        if "vocab_size" in _typed("model_settings", known["model_settings"], dict):
            raise ValueError("model_settings.vocab_size is no setting: it is the task's number of tokens")
        given = _typed("settings", known["settings"], dict)
        _check_keys(Settings, given, "settings.", optional={"precision"})
        extended = _typed("extended_from", known.get("extended_from", []), list)
        return cls(
            task=_typed("task", known["task"], str),
            variant=_typed("variant", known["variant"], str),
            model=_typed("model", known["model"], str),
            model_settings=known["model_settings"],
            settings=Settings(**{key: _typed(f"settings.{key}", value, KINDS[key]) for key, value in given.items()}),
            tokenizer=_typed("tokenizer", known.get("tokenizer", ""), str),
            extended_from=tuple(_typed("extended_from", steps, int) for steps in extended),
            certify=_typed("certify", known.get("certify", False), bool),
        )


def _check_keys(cls: type, given: dict[str, Any], prefix: str, optional: Collection[str] = ()) -> None:
    """Check that a JSON object has a dataclass's fields and no others."""
    known = {field.name for field in fields(cls)}
    for what, keys in (("no", known - given.keys() - set(optional)), ("an unknown", given.keys() - known)):
        if keys:
            raise ValueError(f"{what} {prefix}{min(keys)}; another version of tallystick may have written it")


def _typed(key: str, value: Any, kind: type) -> Any:
    """Return a JSON value if it is of this type, an integer as a float if need be. Raises ValueError otherwise."""
    if kind is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{key} is too large") from None
    if type(value) is not kind:
        raise ValueError(f"{key} must be of type {kind.__name__}, not {type(value).__name__}")
    return value


def configure(task: Task, model: str, overrides: Mapping[str, str], **given: Any) -> RunConfig:
    """Resolve every setting of training and model: the user's, else the model's own, else the task's, else the default.

    overrides: as text, fields of `Settings` or of the model's Config, or a text task's tokenizer. given: fields of
    `Settings`; None is ignored. Raises ValueError for an unknown key, a value out of range, or a key given twice.
    """
    overrides = dict(overrides)
    if tokenizer := overrides.pop("tokenizer", ""):
        task = tasks.load(task.name, task.variant, tokenizer)
    given = {key: value for key, value in given.items() if value is not None}
    for key in given.keys() & overrides.keys():
        option = key.replace("_", "-")
        raise ValueError(f"{key} is given twice: --{option} {given[key]} and {key}={overrides[key]}; leave one out")
    overrides = {**_needed(task, model), **overrides}
    own = {key: value for key, value in overrides.items() if key not in KINDS}
    model_class, model_config = _resolve(model, len(task.vocab), own)
    values: dict[str, Any] = {"train_length": task.defaults.train_length, "steps": task.defaults.steps}
    values["state_passing"] = 0.5 if model_class.fixed_state else 0.0
    values |= {**model_class.TRAINING, **given}
    values |= {key: models.read_value(key, overrides[key], KINDS[key]) for key in overrides if key in KINDS}
    settings = Settings(**values)
    task.check_length(settings.train_length)
    check_device(settings.device)
    own = {key: value for key, value in asdict(model_config).items() if key != "vocab_size"}
    return RunConfig(
        task=task.name, variant=task.variant, model=model, model_settings=own, settings=settings, tokenizer=tokenizer
    )


def _needed(task: Task, model: str) -> dict[str, str]:
    """Return the settings that a task needs, as far as this model has them."""
    defaults, kinds = task.defaults, models.setting_kinds(model)
    needed = {key: value for key, value in defaults.memory.items() if key in kinds}
    same = models.split_preset(model) == models.split_preset(defaults.model)
    return {**needed, **defaults.settings} if same else needed


def _resolve(model: str, vocab_size: int, overrides: dict[str, str]) -> tuple[type[Model], Config]:
    """Resolve a model's settings. For an unknown key, raises ValueError that names the training settings, too."""
    if "vocab_size" in overrides:
        raise ValueError("vocab_size cannot be set: it is the task's number of tokens")
    try:
        return models.resolve(model, overrides, vocab_size=vocab_size)
    except ValueError as error:
        extra = f"; training settings: {', '.join(KINDS)}, tokenizer" if "no setting" in str(error) else ""
        raise ValueError(f"{error}{extra}") from None


def check_device(device: str) -> None:
    """Raise ValueError unless this machine has the device, "cpu" or "cuda"."""
    if device not in DEVICES:
        raise ValueError(f"device must be cpu or cuda, got {device!r}")
    if device == "cuda" and not has_gpu():
        raise ValueError("device=cuda, but this machine has no usable GPU; choose device=cpu")


def has_gpu() -> bool:
    """Return whether this machine has a GPU that torch can use."""
    import torch

    return torch.cuda.is_available()

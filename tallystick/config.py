"""How to train: every setting, its default, and what is refused before anything is written."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from tallystick import models
from tallystick.models.base import Model
from tallystick.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train; each field can be set as key=value."""

    train_length: int
    """Problems are at most this long."""
    steps: int
    """The budget; training ends earlier once the held-out problems are exact with a margin."""
    seed: int = 0
    """Of the weights and the examples."""
    batch_size: int = 8
    """Streams side by side in a batch."""
    seq_len: int = 256
    """Tokens of each stream in a batch."""
    lr: float = 6e-3
    """Peak learning rate of AdamW."""
    warmup: int = 50
    """Steps to reach it."""
    weight_decay: float = 0.0
    """On matrices alone."""
    grad_clip: float = 1.0
    """Largest norm of the gradient."""
    state_passing: float
    """Share of examples begun in the state that the one before left: 0.5 by default, 0 for models whose state grows."""
    curriculum: int = 0
    """Examples over which the largest length grows evenly from the task's shortest to train_length; 0: none."""
    validate_every: int = 50
    """Steps between two looks at the held-out problems, each of which also saves what `resume` needs."""
    decay_at_error: float = 1e-3
    """Held-out error rate per token at which the learning rate begins to fall."""
    min_margin: float = 3.0
    """Logit margin that every held-out token must have at the end."""
    workers: int = 1
    """Processes that make examples."""
    threads: int = 1
    """Threads of the CPU: a second one gains a third for a tiny model, and loses far more on a busy machine."""
    device: str = "cpu"
    """cpu or cuda."""


KINDS = {"int": int, "float": float, "str": str}


def configure(task: Task, model: str, overrides: dict[str, str], **given: Any) -> dict[str, Any]:
    """The run's config.json: names, and every setting of training and model resolved: the user's, else the model's
    own (`Model.TRAINING`), else the task's, else the default.

    overrides: key=value of Settings or of the model's Config, over the task's own; given: Settings, None where nothing
    was said.
    Raises ValueError for an unknown key or a value out of range.
    """
    if models.split_preset(model) == models.split_preset(task.defaults.model):
        overrides = {**task.defaults.settings, **overrides}
    kinds = {field.name: KINDS[str(field.type)] for field in fields(Settings)}
    built = _build(task, model, {key: value for key, value in overrides.items() if key not in kinds}, list(kinds))
    values: dict[str, Any] = {"train_length": task.defaults.train_length, "steps": task.defaults.steps}
    values["state_passing"] = 0.5 if built.fixed_state else 0.0
    values |= built.TRAINING
    values |= {key: value for key, value in given.items() if value is not None}
    values |= {key: models.read_value(key, overrides[key], kinds[key]) for key in overrides if key in kinds}
    settings = Settings(**values)
    _check_range(task, settings)
    model_settings = {key: value for key, value in asdict(built.config).items() if key != "vocab_size"}
    names = {"task": task.name, "variant": task.variant, "model": model, "model_settings": model_settings}
    return names | {"settings": asdict(settings)}


def _build(task: Task, model: str, settings: dict[str, str], others: list[str]) -> Model:
    try:
        return models.build(model, vocab_size=len(task.vocab), **settings)
    except ValueError as error:
        extra = f"; settings of training: {', '.join(others)}" if "no setting" in str(error) else ""
        raise ValueError(f"{error}{extra}") from None


def _check_range(task: Task, settings: Settings) -> None:
    task.check_length(settings.train_length)
    for key, value in asdict(settings).items():
        least_is_zero = key in ("seed", "weight_decay", "state_passing", "curriculum")
        if not isinstance(value, str) and (value < 0 if least_is_zero else value <= 0):
            raise ValueError(f"{key}={value} must {'not be negative' if least_is_zero else 'be greater than 0'}")
    if settings.batch_size % settings.workers:
        raise ValueError(f"workers={settings.workers} does not divide batch_size={settings.batch_size}")
    check_device(settings.device)


def check_device(device: str) -> None:
    """Raises ValueError unless there is such a device."""
    if device not in ("cpu", "cuda"):
        raise ValueError(f"device={device}: there are cpu and cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda: this machine has no usable GPU; leave it out or say cpu")

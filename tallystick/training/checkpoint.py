"""Checkpoints: everything that `resume` needs to continue bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tallystick import runs
from tallystick.config import RunConfig
from tallystick.models.base import Model, State
from tallystick.rows import Progress
from tallystick.runs import RunError

FREE = ("steps", "threads", "device")
"""Settings that may be changed during a run: they affect how long and where it trains, but not its result."""


@dataclass
class Checkpoint:
    """Contents of optimizer.safetensors."""

    model: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]
    """The optimizer's state by the parameter's index."""
    state: State | None
    """The model's state after the last batch."""
    progress: Progress


def save(
    path: Path, model: Model, optimizer: torch.optim.Optimizer, state: State | None, progress: Progress, examples: int
) -> None:
    """Write model.safetensors and optimizer.safetensors; examples: number of training examples begun."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for i, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": tensor for name, tensor in values.items()}
    tensors |= {f"state.{name}": tensor for name, tensor in (state or {}).items()}
    runs.save_model(path, model, examples, progress.get("focus", ()))
    runs.save_progress(path, tensors, progress)


def load(path: Path, config: RunConfig, model: Model, optimizer: torch.optim.Optimizer) -> Checkpoint:
    """Load the last checkpoint into model and optimizer, and return it. Raises RunError if it is missing or unfit."""
    tensors, progress = runs.load_progress(path)
    _check_config(path, config, progress)
    try:
        checkpoint = _split(tensors, progress, config.settings.device)
        _check_shapes(checkpoint, config, model, optimizer)
        model.load_state_dict(checkpoint.model)
        optimizer.load_state_dict(optimizer.state_dict() | {"state": checkpoint.optimizer})
    except (RuntimeError, ValueError, KeyError, TypeError, IndexError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{path}: optimizer.safetensors does not fit config.json: {reason[:200]}") from error
    return checkpoint


def _split(tensors: dict[str, Tensor], progress: Progress, device: str) -> Checkpoint:
    checkpoint = Checkpoint({}, {}, None, progress)
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        tensor = tensor.to(device)
        if part == "model":
            checkpoint.model[rest] = tensor
        elif part == "state":
            checkpoint.state = (checkpoint.state or {}) | {rest: tensor}
        else:
            number, _, field = rest.partition(".")
            checkpoint.optimizer.setdefault(int(number), {})[field] = tensor
    return checkpoint


def _check_config(path: Path, config: RunConfig, progress: Progress) -> None:
    """Check that config.json has not been edited since training began. Raises RunError if it has."""
    now, then = _fixed(config), _fixed(RunConfig.from_json(progress["config"]))
    for key in now:
        if now[key] != then.get(key):
            raise RunError(
                f"{path}: config.json has {key}={now[key]!r}, but it was trained with {then.get(key)!r}; undo the edit"
            )


def _fixed(config: RunConfig) -> dict[str, object]:
    document = config.to_json()
    values = document["settings"] | document["model_settings"]
    values |= {key: document[key] for key in ("task", "variant", "model")}
    return {key: value for key, value in values.items() if key not in FREE}


def _check_shapes(checkpoint: Checkpoint, config: RunConfig, model: Model, optimizer: torch.optim.Optimizer) -> None:
    """Check what loading does not: shapes of the optimizer's tensors, of the state, and of the data positions."""
    settings = config.settings
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, values in checkpoint.optimizer.items():
        for name in ("exp_avg", "exp_avg_sq"):
            if values[name].shape != parameters[number].shape:
                raise ValueError(f"optimizer.{number}.{name} differs in shape from its parameter")
    if checkpoint.state is not None:
        expected = model.init_state(settings.batch_size)
        if checkpoint.state.keys() != expected.keys():
            raise ValueError("its state belongs to another model")
        if any(len(tensor) != settings.batch_size for tensor in checkpoint.state.values()):
            raise ValueError("its state has another batch_size")
    positions = checkpoint.progress["positions"]
    share = settings.batch_size // settings.workers
    if positions is not None and [len(position) for position in positions] != [share] * settings.workers:
        raise ValueError("its data positions are of another batch_size or number of workers")

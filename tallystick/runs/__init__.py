"""The run folder: configuration, progress and results of a training run. Files are replaced whole or not at all.

config.json            task, model, settings      model.safetensors       the model, for use
vocab.json             tokens by id               optimizer.safetensors   the checkpoint for `resume`
task/                  the task's source, what it metrics.jsonl           one line per validation
                       imports from beside it,
                       their hash, tokenizer
environment.json       versions, device, commit   eval.json, report.html  results of `eval` and `report`
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from tallystick import models
from tallystick.config import RunConfig
from tallystick.models.base import Model
from tallystick.provenance import environment
from tallystick.rows import Focus, Trained, require
from tallystick.runs.config import FORMAT_VERSION, read_config, write_config
from tallystick.runs.evals import eval_file, read_eval, write_eval
from tallystick.runs.metrics import add_metrics, keep_metrics, last_metrics, read_metrics
from tallystick.runs.reading import RunError
from tallystick.runs.task import TOKENIZER, LoadedTask, load_task, write_task
from tallystick.runs.tensors import (
    load_progress,
    read_tensors,
    read_trained,
    save_model,
    save_progress,
    weights_hash,
)
from tallystick.storage import check_makable, locked, make_folder, parse_json, write_json
from tallystick.tasks import Task

__all__ = [
    "FORMAT_VERSION",
    "TOKENIZER",
    "LoadedTask",
    "Run",
    "RunError",
    "add_metrics",
    "check_new",
    "create",
    "eval_file",
    "is_trained_now",
    "keep_metrics",
    "last_metrics",
    "load",
    "load_progress",
    "load_task",
    "read_config",
    "read_eval",
    "read_metrics",
    "read_tensors",
    "read_trained",
    "save_model",
    "save_progress",
    "training",
    "weights_hash",
    "write_config",
    "write_eval",
]


@dataclass
class Run:
    """A loaded run folder."""

    path: Path
    config: RunConfig
    task: Task
    model: Model
    changed: bool
    """Whether the task's file is no longer the one that the run was trained with."""
    examples: int
    """Number of training examples begun."""
    trained: Trained | None
    """Training progress; None if the folder has no optimizer.safetensors to tell."""
    weights: str
    """SHA-256 of the weights that were loaded; those in the folder are newer if it is still being trained."""
    focus: tuple[Focus, ...] = ()
    """Problems that training was aimed at."""


def check_new(path: Path) -> None:
    """Check in advance that a run folder can be created. Raises RunError if it exists, OSError if it cannot be made."""
    if path.exists():
        raise RunError(f"{path} already exists; continue it with `tallystick resume`, or choose another --out")
    check_makable(path)


def create(path: Path, config: RunConfig, task: Task) -> None:
    """Create a run folder, whole or not at all. Raises RunError if it exists, OSError if it cannot be created."""
    check_new(path)

    def fill(making: Path) -> None:
        write_task(making, task)
        write_config(making, config)
        write_json(making / "vocab.json", list(task.vocab.tokens))
        write_json(making / "environment.json", environment())
        (making / "metrics.jsonl").touch()

    make_folder(path, fill)


def is_trained_now(path: Path) -> bool:
    """Return whether another process is training the run."""
    with locked(path, wait=False) as free:
        return not free


@contextmanager
def training(path: Path) -> Iterator[None]:
    """Lock a run folder for training. Raises RunError if another process holds the lock."""
    with locked(path, wait=False) as free:
        if not free:
            raise RunError(f"{path} is being trained by another process; wait for it, or stop it")
        yield


def load(path: str | Path, device: str = "cpu") -> Run:
    """Load a run folder with its trained model, ready for use. Raises RunError if that is impossible."""
    path = Path(path)
    config = read_config(path)
    loaded = load_task(path, config)
    model = models.build(config.model, vocab_size=len(loaded.task.vocab), **config.model_settings)
    tensors, meta, trained, weights = _read_model(path, config)
    try:
        model.load_state_dict(tensors)
        examples, focus = int(meta["examples"]), parse_json(meta.get("focus", "[]"))
        require(list[Focus], focus, "its focus")
    except (RuntimeError, KeyError, ValueError) as error:
        raise RunError(f"{path}: model.safetensors does not fit config.json, or is not tallystick's") from error
    model = model.to(device).eval()
    return Run(path, config, loaded.task, model, loaded.changed, examples, trained, weights, tuple(focus))


def _read_model(path: Path, config: RunConfig) -> tuple[dict[str, Tensor], dict[str, str], Trained | None, str]:
    """Read a model's tensors and metadata, its training progress and the weights' hash, all of one checkpoint."""
    while True:
        weights = weights_hash(path)
        tensors, meta = read_tensors(path / "model.safetensors")
        trained = read_trained(path, config)
        if weights_hash(path) == weights:  # otherwise training has saved meanwhile
            return tensors, meta, trained, weights

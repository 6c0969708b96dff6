"""model.safetensors and optimizer.safetensors: the trained model, and the checkpoint that `resume` takes up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tallystick import models
from tallystick.config import RunConfig
from tallystick.models.base import Model
from tallystick.models.lookup import Lookup
from tallystick.rows import Focus, Progress, Reached, Trained, require
from tallystick.runs.reading import RunError
from tallystick.storage import parse_json, replace_file


def read_tensors(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read the tensors and metadata of a safetensors file. Raises RunError if it is missing or damaged."""
    if not file.exists():
        raise RunError(f"{file} is missing; nothing was trained or the run was cut off")
    _check_readable(file)
    try:
        with safe_open(file, "pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise RunError(f"{file} is damaged: {error}") from error


def _check_readable(file: Path) -> None:
    """Raise the OSError of a file that may not be read; safetensors would say that it is damaged or missing."""
    file.open("rb").close()


def weights_hash(path: Path) -> str:
    """Return the SHA-256 of model.safetensors; "" if there is none."""
    file = path / "model.safetensors"
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""


def save_model(path: Path, model: Model, examples: int, focus: Sequence[Focus] = ()) -> None:
    """Write model.safetensors; examples, focus: number of training examples begun, and what they were aimed at."""
    aimed = {"focus": json.dumps(list(focus))} if focus else {}
    _save_tensors(path / "model.safetensors", model.state_dict(), {"examples": str(examples), **aimed})


def save_progress(path: Path, tensors: Mapping[str, torch.Tensor], progress: Progress) -> None:
    """Write optimizer.safetensors: every tensor that training holds, and `progress` as JSON in its metadata."""
    _save_tensors(path / "optimizer.safetensors", tensors, {"progress": json.dumps(progress, allow_nan=False)})


def _save_tensors(file: Path, tensors: Mapping[str, torch.Tensor], meta: dict[str, str]) -> None:
    # safetensors refuses tensors that share memory, as tied embeddings do
    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}

    def write(beside: Path) -> None:
        try:
            save_file(own, beside, metadata=meta)
        except SafetensorError as error:  # safetensors reports a full disk in this way
            raise OSError(str(error)) from error

    replace_file(file, write)


def load_progress(path: Path) -> tuple[dict[str, torch.Tensor], Progress]:
    """Read the checkpoint of `save_progress`: tensors and progress. Raises RunError if it is missing or damaged."""
    file = path / "optimizer.safetensors"
    tensors, meta = read_tensors(file)
    return tensors, _progress(file, meta, Progress)


def read_trained(path: Path, config: RunConfig) -> Trained | None:
    """Read the training progress of a run; None if the folder has no optimizer.safetensors. Raises RunError."""
    file = path / "optimizer.safetensors"
    if not file.exists():
        return None
    _check_readable(file)
    try:
        with safe_open(file, "pt") as opened:
            progress = _progress(file, opened.metadata() or {}, Reached)
    except SafetensorError as error:
        raise RunError(f"{file} is damaged: {error}") from error
    step, passed = progress["step"], progress["passed"]
    fitted = step > 0 and issubclass(models.load_class(models.split_preset(config.model)[0]), Lookup)
    return {"step": step, "finished": fitted or passed or step >= config.settings.steps, "passed": passed}


def _progress(file: Path, meta: Mapping[str, str], kind: type) -> Any:
    try:
        progress = parse_json(meta["progress"])
        require(kind, progress, "its progress")
    except (KeyError, ValueError) as error:
        raise RunError(f"{file} is not what this version of tallystick writes: {error}") from error
    return progress

"""The run folder: what a training run was, and where it stands. Files are replaced whole or not at all.

config.json            task, model, settings      model.safetensors       the model, for use
vocab.json             tokens by id               optimizer.safetensors   everything that `resume` needs
task/                  the task's source, hash    metrics.jsonl           a line a check
environment.json       versions, device, commit   eval.json, report.html  what eval and report made
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

import tallystick
from tallystick import models, tasks
from tallystick.models.base import Model
from tallystick.tasks import Task
from tallystick.tasks.registry import source

FORMAT_VERSION = 2
CONFIG_KEYS = ("task", "variant", "model", "model_settings", "settings")
"""What config.json says, beside its format."""


class RunError(ValueError):
    """A run folder that is missing, foreign or damaged."""


@dataclass
class Run:
    """A loaded run folder."""

    path: Path
    config: dict[str, Any]
    task: Task
    model: Model
    changed: bool
    """Whether the task's file is no longer the one that the run was trained with."""
    examples: int
    """Training examples that it has begun."""


def create(path: Path, config: dict[str, Any], task: Task) -> None:
    """Make the folder, whole or not at all. Raises RunError if there is one already, OSError if it cannot be."""
    if path.exists():
        raise RunError(f"{path} is there already: resume it, or give another --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        (making / "task").mkdir(parents=True)
        text, digest = source(task)
        (making / "task" / "source.py").write_text(text)
        (making / "task" / "sha256").write_text(digest + "\n")
        _write_json(making / "config.json", {"format": FORMAT_VERSION, **config})
        _write_json(making / "vocab.json", list(task.vocab.tokens))
        _write_json(making / "environment.json", environment())
        (making / "metrics.jsonl").touch()
        making.rename(path)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def load(path: str | Path, device: str = "cpu") -> Run:
    """A run folder with its trained model, ready for use. Raises RunError, in one line."""
    path = Path(path)
    config = read_config(path)
    task = load_task(path, config)
    model = models.build(config["model"], vocab_size=len(task.vocab), **config["model_settings"])
    tensors, meta = _read(path / "model.safetensors")
    _fill(model, tensors, path)
    examples = int(meta["examples"])
    _, digest = source(task)
    changed = digest != (path / "task" / "sha256").read_text().strip()
    return Run(path, config, task, model.to(device).eval(), changed, examples)


def read_config(path: Path) -> dict[str, Any]:
    """config.json. Raises RunError if the folder is missing, or not of this format."""
    if not path.is_dir():
        raise RunError(f"no run folder {path}")
    try:
        config = json.loads((path / "config.json").read_text())
        if config["format"] != FORMAT_VERSION:
            raise RunError(f"{path} has format {config['format']}, this version reads {FORMAT_VERSION}")
        _ = [config[key] for key in CONFIG_KEYS]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"{path} is not a tallystick run folder: no readable config.json") from error
    return config


def load_task(path: Path, config: dict[str, Any]) -> Task:
    """The run's task; its vocabulary must still be the one trained with."""
    task = tasks.load(config["task"], config["variant"])
    try:
        tokens = json.loads((path / "vocab.json").read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged: no readable vocab.json") from error
    if list(task.vocab.tokens) != tokens:
        raise RunError(f"{path} was trained with other tokens than {config['task']} has now")
    return task


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file."""
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        what = "is missing" if not path.exists() else "is damaged"
        raise RunError(f"{path.parent}: {path.name} {what}; nothing was trained or the run was cut off") from error


def _fill(model: Model, tensors: dict[str, torch.Tensor], path: Path) -> None:
    try:
        model.load_state_dict(tensors)
    except (RuntimeError, KeyError) as error:
        raise RunError(f"{path}: model.safetensors does not fit config.json") from error


def save_model(path: Path, model: Model, examples: int) -> None:
    """Write model.safetensors; examples: how many training has begun."""
    tensors = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    meta = {"examples": str(examples)}
    _replace(path / "model.safetensors", lambda to: save_file(_untied(tensors), to, metadata=meta))


def _untied(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Safetensors refuses tensors that share memory, as tied embeddings do."""
    return {name: tensor.clone().contiguous() for name, tensor in tensors.items()}


def save_progress(path: Path, tensors: dict[str, torch.Tensor], progress: dict[str, Any]) -> None:
    """Write optimizer.safetensors: every tensor that training holds, and `progress` as JSON in its metadata."""
    meta = {"progress": json.dumps(progress)}
    tensors = _untied({name: tensor.detach().cpu() for name, tensor in tensors.items()})
    _replace(path / "optimizer.safetensors", lambda to: save_file(tensors, to, metadata=meta))


def load_progress(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What `save_progress` wrote."""
    tensors, meta = _read(path / "optimizer.safetensors")
    return tensors, json.loads(meta["progress"])


def add_metrics(path: Path, row: dict[str, Any]) -> None:
    """Append a line to metrics.jsonl."""
    with (path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl that are whole."""
    lines = (path / "metrics.jsonl").read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def keep_metrics(path: Path, step: int) -> None:
    """Drop lines after `step`: they will be made again."""
    rows = [row for row in read_metrics(path) if row["step"] <= step]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    _replace(path / "metrics.jsonl", lambda to: to.write_text(text))


def write_eval(path: Path, report: dict[str, Any]) -> None:
    """Write eval.json, or, of one part of a mixture, eval-PART.json.

    Rows of the same weights stay, unless one of the same length, worst cases and mode replaces them.
    """
    weights = hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest()
    part = report.get("part")
    before = read_eval(path, part) or {}
    old = before["rows"] if before.get("weights") == weights else []
    rows = {(row["mode"], row["length"], row["worst_cases"]): row for row in [*old, *report["rows"]]}
    _write_json(_eval_file(path, part), report | {"weights": weights, "rows": [rows[key] for key in sorted(rows)]})


def read_eval(path: Path, part: str | None = None) -> dict[str, Any] | None:
    """What `write_eval` wrote, or None if the run was never evaluated."""
    file = _eval_file(path, part)
    return json.loads(file.read_text()) if file.exists() else None


def _eval_file(path: Path, part: str | None) -> Path:
    return path / (f"eval-{part.replace(':', '-').replace('/', '-')}.json" if part else "eval.json")


def write_report(path: Path, page: str) -> None:
    """Write report.html, wherever `path` says."""
    _replace(path, lambda to: to.write_text(page, encoding="utf-8"))


def _write_json(path: Path, value: object) -> None:
    _replace(path, lambda to: to.write_text(json.dumps(value, indent=1) + "\n"))


def _replace(path: Path, write: Any) -> None:
    """Write beside, then rename: a reader sees the old file or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(beside)
        beside.replace(path)
    except SafetensorError as error:  # how safetensors tells of a full disk
        raise OSError(f"cannot write {path}: {error}") from error
    finally:
        beside.unlink(missing_ok=True)


def environment() -> dict[str, Any]:
    """Versions, device and commit, with what is not committed, less results: they decide nothing (commit and changes
    only where the package lies in a git checkout)."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    versions = {"tallystick": tallystick.__version__, "torch": torch.__version__, "numpy": np.__version__}
    return {
        "python": platform.python_version(),
        "versions": versions,
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "gpu": gpu,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": _git("diff", "HEAD", "--", ".", ":(exclude)results"),
        "command": sys.argv[1:],
    }


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).parent.parent
    if not (folder / ".git").exists():
        return None
    result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else None

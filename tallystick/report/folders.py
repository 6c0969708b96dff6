"""Read run folders for the report; missing or damaged files become notes, not errors."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch

from tallystick import models, runs
from tallystick.config import RunConfig
from tallystick.evaluation import certified
from tallystick.report.data import RunData
from tallystick.tasks import Task

MOST_METRICS = 400
"""Maximum number of rows of metrics drawn for a run."""
MOST_DIFF = 20_000
"""Maximum number of characters kept of the uncommitted changes that the run was trained with."""
T = TypeVar("T")


def attempt(read: Callable[[], T], what: str, notes: list[str]) -> T | None:
    """Return the result of `read`; if it fails, add a note that `what` cannot be read and return None."""
    try:
        return read()
    except (OSError, ValueError) as error:
        notes.append(f"{what} cannot be read: {error}")
        return None


def read_folder(path: Path, number: int) -> RunData:
    """Read a run folder. Raises RunError only if its config.json cannot be read."""
    config, notes = runs.read_config(path), []
    command = f"tallystick eval {shlex.quote(str(path))}"
    measured = attempt(lambda: runs.read_eval(path), "eval.json", notes)
    weights = runs.weights_hash(path)
    if measured and measured.get("weights", weights) != weights:
        notes.append(f"eval.json was measured on weights that have since changed; measure again: {command}")
    metrics = attempt(lambda: runs.read_metrics(path), "metrics.jsonl", notes) or []
    environment = attempt(lambda: json.loads((path / "environment.json").read_text("utf-8")), "environment.json", notes)
    parameters, fixed_state = _describe_model(config, path)
    return RunData(
        id=number,
        program=-1,
        path=str(path),
        name=path.resolve().name,
        task=config.task,
        variant=config.variant,
        model=config.model,
        seed=config.settings.seed,
        train_length=config.settings.train_length,
        parameters=parameters,
        fixed_state=fixed_state,
        settings=asdict(config.settings) | {f"model: {name}": value for name, value in config.model_settings.items()},
        environment=_shorten(environment or {}),
        metrics=[dict(row) for row in metrics[:: math.ceil(len(metrics) / MOST_METRICS) or 1] + metrics[-1:]],
        rows=[dict(row) for row in measured["rows"]] if measured else None,
        command=command,
        notes=notes,
    )


def load_task(run: RunData) -> Task | None:
    """Load the run's task; return None, with a note, if it cannot be loaded any more."""
    path = Path(run.path)
    return attempt(lambda: runs.load_task(path, runs.read_config(path)).task, "the task", run.notes)


def read_certificate(run: RunData, task: Task) -> None:
    """Add to a run what its certificate says, or a note if that is of something else."""
    path = Path(run.path)
    found = certified.read(path, runs.read_config(path), task, runs.weights_hash(path))
    run.certified = found.certified
    if found.reason:
        run.notes.append(found.reason)


def _shorten(environment: dict[str, Any]) -> dict[str, Any]:
    dirty = environment.get("dirty") or ""
    more = f"\n[{len(dirty) - MOST_DIFF:,} more characters in environment.json]" if len(dirty) > MOST_DIFF else ""
    return environment | {"dirty": dirty[:MOST_DIFF] + more}


def _describe_model(config: RunConfig, path: Path) -> tuple[int | None, bool | None]:
    """Return the number of parameters and whether the state stops growing, without reading the weights; None if
    the model cannot be built."""
    try:
        tokens = json.loads((path / "vocab.json").read_text("utf-8"))
        with torch.device("meta"):
            model = models.build(config.model, vocab_size=len(tokens), **config.model_settings)
        count = sum(parameter.numel() for parameter in model.parameters())
        return count, model.state_bytes(10**8) == model.state_bytes(2 * 10**8)
    except (OSError, ValueError, RuntimeError):
        return None, None

"""Find, resume or make the run folders of a study's trainings."""

from __future__ import annotations

import fcntl
import json
import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tallystick import runs, tasks
from tallystick.config import RunConfig, configure
from tallystick.evaluation.certified import certify_run, read
from tallystick.storage import write_json
from tallystick.studies.framework.experiment import Experiment, digest
from tallystick.tasks.registry import source
from tallystick.training import loop

FOLDER = Path("runs", "studies")
"""Parent of the run folders, which are shared by experiments with the same training."""
ATTEMPTS = "attempts.json"
"""File in a run folder that keeps the attempts to certify the model during its training."""
WATCHED = 0
"""Seed of the trainings of which each checkpoint is tried, which takes longer than to train; of others the last is."""
COST = "cost.json"
"""File in a run folder that keeps the seconds its training took, if it was not interrupted."""
QUIET = 30.0
"""Minimum number of seconds between two lines of progress of a run."""

Say = Callable[[str], None]
"""A callback that receives a line of progress."""


def trained(experiment: Experiment, seed: int, device: str, say: Say, folder: Path = FOLDER) -> Path:
    """Return the run folder of a finished training, which is trained or resumed now if need be."""
    task = tasks.load(experiment.task, experiment.variant or None)
    settings = {name: str(value) for name, value in experiment.settings.items()}
    config = configure(task, experiment.model, settings, seed=seed, device=device)
    config = replace(config, certify=experiment.certify)
    key = digest({**config.to_json(), "source": source(task)})  # an edited task gets another folder
    short = Path(experiment.task).name.partition(":")[0]
    path = folder / f"{short}-{experiment.model.replace(':', '-')}-{key}-s{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be training in the same folder
        _train(path, config, _heartbeat(say))
    return path


def _train(path: Path, config: RunConfig, report: Callable[[Any], None]) -> None:
    if config.certify:
        _train_certified(path, config, report)
        return
    if path.exists() and not (path / "optimizer.safetensors").exists():  # interrupted before the first checkpoint
        shutil.rmtree(path)
    if not path.exists():
        wall, cpu = time.monotonic(), _cpu_seconds()
        loop.train(path, config, report)
        spent = {"wall_seconds": time.monotonic() - wall, "cpu_seconds": _cpu_seconds() - cpu}
        (path / COST).write_text(json.dumps({name: round(value, 1) for name, value in spent.items()}))
    elif not _is_finished(path, config):
        loop.resume(path, report)


def _train_certified(path: Path, config: RunConfig, report: Callable[[Any], None]) -> None:
    """Train until the model is certified; one seed's checkpoints are all tried. What was interrupted begins anew."""
    if (path / ATTEMPTS).exists():
        return
    shutil.rmtree(path, ignore_errors=True)
    found: list[dict[str, Any]] = []
    held_out: float | None = None

    def take(row: Any) -> None:
        """Certify the last checkpoint, which is that of the validation before."""
        nonlocal held_out
        if config.settings.seed == WATCHED:
            found.append(_attempt(path, held_out))
        held_out = row["held_out"]["min_margin"]
        report(row)

    loop.train(path, config, take)
    found.append(_attempt(path, held_out))
    write_json(path / ATTEMPTS, found)


def _attempt(path: Path, held_out: float | None) -> dict[str, Any]:
    """Certify the last checkpoint, unless training has just done so; held_out: the least held-out margin then."""
    run = runs.load(path)
    assert run.trained
    row = {"step": run.trained["step"], "open": 0, "real_errors": 0, "held_out": held_out}
    if stored := read(path, run.config, run.task, run.weights).certified:
        return {**row, "contexts": stored["contexts"], "certified": stored["min_margin"]}
    verdict = certify_run(run, run.config.settings.seed, lambda line: None)
    return {
        **row,
        "contexts": verdict["contexts"],
        "open": len(verdict["open"]),
        "real_errors": sum(each["real_error"] is True for each in verdict["open"]),
        "certified": None if verdict["open"] else verdict["min_margin"],
    }


def attempts(path: Path) -> list[dict[str, Any]]:
    """Read the attempts to certify a run during its training."""
    return json.loads((path / ATTEMPTS).read_text(encoding="utf-8"))


def _cpu_seconds() -> float:
    """Return the CPU seconds used by this process and its terminated children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def cost(path: Path) -> dict[str, float | None]:
    """Read the wall-clock and CPU seconds that a training took; None if it was interrupted."""
    file = path / COST
    return json.loads(file.read_text()) if file.exists() else {"wall_seconds": None, "cpu_seconds": None}


def _is_finished(path: Path, config: RunConfig) -> bool:
    """Return whether training has ended."""
    trained = runs.read_trained(path, config)
    return trained is not None and trained["finished"]


def _heartbeat(say: Say) -> Callable[[Any], None]:
    """Return a callback that reports the progress of training at most every QUIET seconds."""
    last = time.monotonic()

    def report(row: Any) -> None:
        nonlocal last
        if time.monotonic() - last > QUIET:
            last = time.monotonic()
            say(f"step {row['step']}, held out {row['held_out']['exact']}/{row['held_out']['samples']}")

    return report

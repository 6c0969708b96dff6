"""The run folders of a study's trainings: found, resumed or made."""

from __future__ import annotations

import fcntl
import json
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tallystick import runs, tasks
from tallystick.config import RunConfig, configure
from tallystick.studies.framework.experiment import Experiment, digest
from tallystick.tasks.registry import source
from tallystick.training import loop

FOLDER = Path("runs", "studies")
"""The folder of run folders; experiments that train alike share them."""
COST = "cost.json"
"""In such a folder: the seconds that its training took, if it was not interrupted."""
QUIET = 30.0
"""Seconds at least between two lines about a run in progress."""

Say = Callable[[str], None]
"""Takes a line of progress."""


def trained(experiment: Experiment, seed: int, device: str, say: Say, folder: Path = FOLDER) -> Path:
    """Return the run folder of a training: finished if it is there, resumed if it was interrupted, or made."""
    task = tasks.load(experiment.task, experiment.variant or None)
    settings = {name: str(value) for name, value in experiment.settings.items()}
    config = configure(task, experiment.model, settings, seed=seed, device=device)
    key = digest({**config.to_json(), "source": source(task)})  # an edited task is another
    short = Path(experiment.task).name.partition(":")[0]
    path = folder / f"{short}-{experiment.model.replace(':', '-')}-{key}-s{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be training the same
        _train(path, config, _heartbeat(say))
    return path


def _train(path: Path, config: RunConfig, report: Callable[[Any], None]) -> None:
    if path.exists() and not (path / "optimizer.safetensors").exists():  # interrupted before there was a model
        shutil.rmtree(path)
    if not path.exists():
        wall, cpu = time.monotonic(), _cpu_seconds()
        loop.train(path, config, report)
        spent = {"wall_seconds": time.monotonic() - wall, "cpu_seconds": _cpu_seconds() - cpu}
        (path / COST).write_text(json.dumps({name: round(value, 1) for name, value in spent.items()}))
    elif not _is_finished(path, config):
        loop.resume(path, report)


def _cpu_seconds() -> float:
    """Return the processor seconds that this process and its ended children have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def cost(path: Path) -> dict[str, float | None]:
    """Read the seconds that a training took; None for one that was interrupted."""
    file = path / COST
    return json.loads(file.read_text()) if file.exists() else {"wall_seconds": None, "cpu_seconds": None}


def _is_finished(path: Path, config: RunConfig) -> bool:
    """Whether training ended."""
    trained = runs.read_trained(path, config)
    return trained is not None and trained["finished"]


def _heartbeat(say: Say) -> Callable[[Any], None]:
    """Report the progress of training now and then."""
    last = time.monotonic()

    def report(row: Any) -> None:
        nonlocal last
        if time.monotonic() - last > QUIET:
            last = time.monotonic()
            say(f"step {row['step']}, held out {row['held_out']['exact']}/{row['held_out']['samples']}")

    return report

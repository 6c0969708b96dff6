"""One job of a recipe: train with one seed and measure, or look at locality. Runs in a process beside others."""

from __future__ import annotations

import fcntl
import shutil
import sys
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from tallystick import locality, runs, tasks
from tallystick.config import configure
from tallystick.evaluation import sweep
from tallystick.studies.base import At, Check, Run, key
from tallystick.tasks.registry import source
from tallystick.training import loop

FOLDER = Path("runs", "recipes")
"""Where the run folders lie; recipes that train alike share them."""
QUIET = 30.0
"""Seconds at least between two lines about a run in progress."""
COLUMNS = (
    *(
        "length",
        "worst_cases",
        "samples",
        "exact",
        "model_tokens",
        "low_margin_tokens",
        "min_margin",
        "train_overlap",
        "seconds",
    ),
    *("state_bytes", "score"),
)
"""What is kept of a row of `eval`; intervals, bounds and the accuracy per token follow from it. Several lengths share a
row where the recipe says so: there a column is a list, if they differ in it, or what POOLED makes of it."""
POOLED: dict[str, Callable[[Any], Any]] = dict(
    low_margin_tokens=sum, min_margin=min, train_overlap=max, seconds=sum, state_bytes=max
)
"""Columns of which a row of several lengths keeps one number."""
TRAIN_COLUMNS = ("step", "tokens", "seconds", "passed")
"""The same of the end of training."""
CHECK_COLUMNS = ("length", "k", "k_random", "contexts", "unseen", "coverage")
"""The same of a row of `check`."""


def measure(job: Run | Check, seed: int, device: str) -> dict[str, Any]:
    """What the results file keeps of the job. Raises ValueError for a job that cannot be done."""
    return _check(job, seed) if isinstance(job, Check) else _run(job, seed, device)


def _check(job: Check, seed: int) -> dict[str, Any]:
    report = locality.check(tasks.load(job.task, job.variant or None), problems=job.problems, seed=seed)
    rows = [[row[name] for name in CHECK_COLUMNS] for row in report["rows"]]
    return {"check": {"local": report["local"], "covered": report["covered"], "rows": rows}}


def _run(job: Run, seed: int, device: str) -> dict[str, Any]:
    path = trained(job, seed, device)
    run = runs.load(path, device)
    torch.set_num_threads(run.config["settings"]["threads"])
    said = _said(f"{job.name}, seed {seed}")
    here = [at for at in job.lengths if at.seed in (None, seed)]
    groups = [rows for at in here for rows in _at(run, at, job, seed, said)]
    errors = [_compact(error) for rows in groups for row in rows for error in row["first_errors"]]
    end = runs.read_metrics(path)[-1]
    return {
        "train": [end[name] for name in TRAIN_COLUMNS],
        "rows": [[_column(name, [row[name] for row in rows]) for name in COLUMNS] for rows in groups],
        **({"first_error": errors[0]} if errors else {}),
    }


def _at(run: runs.Run, at: At, job: Run, seed: int, said: Callable[[dict[str, Any]], None]) -> list[list[Any]]:
    """Rows of `eval` there: those of random problems and those of worst cases, as far as there are any."""
    lengths = [run.task.check_length(length) for length in at.lengths]
    rows = sweep.evaluate(run, lengths, at.problems, job.mode, seed, said, job.part, worst_cases=at.worst_cases)
    return [list(group) for _, group in groupby(sorted(rows, key=_is_worst), _is_worst)]


def _is_worst(row: dict[str, Any]) -> bool:
    return row["worst_cases"]


def _column(name: str, values: list[Any]) -> Any:
    """Of rows that share one in the results."""
    kept = [_short(value) for value in ([POOLED[name](values)] if name in POOLED else values)]
    return kept[0] if len({*kept}) == 1 else kept


def _short(value: Any) -> Any:
    """Four digits are enough."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _compact(error: dict[str, Any]) -> dict[str, Any]:
    """The deviation in a few words."""
    kept = {name: error[name] for name in ("position", "want", "got")}
    return kept | {"after": " ".join(error["context"][-8:])}


def trained(job: Run, seed: int, device: str) -> Path:
    """The run folder of this training: finished if it is there, taken up where it was interrupted, or made."""
    task = tasks.load(job.task, job.variant or None)
    settings = {name: str(value) for name, value in job.settings.items()}
    config = configure(task, job.model, settings, seed=seed, device=device)
    same = key({**config, "source": source(task)})  # an edited task is another
    path = FOLDER / f"{job.task.partition(':')[0]}-{job.model.replace(':', '-')}-{same}-s{seed}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another recipe may be training the same
        _train(path, config, _heartbeat(f"{job.name}, seed {seed}"))
    return path


def _heartbeat(name: str) -> Callable[[dict[str, Any]], None]:
    """Says now and then on stderr where training stands."""
    last = time.monotonic()

    def report(row: dict[str, Any]) -> None:
        nonlocal last
        if time.monotonic() - last > QUIET:
            last = time.monotonic()
            held_out = f"{row['held_out']['exact']}/{row['held_out']['samples']}"
            print(f"  {name}: step {row['step']}, held out {held_out}", file=sys.stderr, flush=True)

    return report


def _said(name: str) -> Callable[[dict[str, Any]], None]:
    """Says on stderr what took long to measure."""

    def report(row: dict[str, Any]) -> None:
        if row["seconds"] > QUIET:
            done = f"{row['length']:,}: {row['exact']}/{row['samples']}"
            print(f"  {name}: {done} in {row['seconds']:.0f} s", file=sys.stderr, flush=True)

    return report


def _train(path: Path, config: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> None:
    if path.exists() and not (path / "optimizer.safetensors").exists():  # interrupted before there was a model
        shutil.rmtree(path)
    if not path.exists():
        loop.train(path, config, report)
    elif not _finished(path, config):
        loop.resume(path, report)


def _finished(path: Path, config: dict[str, Any]) -> bool:
    """lookup is fitted in one go."""
    rows = runs.read_metrics(path)
    fitted = config["model"].startswith("lookup")
    return bool(rows) and (fitted or rows[-1]["passed"] or rows[-1]["step"] >= config["settings"]["steps"])

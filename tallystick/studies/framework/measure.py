"""Measure a study's declarations: train with one seed and evaluate, or check a program's locality."""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from tallystick import locality, runs, tasks
from tallystick.engine.reader import is_compiled
from tallystick.evaluation import certified, reach, sweep
from tallystick.locality import sequences
from tallystick.models.base import Model
from tallystick.provenance import environment
from tallystick.storage import parse_json
from tallystick.studies.framework.experiment import At, Declared, Experiment, LocalityCheck
from tallystick.studies.framework.schema import (
    ATTEMPT_COLUMNS,
    CHECK_COLUMNS,
    COLUMNS,
    POOLED,
    TRAINING_COLUMNS,
    Check,
    Deviation,
    Environment,
    Outcome,
)
from tallystick.studies.framework.trained import FOLDER, QUIET, Say, attempts, cost, trained


def do(declared: Declared, seed: int, device: str, say: Say) -> tuple[Environment, Outcome]:
    """Measure a declaration as a launcher's job; return the environment and the outcome."""
    where = _environment()
    try:
        return {**where, "device": device}, measure(declared, seed, device, say)
    finally:
        gc.collect()
        torch.cuda.empty_cache()  # other processes share the GPU


@cache
def _environment() -> Environment:
    """Describe the code loaded by this process, even if it is changed or committed later, and the command."""
    found = environment()
    keys = ("python", "versions", "machine", "processors", "gpu", "commit")
    command = " ".join(["tallystick", *sys.argv[1:]])
    return Environment(
        **{key: found[key] for key in keys},
        device=None, dirty=bool(found["dirty"]), command=command, date=time.strftime("%Y-%m-%d"),
    )  # fmt: skip


def measure(declared: Declared, seed: int, device: str, say: Say, folder: Path = FOLDER) -> Outcome:
    """Measure a declaration and return the outcome for the results file. Raises ValueError if that is impossible.

    folder: parent of the run folders, which are found or made there.
    """
    if isinstance(declared, LocalityCheck):
        return _check(declared, seed)
    return _experiment(declared, seed, device, say, folder)


def _check(declared: LocalityCheck, seed: int) -> Outcome:
    base = declared.variant.removesuffix(tasks.NOTES)
    plain = tasks.load(declared.task, base or None)
    try:
        task = tasks.load(declared.task, declared.variant or None)
    except ValueError as error:
        if base == declared.variant:
            raise
        return {"refused": str(error)}  # a refusal is a result, too: no notes make the program local
    report = locality.check(task, problems=declared.problems, seed=seed)
    rows = [[_short(row[name]) for name in CHECK_COLUMNS] for row in report["rows"]]
    check = Check(local=report["local"], covered=report["covered"], rows=rows, reason=report["reason"])
    if declared.tokens_at is not None:
        prompts = [plain.problem("test", 0, declared.tokens_at, i) for i in range(2)]
        check["notes"] = len(task.notes) - len(plain.notes)
        check["tokens"] = sum(len(sequences.of(task, prompt)[0]) for prompt in prompts)
    return Outcome(check=check)


def _experiment(experiment: Experiment, seed: int, device: str, say: Say, folder: Path) -> Outcome:
    path = trained(experiment, seed, device, say, folder)
    run = runs.load(path)
    torch.set_num_threads(run.config.settings.threads)
    began = time.monotonic()
    here = [at for at in experiment.at if at.seed in (None, seed)]
    groups = [rows for at in here for rows in _at(run, at, experiment, seed, device, say)]
    errors = [_compact(error) for rows in groups for row in rows for error in row["first_errors"]]
    end = runs.read_metrics(path)[-1] | {"examples": run.examples} | cost(path)
    outcome = Outcome(
        training=[_short(end[name]) for name in TRAINING_COLUMNS],
        rows=[[_column(name, [row[name] for row in rows]) for name in COLUMNS] for rows in groups],
        eval_seconds=round(time.monotonic() - began, 1),
    )
    if errors:
        outcome["first_error"] = errors[0]
    if experiment.looks_back:
        outcome["looks_back"] = reach.measure(run.model, run.task, seed).k
    if experiment.certify:
        outcome["attempts"] = [[_short(row[name]) for name in ATTEMPT_COLUMNS] for row in attempts(path)]
    if found := certified.read(path, run.config, run.task, run.weights).certified:
        outcome["certified"] = _short(found["min_margin"])
        if experiment.certify:
            outcome["checked"] = _is_verified(run, say)
    return outcome


def _is_verified(run: runs.Run, say: Say) -> bool:
    """Return whether separate code verifies a run's certificate; say why not."""
    document = parse_json((run.path / certified.FILE).read_text(encoding="utf-8"))
    if against := certified.verify(document, run, lambda line: None):
        say(f"the certificate is not verified: {against}")
    return not against


def _at(run: runs.Run, at: At, experiment: Experiment, seed: int, device: str, say: Say) -> list[list[Any]]:
    """Evaluate a run at one place; return the rows of random problems and those of worst cases, if there are any."""
    _place(run.model, at.mode, device)
    lengths = [run.task.check_length(length) for length in at.lengths]
    problem_seed = seed if experiment.problem_seed is None else experiment.problem_seed
    report, worst = _said(say), at.worst_cases
    rows = sweep.evaluate(run, lengths, at.problems, at.mode, problem_seed, report, experiment.part, worst_cases=worst)
    return [list(group) for _, group in groupby(sorted(rows, key=_is_worst), _is_worst)]


def _place(model: Model, mode: str, device: str) -> None:
    """Move a model to where it is measured: token by token, the compiled step of a CPU outruns a GPU."""
    if not (mode == "generate" and is_compiled(model.cpu())):
        model.to(device)


def _is_worst(row: Any) -> bool:
    return row["worst_cases"]


def _column(name: str, values: Sequence[Any]) -> Any:
    """Pool one column across rows that share a row in the results."""
    if name == "stops" and len(values) > 1:
        return None
    kept = [_short(value) for value in ([POOLED[name](values)] if name in POOLED else values)]
    return kept[0] if all(value == kept[0] for value in kept) else kept


def _short(value: Any) -> Any:
    """Round numbers to four digits; those that are not finite become None."""
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _compact(error: Any) -> Deviation:
    """Shorten a first error for the results file."""
    return Deviation(
        position=error["position"], want=error["want"], got=error["got"], after=" ".join(error["context"][-8:])
    )


def _said(say: Say) -> Callable[[Any], None]:
    """Return a callback that reports each row that took long to measure."""

    def report(row: Any) -> None:
        if row["seconds"] > QUIET:
            say(f"{row['length']:,}: {row['exact']}/{row['samples']} exact, in {row['seconds']:.0f} s")

    return report

"""Measure a study's missing results, with runs in parallel, and write its page and figure."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from tallystick import tasks
from tallystick.launch.jobs import Job
from tallystick.launch.local import LocalLauncher, gpus
from tallystick.models import load_class, split_preset
from tallystick.storage import check_makable
from tallystick.studies.framework.experiment import Declared, Experiment
from tallystick.studies.framework.measure import do
from tallystick.studies.framework.results import Results
from tallystick.studies.framework.schema import Outcome, Row, check_rows_of, grouped_rows_of, training_of
from tallystick.studies.framework.study import Study
from tallystick.studies.framework.trained import FOLDER

Work = tuple[Declared, int]
"""An experiment or a check, with its seed."""
SIZES = ("steps", "batch_size", "seq_len")
"""Settings whose product is the number of tokens of a training."""


def reproduce(
    study: Study,
    budget: str,
    models: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    device: str = "cpu",
    side_by_side: int = 1,
) -> list[str]:
    """Measure missing results, write results, page and figure, and return one line per failed job.

    models: by name or name:preset; None: all. Raises ValueError for a budget, model or seed that the study does not
    have, and for results that were made with other settings; OSError where nothing can be written.
    """
    declared, results = study.declared(budget), study.stored(budget)
    chosen = choose(declared, models)
    results.refuse_changed(declared)
    work = [(each, seed) for each in chosen for seed in study.seeds_of(each, seeds)]
    if not work:
        raise ValueError(f"--seeds {','.join(map(str, seeds or []))}: no experiment of {study.name} has such a seed")
    results.adopt(work)
    todo = [each for each in work if not results.has(*each)]
    for each in {declared.name: declared for declared, _ in todo}.values():
        _look_up(each)
    for place in (results.path, FOLDER / "run"):
        check_makable(place)
    if not todo:
        _print("all results are up to date")
    try:
        return _do(todo, results, device, side_by_side)
    finally:  # the results so far are shown after Ctrl-C, too
        results.refresh()
        study.write(budget, results)


def choose(declared: Sequence[Declared], models: Sequence[str] | None) -> list[Declared]:
    """Return the experiments of these models, and all checks. Raises ValueError for a model that no experiment has."""
    there = {name for each in declared if isinstance(each, Experiment) for name in _names(each)}
    for name in models or []:
        if name not in there:
            raise ValueError(f"no experiment has a model {name!r}; there are: {', '.join(sorted(there))}")
    return [each for each in declared if not models or not isinstance(each, Experiment) or {*_names(each)} & {*models}]


def _names(experiment: Experiment) -> tuple[str, str]:
    return experiment.model, experiment.model.partition(":")[0]


def _look_up(declared: Declared) -> None:
    """Check in advance that task, model and lengths exist. Raises ValueError if not."""
    task = tasks.load(declared.task, declared.variant.removesuffix(tasks.NOTES) or None)
    if isinstance(declared, Experiment):
        load_class(split_preset(declared.model)[0])
        for length in (length for at in declared.at for length in at.lengths):
            task.check_length(length)


def _do(todo: Sequence[Work], results: Results, device: str, side_by_side: int) -> list[str]:
    """Do the work in parallel, the longest first; return one line per failed job."""
    work = {f"{each.name}, seed {seed}": (each, seed) for each, seed in sorted(todo, key=_tokens, reverse=True)}
    jobs = [Job(name, do, (*each, device)) for name, each in work.items()]
    launcher, failures = LocalLauncher(side_by_side, gpus(device)), []
    with closing(launcher.run(jobs, lambda job, line: _print(f"  {job.name}: {line}"))) as outcomes:
        for number, outcome in enumerate(outcomes, 1):
            name = outcome.job.name
            if outcome.error:
                failures.append(f"{name}: {outcome.error}")
            else:
                results.add(*work[name], *outcome.value)
            said = f"failed: {outcome.error}" if outcome.error else describe(outcome.value[1])
            _print(f"[{number}/{len(todo)}] {name}: {said}")
    return failures


def _tokens(work: Work) -> int:
    """Return the most tokens that a training takes; 0 for a check."""
    plan: Any = work[0].plan
    return math.prod(int(plan[name]) for name in SIZES) if isinstance(work[0], Experiment) else 0


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def describe(outcome: Outcome) -> str:
    """Summarise an outcome in one line."""
    if "refused" in outcome:
        return outcome["refused"]
    if "check" in outcome:
        check = outcome["check"]
        ks = ", ".join(str(row.k) for row in check_rows_of(check))
        return f"k = {ks}; {'covered' if check['covered'] else 'not covered'}"
    training = training_of(outcome)
    held_out = "held out exact" if training.passed else "held out NOT exact"
    exact = ", ".join(map(_exact, grouped_rows_of(outcome)))
    return f"{training.step} steps in {training.seconds or 0:.0f} s, {held_out}; exact at {exact}"


def _exact(rows: Sequence[Row]) -> str:
    lengths = "-".join(f"{row.length:,}" for row in (rows[0], rows[-1])[: len(rows)])
    exact, samples = sum(row.exact for row in rows), sum(row.samples for row in rows)
    return f"{lengths}{' worst cases' * rows[0].worst_cases}: {exact}/{samples}"

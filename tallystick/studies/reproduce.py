"""Do what a recipe says: jobs side by side, in processes of their own; results are written after each."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from tallystick import tasks
from tallystick.models import load_class, split_preset
from tallystick.studies import show
from tallystick.studies.base import Check, Job, Recipe, Run, seeds_of
from tallystick.studies.results import Results

Work = tuple[Job, int]
"""A job and the seed that it is done with."""


def reproduce(
    recipe: Recipe,
    results: Results,
    models: list[str] | None = None,
    seeds: list[int] | None = None,
    device: str = "cpu",
    side_by_side: int = 1,
) -> list[str]:
    """Do the recipe's jobs that stand in no recipe's results, write these, and return a line for each that failed.

    models: by name or name:preset; None: all. Raises ValueError for one that the recipe does not have, and for results
    that were made with other settings.
    """
    every = recipe.jobs(results.budget)
    jobs = choose(every, models)
    results.refuse_other(every)
    work = [(job, seed) for job in jobs for seed in seeds_of(job, recipe, seeds)]
    results.borrow(work)
    todo = [each for each in work if not results.done(*each)]
    for job in {job.name: job for job, _ in todo}.values():
        _look_up(job)
    if not todo:
        print("nothing is missing", file=sys.stderr, flush=True)
    try:
        return _do(todo, results, device, side_by_side)
    finally:  # what is there is shown after Ctrl-C, too
        results.refresh()
        show.write(recipe, every, results)


def choose(jobs: Sequence[Job], names: list[str] | None) -> list[Job]:
    """The jobs of these models, and what needs none."""
    there = sorted({name for job in jobs if isinstance(job, Run) for name in (job.model, job.model.partition(":")[0])})
    for name in names or []:
        if name not in there:
            raise ValueError(f"the recipe has no model {name!r}; it has: {', '.join(there)}")
    return [job for job in jobs if not names or isinstance(job, Check) or {*_names(job)} & {*names}]


def _look_up(job: Job) -> None:
    """Raises ValueError, before anything is done, for a task, model or length that there is not."""
    task = tasks.load(job.task, job.variant or None)
    if isinstance(job, Run):
        load_class(split_preset(job.model)[0])
        for length in (length for at in job.lengths for length in at.lengths):
            task.check_length(length)


def _names(job: Run) -> tuple[str, str]:
    return job.model, job.model.partition(":")[0]


def _do(todo: list[Work], results: Results, device: str, side_by_side: int) -> list[str]:
    """Do the work; returns a line for each job that failed."""
    failures = []
    for number, (work, outcome) in enumerate(_side_by_side(todo, device, side_by_side), 1):
        (job, seed), failed = work, isinstance(outcome, str)
        if failed:
            failures.append(f"{job.name}, seed {seed}: {outcome}")
        else:
            results.add(job, seed, *outcome)
        said = f"failed: {outcome}" if failed else show.line(job, results.runs[-1])
        print(f"[{number}/{len(todo)}] {job.name}, seed {seed}: {said}", file=sys.stderr, flush=True)
    return failures


def _side_by_side(todo: list[Work], device: str, most: int) -> Iterator[tuple[Work, Any]]:
    """Each piece of work with its outcome, (environment, results), or what went wrong, in a line."""
    waiting, gpus = todo[::-1], _gpus(device)
    workers = [_Worker(device, gpus[i % len(gpus)] if gpus else None) for i in range(min(most, len(todo)))]
    busy: dict[Connection, tuple[_Worker, Work]] = {}
    try:
        while waiting or busy:
            idle = [worker for worker in workers if worker.pipe not in busy]
            while waiting and idle:
                worker, work = idle.pop(0), waiting.pop()
                worker.begin(work)
                busy[worker.pipe] = worker, work
            for pipe in wait(list(busy)):
                worker, work = busy.pop(pipe)  # type: ignore[arg-type]
                yield work, worker.outcome()
    finally:
        for worker in workers:
            worker.process.terminate()


class _Worker:
    """A process that does one job after the other, for to start one takes seconds. One that died, or in which a job
    failed, is replaced: the GPU may be unusable to it.

    gpu: the only one that it sees.
    """

    def __init__(self, device: str, gpu: str | None):
        self._arguments = device, gpu
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=_work, args=(*self._arguments, there))
        self.process.start()
        there.close()

    def begin(self, work: Work) -> None:
        """Send it a job."""
        try:
            self.pipe.send(work)
        except OSError:  # it died idle
            self._start()
            self.pipe.send(work)

    def outcome(self) -> Any:
        """Of the job that it was sent."""
        try:
            outcome = self.pipe.recv()
        except (EOFError, OSError):
            outcome = "its process died (out of memory?)"
        if isinstance(outcome, str):
            self.process.terminate()
            self._start()
        return outcome


def _gpus(device: str) -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them."""
    if device == "cpu":
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]


def _work(device: str, gpu: str | None, pipe: Connection) -> None:
    """A worker's life; it ends with the pipe."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before CUDA is first used
    from tallystick import runs

    threading.Thread(target=_end_with_parent, daemon=True).start()
    environment = runs.environment()  # of the code that it has loaded, whatever is committed later
    with suppress(KeyboardInterrupt, EOFError, OSError):
        while True:
            job, seed = pipe.recv()
            pipe.send(_outcome(job, seed, device, environment))
            gc.collect()
            torch.cuda.empty_cache()  # others share the GPU


def _end_with_parent() -> None:
    """However it ended: nobody would take what this process still does."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)


def _outcome(job: Job, seed: int, device: str, environment: dict[str, Any]) -> Any:
    from tallystick.studies.measure import measure

    try:
        return _where(environment), measure(job, seed, device)
    except ValueError as error:
        return " ".join(str(error).split())
    except Exception:
        return " ".join(traceback.format_exc(limit=-1).split())


def _where(environment: dict[str, Any]) -> dict[str, Any]:
    """Commit, versions, machine and the command; of changes that are not committed only that there are some."""
    kept = {key: environment[key] for key in ("python", "versions", "machine", "processors", "gpu", "commit")}
    command = " ".join(["tallystick", *sys.argv[1:]])
    return kept | {"dirty": bool(environment["dirty"]), "command": command, "date": time.strftime("%Y-%m-%d")}

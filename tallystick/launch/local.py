"""Jobs side by side on this machine: worker processes, each doing one job after the other."""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from tallystick.launch.jobs import Job, Outcome, Say
from tallystick.launch.lifetime import die_with_parent
from tallystick.launch.signals import ignore_interrupts, interrupts_blocked

DIED = "its process died (out of memory?)"
LOOK = 1.0
"""Seconds between two looks at which workers live."""


class LocalLauncher:
    """Runs jobs in at most `most` processes; gpus: CUDA_VISIBLE_DEVICES of the first, second, ... worker, in turn."""

    def __init__(self, most: int, gpus: Sequence[str] = ()):
        self._most, self._gpus = most, gpus

    def run(self, jobs: Sequence[Job], say: Say) -> Generator[Outcome]:
        """Yield each job's outcome once, as it ends; closing the iterator kills the workers."""
        waiting, workers = list(jobs), list[Worker]()
        try:
            for i in range(min(self._most, len(jobs))):
                workers.append(Worker(self._gpu(i)))  # one by one: an interrupt kills those there are
            while waiting or any(worker.job for worker in workers):
                for worker in workers:
                    if waiting and not worker.job:
                        worker.begin(waiting.pop(0))
                for worker in _ready(workers):
                    outcome = worker.receive(say)
                    if outcome:
                        yield outcome
        finally:
            for worker in workers:
                worker.kill()

    def _gpu(self, worker: int) -> str | None:
        return self._gpus[worker % len(self._gpus)] if self._gpus else None


def gpus(device: str) -> list[str]:
    """List the GPUs to spread jobs over, as CUDA_VISIBLE_DEVICES names them; none for device cpu."""
    if device == "cpu":
        return []
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]


class Worker:
    """A process that does one job after the other, since starting one takes seconds.

    It is replaced when it dies or a job in it fails: a failure may leave the GPU unusable to it.
    """

    def __init__(self, gpu: str | None = None):
        self.job: Job | None = None
        """The one in progress."""
        self._gpu = gpu
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=_work, args=(there, self._gpu))
        with interrupts_blocked():
            self.process.start()
        there.close()

    def begin(self, job: Job) -> None:
        """Send it a job, to a new process if the one before died idle, or was killed after a job that failed."""
        self.job = job
        try:
            self.pipe.send(job)
        except OSError:
            self.kill()
            self._start()
            self.pipe.send(job)

    def receive(self, say: Say) -> Outcome | None:
        """Take its next message: a line of progress, which is handed on, or the outcome of its job."""
        assert self.job
        job, (kind, content) = self.job, self._message()
        if kind == "line":
            say(job, content)
            return None
        self.job = None
        if kind == "value":
            return Outcome(job, value=content)
        self.kill()
        return Outcome(job, error=content)

    def _message(self) -> tuple[str, Any]:
        try:
            if self.pipe.poll():  # what it sent before it died counts
                return self.pipe.recv()
        except (EOFError, OSError):
            pass
        return "error", DIED

    def kill(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _ready(workers: Sequence[Worker]) -> list[Worker]:
    """Wait until some of the busy workers have sent something or died.

    A pipe ends with its process, unless a child of that process still holds it: so look at the processes, too.
    """
    busy, ready = [worker for worker in workers if worker.job], list[Worker]()
    while not ready:
        sent = wait([worker.pipe for worker in busy], LOOK)
        ready = [worker for worker in busy if worker.pipe in sent or not worker.process.is_alive()]
    return ready


def _work(pipe: Connection, gpu: str | None) -> None:
    """Live as a worker: do jobs until the pipe closes."""
    die_with_parent()
    ignore_interrupts()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # the parent's stdout may be one JSON document
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before CUDA is first used
    try:
        while True:
            pipe.send(_do(pipe.recv(), pipe))
    except (EOFError, OSError):
        return


def _do(job: Job, pipe: Connection) -> tuple[str, Any]:
    """Do a job; returns ("value", what it returned) or ("error", one line)."""
    try:
        return "value", job.function(*job.arguments, lambda line: pipe.send(("line", line)))
    except (ValueError, OSError) as error:
        return "error", " ".join(str(error).split())
    except (Exception, SystemExit):
        return "error", " ".join(traceback.format_exc(limit=-1).split())

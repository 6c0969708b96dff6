"""A launcher for this machine: parallel worker processes, each of which does one job after the other."""

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
"""Seconds between two checks of which workers are alive."""


class LocalLauncher:
    """Runs jobs in at most `most` processes; gpus: values of CUDA_VISIBLE_DEVICES, assigned to workers in turn."""

    def __init__(self, most: int, gpus: Sequence[str] = ()):
        self._most, self._gpus = most, gpus

    def run(self, jobs: Sequence[Job], say: Say) -> Generator[Outcome]:
        """Yield each job's outcome as it ends; closing the iterator kills the workers."""
        waiting, workers = list(jobs), list[Worker]()
        try:
            for i in range(min(self._most, len(jobs))):
                workers.append(Worker(self._gpu(i)))  # one by one, so that an interrupt kills those already started
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
    """List the GPUs to spread jobs over, named as in CUDA_VISIBLE_DEVICES; none for device "cpu"."""
    if device == "cpu":
        return []
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]


class Worker:
    """A process that does one job after the other, since starting a process takes seconds.

    The process is replaced if it dies or a job in it fails, since a failure may leave the GPU unusable for it.
    """

    def __init__(self, gpu: str | None = None):
        self.job: Job | None = None
        """The job in progress."""
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
        """Send the process a job; it is started anew if it died while idle or was killed after a failed job."""
        self.job = job
        try:
            self.pipe.send(job)
        except OSError:
            self.kill()
            self._start()
            self.pipe.send(job)

    def receive(self, say: Say) -> Outcome | None:
        """Receive the next message: a line of progress is passed to `say`, the job's outcome is returned."""
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
            if self.pipe.poll():  # messages sent before the process died still count
                return self.pipe.recv()
        except (EOFError, OSError):
            pass
        return "error", DIED

    def kill(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _ready(workers: Sequence[Worker]) -> list[Worker]:
    """Wait until some of the busy workers have sent a message or died.

    A pipe closes with its process unless a child of that process still holds it, so the processes are checked, too.
    """
    busy, ready = [worker for worker in workers if worker.job], list[Worker]()
    while not ready:
        sent = wait([worker.pipe for worker in busy], LOOK)
        ready = [worker for worker in busy if worker.pipe in sent or not worker.process.is_alive()]
    return ready


def _work(pipe: Connection, gpu: str | None) -> None:
    """Run a worker process: do jobs until the pipe closes."""
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
    """Do a job; return ("value", its return value) or ("error", a message in one line)."""
    try:
        return "value", job.function(*job.arguments, lambda line: pipe.send(("line", line)))
    except (ValueError, OSError) as error:
        return "error", " ".join(str(error).split())
    except (Exception, SystemExit):
        return "error", " ".join(traceback.format_exc(limit=-1).split())

"""Worker processes that make training batches."""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import numpy as np

from tallystick.data.packing import Batch, Packer, Position
from tallystick.data.source import Source
from tallystick.launch.lifetime import die_with_parent
from tallystick.launch.signals import ignore_interrupts, interrupts_blocked
from tallystick.locality import programs
from tallystick.problem import prompt_digest
from tallystick.tasks import Task

MISTAKES = (ValueError, OSError, MemoryError)
"""Errors of a worker that are raised again in the parent."""


@dataclass(frozen=True)
class Share:
    """One worker process's share of the data: examples worker, worker + workers, ... of the source."""

    source: Source
    batch_size: int
    seq_len: int
    worker: int = 0
    workers: int = 1
    position: Position | None = None
    """Packing progress after the last batch taken; None for the beginning."""
    held_out: frozenset[str] = frozenset()
    """Digests of held-out prompts, to be reported if they come up."""


@dataclass(frozen=True)
class Portion:
    """A worker's part of a batch."""

    batch: Batch
    position: Position
    """Packing progress after this batch."""
    overlap: list[str]
    """Digests of the held-out prompts among the examples begun since the previous portion."""
    fingerprint: str
    """`Source.fingerprint`, computed by the worker."""


def produce(task: Task, share: Share, emit: Callable[[Portion], None]) -> None:
    """Emit batches endlessly. Raises ProgramError, naming task, length, seed and example, for a wrong program."""
    source, overlap = share.source, list[str]()
    fingerprint = source.fingerprint(task)

    def hand_on(batch: Batch, position: Position) -> None:
        emit(Portion(batch, position, overlap.copy(), fingerprint))
        overlap.clear()

    packer = Packer(share.batch_size, share.seq_len, hand_on, task.predict_observations)
    for example, sequence, skip in _examples(share.position or [], share.worker, share.workers):
        fresh = random.Random(f"{source.seed} {example}").random() >= source.state_passing
        packer.begin(example, sequence, skip, reset=fresh)
        if share.held_out and (digest := prompt_digest(source.problem(task, example))) in share.held_out:
            overlap.append(digest)
        if prompt := source.focused(example):
            programs.run(task, prompt, packer)
        else:
            largest = source.largest(task, example)
            programs.run_problem(task, packer, "train", source.seed, largest, example, up_to=True)


def _examples(position: Position, worker: int, workers: int) -> Iterator[tuple[int, int | None, int]]:
    """Yield (example, sequence, tokens used): first those already begun at this position, in order, then new ones."""
    begun = sorted((example, number, used) for number, examples in enumerate(position) for example, used in examples)
    yield from begun
    yield from ((example, None, 0) for example in count(begun[-1][0] + workers if begun else worker, workers))


class Loader:
    """Yields batches from `workers` processes, each of which fills batch_size / workers of the sequences.

    The batches are a pure function of the arguments. positions: those after the last batch taken, to continue from.
    held_out: digests of prompts to be reported if they come up. Use it as a context manager: its end stops the workers.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        seq_len: int,
        workers: int = 1,
        positions: list[Position] | None = None,
        held_out: frozenset[str] = frozenset(),
    ):
        if batch_size % workers:
            raise ValueError(f"{batch_size} sequences cannot be divided among {workers} workers; choose a divisor")
        self.positions: list[Position | None] = list(positions or [None] * workers)
        """Packing progress of each worker after the last batch taken."""
        self.overlap: set[str] = set()
        """Digests of the held-out prompts that have come up in training."""
        self._source = source
        self._workers: list[tuple[BaseProcess, Connection]] = []
        self._ahead: list[Portion] = []
        for worker, position in enumerate(self.positions):
            self._start(Share(source, batch_size // workers, seq_len, worker, workers, position, held_out))

    def _start(self, share: Share) -> None:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(share, there), daemon=True)
        with interrupts_blocked():
            process.start()
            self._workers.append((process, here))
        there.close()

    def check(self, task: Task) -> None:
        """Check, before the first batch is used, that the workers draw the same problems as this process.

        Raises ValueError for a task whose problems or program differ from process to process.
        """
        self._ahead = self._receive_all()
        own = self._source.fingerprint(task)
        if any(portion.fingerprint != own for portion in self._ahead):
            raise ValueError(
                f"{task.name}: another process draws other problems or trajectories from the same seed; take "
                "randomness from rng alone, and depend on neither hash() nor the order of a set"
            )

    def __iter__(self) -> Iterator[Batch]:
        while True:
            portions, self._ahead = self._ahead or self._receive_all(), []
            self.positions = [portion.position for portion in portions]
            self.overlap.update(digest for portion in portions for digest in portion.overlap)
            parts = [portion.batch for portion in portions]
            yield Batch(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Batch)))

    def _receive_all(self) -> list[Portion]:
        return [self._receive(worker) for worker in range(len(self._workers))]

    def _receive(self, worker: int) -> Portion:
        process, pipe = self._workers[worker]
        try:
            message = pipe.recv()
        except EOFError:
            process.join()
            how = f"exit code {process.exitcode}"
            raise ChildProcessError(f"data worker {worker} died ({how}); was it out of memory?") from None
        if isinstance(message, Exception):
            raise message
        return message

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *exception: object) -> None:
        for process, pipe in self._workers:
            pipe.close()
            process.terminate()
            process.join()


def _work(share: Share, pipe: Connection) -> None:
    """Run a worker process: it waits while the pipe is full, and ends when the pipe is closed or its parent dies."""
    die_with_parent()
    ignore_interrupts()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # the parent's stdout is for results
    with suppress(BrokenPipeError, ConnectionResetError):
        try:
            produce(share.source.load(), share, pipe.send)
        except MISTAKES as error:
            pipe.send(error)

"""Worker processes that make training batches."""

from __future__ import annotations

import multiprocessing
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields
from itertools import count
from multiprocessing.connection import Connection

import numpy as np

from tallystick import tasks
from tallystick.data.packing import Batch, Packer, Position
from tallystick.data.source import Source
from tallystick.tasks import runner
from tallystick.workspace import ProgramError


def produce(
    source: Source, rows: int, length: int, worker: int, workers: int, position: Position | None,
    emit: Callable[[Batch, Position], None],
) -> None:  # fmt: skip
    """Make batches for ever, from examples worker, worker + workers, ...; from `position` on if one is given.

    Raises ProgramError, naming task, length, seed and example, for a program that is wrong.
    """
    task = tasks.load(source.task, source.variant)
    packer = Packer(rows, length, emit, task.predict_observations)
    for example, row, skip in _examples(position or [], worker, workers):
        fresh = random.Random(f"{source.seed} {example}").random() >= source.state_passing
        packer.begin(example, row, skip, reset=fresh)
        largest = source.largest(task, example)
        runner.run_problem(task, packer, "train", source.seed, largest, example, up_to=True)


def _examples(position: Position, worker: int, workers: int) -> Iterator[tuple[int, int | None, int]]:
    """First those that the position had begun, in order, on their rows, less the tokens used; then fresh ones."""
    begun = sorted((example, row, used) for row, examples in enumerate(position) for example, used in examples)
    yield from begun
    yield from ((example, None, 0) for example in count(begun[-1][0] + workers if begun else worker, workers))


class Loader:
    """Batches of `rows` x `length` tokens from `workers` processes, each of which fills rows / workers of the rows.

    The batches are a pure function of the arguments. positions: those of the last batch taken before, to go on from
    there. Use as a context manager: its end stops the workers.
    """

    def __init__(
        self, source: Source, rows: int, length: int, workers: int = 1, positions: list[Position] | None = None
    ):
        if rows % workers:
            raise ValueError(f"{rows} rows cannot be shared by {workers} workers")
        self.positions: list[Position | None] = list(positions or [None] * workers)
        """Of each worker's stream, after the last batch taken."""
        context = multiprocessing.get_context("spawn")
        self._pipes, self._processes = [], []
        for worker in range(workers):
            here, there = context.Pipe(duplex=False)
            arguments = (source, rows // workers, length, worker, workers, self.positions[worker], there)
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            parts, positions = zip(*map(self._receive, range(len(self._pipes))), strict=True)
            self.positions = list(positions)
            yield Batch(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Batch)))

    def _receive(self, worker: int) -> tuple[Batch, Position]:
        try:
            batch, position = self._pipes[worker].recv()
        except EOFError:
            raise RuntimeError(f"data worker {worker} died") from None
        if isinstance(batch, ProgramError):
            raise batch
        return batch, position

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *exception: object) -> None:
        for process, pipe in zip(self._processes, self._pipes, strict=True):
            pipe.close()
            process.terminate()
            process.join()


def _work(source: Source, rows: int, length: int, worker: int, workers: int, position: Position, pipe: Connection):
    """A worker's life. A full pipe makes it wait; a closed one, or its parent's death, ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    with suppress(BrokenPipeError):
        try:
            produce(source, rows, length, worker, workers, position, lambda *message: pipe.send(message))
        except ProgramError as error:
            pipe.send((error, position))

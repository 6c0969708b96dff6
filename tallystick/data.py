"""Training data: fresh trajectories from worker processes, packed into rows with state resets.

A row is a stream of whole examples, one after the other, and a batch is the next `length` tokens of every row: nothing
is padded (a third of a padded batch is padding) and nothing is cut, for the model's state is carried over from batch
to batch. No torch here: a worker starts in a fraction of a second.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from tallystick import tasks, workspace
from tallystick.episode import BLOCK
from tallystick.vocab import loss_mask

Position = list[list[list[int]]]
"""Where a worker's stream stands: for each of its rows the examples not used up, as [example, tokens used]."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What training examples are drawn from."""

    task: str
    """Name or file:class, as for `tasks.load`."""
    variant: str | None
    """The task's program."""
    length: int
    """Examples are at most this long."""
    seed: int
    """Of the examples."""
    state_passing: float = 0.0
    """Share of the examples that begin in the state that the one before them left, not in zero: the model meets states
    as old as those of problems far longer than its own (Buitrago and Gu 2025, arXiv 2507.02782)."""
    curriculum: int = 0
    """The first so many examples grow evenly from the task's shortest length to `length`. It counts examples, not
    steps, so that an example stays a pure function of its number."""

    @classmethod
    def of(cls, config: dict[str, Any]) -> Source:
        """The source of a run, from its config.json."""
        settings = config["settings"]
        own = {name: settings[name] for name in ("seed", "state_passing", "curriculum") if name in settings}
        return cls(task=config["task"], variant=config["variant"], length=settings["train_length"], **own)

    def largest(self, task: tasks.Task, example: int) -> int:
        """The length that the example has at most."""
        if example >= self.curriculum:
            return self.length
        return task.min_length + (self.length - task.min_length + 1) * example // self.curriculum

    def problem(self, task: tasks.Task, example: int) -> list[str]:
        """The example's prompt."""
        return task.problem("train", self.seed, self.largest(task, example), example, up_to=True)


@dataclass(frozen=True)
class Batch:
    """The next tokens of every row."""

    ids: np.ndarray
    """uint16 [rows, length + 1]: inputs and, one further on, targets."""
    trained: np.ndarray
    """bool [rows, length]: whether the target is the model's to say."""
    reset: np.ndarray
    """bool [rows, length]: whether the state is to be zeroed before this input, for an example begins there."""
    lengths: np.ndarray
    """int64 [rows]: inputs of the row that count; in training less than `length` only beside one giant example."""


@dataclass(eq=False)
class Row:
    """A stream of whole examples: its tokens that are not used yet, and the examples that they belong to.

    predict_observations: as for `loss_mask`.
    """

    predict_observations: bool = False
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint16))
    trained: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    reset: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    examples: list[list[int]] = field(default_factory=list)
    """[example, tokens used, tokens seen] of each."""

    def __len__(self) -> int:
        """Inputs that wait; the last token is a target at most."""
        return max(len(self.ids) - 1, 0)

    def begin(self, example: int, skip: int = 0, *, reset: bool = True) -> None:
        """The next writes are of this example, less its first `skip` tokens; reset: it begins in the zero state."""
        self.examples.append([example, skip, skip])
        self._skip, self._reset = skip, reset

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Take a block of the example."""
        reset = np.zeros(len(ids), bool)
        reset[0] = self._reset
        drop, self._skip, self._reset = min(self._skip, len(ids)), max(self._skip - len(ids), 0), False
        self.ids = np.concatenate([self.ids, ids[drop:]])
        self.trained = np.concatenate([self.trained, loss_mask(roles[drop:], self.predict_observations)])
        self.reset = np.concatenate([self.reset, reset[drop:]])
        self.examples[-1][2] += len(ids) - drop

    def take(self, length: int) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
        """Up to `length` inputs with their targets, filled up with zeros; the last target stays as next input."""
        used = min(length, len(self))
        ids, trained, reset = np.zeros(length + 1, np.uint16), np.zeros(length, bool), np.zeros(length, bool)
        ids[: min(used + 1, len(self.ids))] = self.ids[: used + 1]
        trained[:used], reset[:used] = self.trained[1 : used + 1], self.reset[:used]
        self.ids, self.trained, self.reset = self.ids[used:], self.trained[used:], self.reset[used:]
        self._use(used)
        return used, ids, trained, reset

    def _use(self, tokens: int) -> None:
        for example in self.examples:
            step = min(tokens, example[2] - example[1])
            example[1] += step
            tokens -= step
        # the last one stays: its program may still be running, and its [EOS] has not been an input yet
        self.examples = [e for e in self.examples[:-1] if e[1] < e[2]] + self.examples[-1:]


def take(rows: Sequence[Row], length: int) -> Batch:
    """The next `length` inputs of every row, or as many as it has."""
    lengths, ids, trained, reset = zip(*(row.take(length) for row in rows), strict=True)
    return Batch(np.stack(ids), np.stack(trained), np.stack(reset), np.array(lengths))


class Packer:
    """A sink that lays examples into rows and hands on a batch as soon as every row has enough tokens.

    An example goes to the row that has the fewest tokens waiting. One that outgrows a whole block while the other
    rows are short is handed on beside them as they are: memory is bounded whatever an example's length.
    predict_observations: as for `loss_mask`.
    """

    def __init__(
        self,
        rows: int,
        length: int,
        emit: Callable[[Batch, Position], None],
        predict_observations: bool = False,
    ):
        self._rows = [Row(predict_observations) for _ in range(rows)]
        self._length, self._emit = length, emit

    def begin(self, example: int, row: int | None = None, skip: int = 0, *, reset: bool = True) -> None:
        """As a row's `begin`; row and skip: where a stored position says that it stood."""
        self._row = min(self._rows, key=lambda row: len(row.ids)) if row is None else self._rows[row]
        self._row.begin(example, skip, reset=reset)

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Take a block of the example."""
        self._row.write(ids, roles)
        while self._ready():
            self._hand_on()

    def close(self, ok: bool) -> None:
        """An example has ended; a wrong one raises where it runs."""

    def drain(self) -> None:
        """Hand on what is left, in batches that may be short."""
        while any(len(row.ids) > 1 for row in self._rows):
            self._hand_on()

    def _ready(self) -> bool:
        waiting = [len(row.ids) for row in self._rows]
        return min(waiting) > self._length or max(waiting) > BLOCK + self._length

    def _hand_on(self) -> None:
        batch = take(self._rows, self._length)
        self._emit(batch, [[[example, used] for example, used, _ in row.examples] for row in self._rows])


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
        workspace.run_problem(task, packer, "train", source.seed, largest, example, up_to=True)


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
        if isinstance(batch, workspace.ProgramError):
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
        except workspace.ProgramError as error:
            pipe.send((error, position))

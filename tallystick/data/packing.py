"""Examples packed end to end into rows, with state resets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tallystick.episode import BLOCK
from tallystick.vocab import loss_mask

Position = list[list[list[int]]]
"""Where a worker's stream stands: for each of its rows the examples not used up, as [example, tokens used]."""


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

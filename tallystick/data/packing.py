"""Packing: whole examples end to end in the sequences of a batch, with a state reset where each begins.

A batch is the next `length` tokens of every sequence. Nothing is padded, since a third of a padded batch would be
padding, and nothing is cut, since the model's state is carried over from batch to batch. This module does not import
torch, so that worker processes start in a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tallystick.episode import BLOCK, ID_DTYPE
from tallystick.vocab import loss_mask

Position = list[list[list[int]]]
"""Progress of packing: for each sequence, the examples that are not used up, as [example, tokens used]."""


@dataclass(frozen=True)
class Batch:
    """The next tokens of every sequence."""

    ids: np.ndarray
    """ID_DTYPE [batch_size, length + 1]: inputs, and targets shifted by one."""
    trained: np.ndarray
    """bool [batch_size, length]: whether the target is a model token."""
    reset: np.ndarray
    """bool [batch_size, length]: whether the state is zeroed before this input, because an example begins here."""
    lengths: np.ndarray
    """int64 [batch_size]: number of valid inputs; in training below `length` only while another sequence holds a giant
    example."""


@dataclass
class OpenExample:
    """An example with tokens still to be written or still to be handed out."""

    number: int
    used: int
    """Number of its tokens handed out."""
    written: int
    """Number of its tokens written so far."""

    def use(self, tokens: int) -> int:
        """Hand out up to `tokens` of its tokens; return how many are left to be taken from the next example."""
        own = min(tokens, self.written - self.used)
        self.used += own
        return tokens - own


class PackedSequence:
    """One sequence of a batch: a queue of examples end to end, written at its end and handed out from its front.

    predict_observations: see `loss_mask`.
    """

    def __init__(self, predict_observations: bool = False):
        self._predict_observations = predict_observations
        self.open: list[OpenExample] = []
        """The examples with waiting tokens; the last one stays, since its program may still be running."""
        self.drop()

    def __len__(self) -> int:
        """Return the number of waiting inputs; the last waiting token is only a target so far."""
        return max(len(self._ids) - 1, 0)

    @property
    def waiting(self) -> int:
        """Number of waiting tokens."""
        return len(self._ids)

    def begin(self, number: int, skip: int = 0, *, reset: bool = True) -> None:
        """Begin an example, without its first `skip` tokens; reset: whether it begins from a zero state."""
        self.open.append(OpenExample(number, skip, skip))
        self._skip, self._reset_next = skip, reset

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Append a block of the example that was begun last."""
        reset = np.zeros(len(ids), bool)
        reset[0] = self._reset_next
        skip = min(self._skip, len(ids))
        self._skip, self._reset_next = self._skip - skip, False
        self._ids = np.concatenate([self._ids, ids[skip:]])
        self._trained = np.concatenate([self._trained, loss_mask(roles[skip:], self._predict_observations)])
        self._reset = np.concatenate([self._reset, reset[skip:]])
        self.open[-1].written += len(ids) - skip

    def take(self, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Hand out up to `length` inputs: (ids [length + 1], trained, reset, valid inputs), padded with zeros.

        The last target stays in the queue, as the next input.
        """
        used = min(length, len(self))
        ids, trained, reset = np.zeros(length + 1, ID_DTYPE), np.zeros(length, bool), np.zeros(length, bool)
        ids[: min(used + 1, len(self._ids))] = self._ids[: used + 1]
        trained[:used], reset[:used] = self._trained[1 : used + 1], self._reset[:used]
        self._ids, self._trained, self._reset = self._ids[used:], self._trained[used:], self._reset[used:]
        left = used
        for example in self.open:
            left = example.use(left)
        self.open = [e for e in self.open[:-1] if e.used < e.written] + self.open[-1:]
        return ids, trained, reset, used

    def drop(self) -> None:
        """Drop all waiting tokens."""
        self._ids, self._trained, self._reset = np.zeros(0, ID_DTYPE), np.zeros(0, bool), np.zeros(0, bool)
        self.open.clear()


def take(sequences: Sequence[PackedSequence], length: int) -> Batch:
    """Hand out the next `length` inputs of every sequence, or as many as it has."""
    ids, trained, reset, lengths = zip(*(sequence.take(length) for sequence in sequences), strict=True)
    return Batch(np.stack(ids), np.stack(trained), np.stack(reset), np.array(lengths))


class Packer:
    """A sink that packs examples, and emits a batch as soon as every sequence has enough tokens.

    An example goes to the sequence with the fewest waiting tokens. When one outgrows a whole block while other
    sequences are short, a batch is emitted with those as short as they are, so that memory is bounded whatever the
    examples' lengths. predict_observations: see `loss_mask`.
    """

    def __init__(
        self,
        batch_size: int,
        length: int,
        emit: Callable[[Batch, Position], None],
        predict_observations: bool = False,
    ):
        self._sequences = [PackedSequence(predict_observations) for _ in range(batch_size)]
        self._length, self._emit = length, emit

    def begin(self, number: int, sequence: int | None = None, skip: int = 0, *, reset: bool = True) -> None:
        """Begin an example; sequence and skip: its place, if it is resumed from a stored position."""
        self._current = min(self._sequences, key=lambda s: s.waiting) if sequence is None else self._sequences[sequence]
        self._current.begin(number, skip, reset=reset)

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Append a block of the example."""
        self._current.write(ids, roles)
        while self._is_ready():
            self._emit_batch()

    def close(self, ok: bool) -> None:
        """Do nothing: a wrong answer raises where the program runs."""

    def drain(self) -> None:
        """Emit what is left, in batches that may be short."""
        while any(len(sequence) for sequence in self._sequences):
            self._emit_batch()

    def _is_ready(self) -> bool:
        waiting = [len(sequence) for sequence in self._sequences]
        return min(waiting) >= self._length or max(waiting) >= BLOCK + self._length

    def _emit_batch(self) -> None:
        batch = take(self._sequences, self._length)
        self._emit(batch, [[[e.number, e.used] for e in sequence.open] for sequence in self._sequences])

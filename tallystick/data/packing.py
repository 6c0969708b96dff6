"""Packing: whole examples end to end in the sequences of a batch, with a state reset where each begins.

A batch is the next `length` tokens of every sequence: nothing is padded (a third of a padded batch is padding) and
nothing is cut, for the model's state is carried over from batch to batch. No torch here: a worker process that packs
starts in a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tallystick.episode import BLOCK, ID_DTYPE
from tallystick.vocab import loss_mask

Position = list[list[list[int]]]
"""Where packing stands: for each sequence the examples that are not used up, as [example, tokens used]."""


@dataclass(frozen=True)
class Batch:
    """The next tokens of every sequence."""

    ids: np.ndarray
    """ID_DTYPE [batch_size, length + 1]: inputs and, one further on, targets."""
    trained: np.ndarray
    """bool [batch_size, length]: whether the target is the model's to say."""
    reset: np.ndarray
    """bool [batch_size, length]: whether the state is zeroed before this input, because an example begins there."""
    lengths: np.ndarray
    """int64 [batch_size]: inputs that count; in training fewer than `length` only beside one giant example."""


@dataclass
class OpenExample:
    """An example of which tokens are still to be handed out, or still to come."""

    number: int
    used: int
    """Its tokens that were handed out."""
    written: int
    """Its tokens that have come so far."""

    def use(self, tokens: int) -> int:
        """Hand out up to so many of its tokens; returns how many are left to be taken from the next example."""
        own = min(tokens, self.written - self.used)
        self.used += own
        return tokens - own


class PackedSequence:
    """One sequence of a batch: examples end to end, of which the first tokens are handed out while the last come in.

    predict_observations: as for `loss_mask`.
    """

    def __init__(self, predict_observations: bool = False):
        self._predict_observations = predict_observations
        self.open: list[OpenExample] = []
        """The examples that tokens wait of; the last one stays, for its program may still be running."""
        self.drop()

    def __len__(self) -> int:
        """Inputs that wait; the last token is a target at most."""
        return max(len(self._ids) - 1, 0)

    @property
    def waiting(self) -> int:
        """Tokens that wait."""
        return len(self._ids)

    def begin(self, number: int, skip: int = 0, *, reset: bool = True) -> None:
        """Begin an example, without its first `skip` tokens; reset: it begins in the zero state."""
        self.open.append(OpenExample(number, skip, skip))
        self._skip, self._reset_next = skip, reset

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Take a block of the example that was begun last."""
        reset = np.zeros(len(ids), bool)
        reset[0] = self._reset_next
        skip = min(self._skip, len(ids))
        self._skip, self._reset_next = self._skip - skip, False
        self._ids = np.concatenate([self._ids, ids[skip:]])
        self._trained = np.concatenate([self._trained, loss_mask(roles[skip:], self._predict_observations)])
        self._reset = np.concatenate([self._reset, reset[skip:]])
        self.open[-1].written += len(ids) - skip

    def take(self, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Hand out up to `length` inputs: (ids [length + 1], trained, reset, inputs that count), filled with zeros.

        The last target stays, as the next input.
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
        """Forget everything that waits."""
        self._ids, self._trained, self._reset = np.zeros(0, ID_DTYPE), np.zeros(0, bool), np.zeros(0, bool)
        self.open.clear()


def take(sequences: Sequence[PackedSequence], length: int) -> Batch:
    """Hand out the next `length` inputs of every sequence, or as many as it has."""
    ids, trained, reset, lengths = zip(*(sequence.take(length) for sequence in sequences), strict=True)
    return Batch(np.stack(ids), np.stack(trained), np.stack(reset), np.array(lengths))


class Packer:
    """A sink that packs examples, and hands on a batch as soon as every sequence has enough tokens.

    An example goes to the sequence with the fewest tokens waiting. One that outgrows a whole block while the other
    sequences are short is handed on beside them as they are: memory is bounded whatever an example's length.
    predict_observations: as for `loss_mask`.
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
        """Begin an example; sequence and skip: where a stored position says that it stood."""
        self._current = min(self._sequences, key=lambda s: s.waiting) if sequence is None else self._sequences[sequence]
        self._current.begin(number, skip, reset=reset)

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Take a block of the example."""
        self._current.write(ids, roles)
        while self._is_ready():
            self._hand_on()

    def close(self, ok: bool) -> None:
        """End an example; a wrong one raises where it runs."""

    def drain(self) -> None:
        """Hand on what is left, in batches that may be short."""
        while any(len(sequence) for sequence in self._sequences):
            self._hand_on()

    def _is_ready(self) -> bool:
        waiting = [len(sequence) for sequence in self._sequences]
        return min(waiting) >= self._length or max(waiting) >= BLOCK + self._length

    def _hand_on(self) -> None:
        batch = take(self._sequences, self._length)
        self._emit(batch, [[[e.number, e.used] for e in sequence.open] for sequence in self._sequences])

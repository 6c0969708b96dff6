"""Episodes side by side: many problems' programs take turns, and each goes on only when its row is short of tokens.

So the rows of a model that loops over time are full however long the problems are. Each row holds a chunk and a block,
and its program with whatever that and its tools remember.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextvars import copy_context

import numpy as np
from greenlet import getcurrent, greenlet

from tallystick.data.packing import Batch, Row, take
from tallystick.episode import StopProgram


class Stream(Row):
    """A row that is filled only while it is asked to go on. A subclass says with what."""

    def __init__(self, predict_observations: bool = False):
        super().__init__(predict_observations)
        self._filling = greenlet(self.fill)  # no thread: signals, and so the watch over programs, go on working
        self._filling.gr_context = copy_context()  # a program's decimal precision, say

    def fill(self) -> None:
        """Write whole episodes, one after the other, to the last."""
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to come."""
        return self._filling.dead

    @property
    def unwanted(self) -> bool:
        """Whether the episode that is being written is to end here."""
        return False

    def go_on(self) -> None:
        """Let one block be written, or end the unwanted episode and let one of the next."""
        self._filling.parent = getcurrent()
        self._filling.switch()

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Take a block, and wait until the next one is asked for. Raises StopProgram if no more of it is wanted."""
        super().write(ids, roles)
        reader = self._filling.parent
        assert reader
        reader.switch()
        if self.unwanted:
            raise StopProgram

    def close(self, ok: bool) -> None:
        """An episode has ended; a wrong one raises where it runs."""

    def end(self) -> None:
        """Give up whatever is still to come."""
        self._filling.throw()

    def clear(self) -> None:
        """Forget what waits."""
        self.ids, self.trained, self.reset, self.examples = self.ids[:0], self.trained[:0], self.reset[:0], []


def batches(streams: Sequence[Stream], length: int) -> Iterator[Batch]:
    """The streams' next `length` tokens, and fewer at the end: as many as the shortest that has any still has.

    Whoever is shortest goes on first, so that the rows are filled evenly.
    """
    try:
        while True:
            for stream in streams:
                if stream.unwanted:
                    stream.go_on()
            while short := [stream for stream in streams if len(stream) < length and not stream.ended]:
                min(short, key=len).go_on()
            waiting = [len(stream) for stream in streams if len(stream)]
            if not waiting:
                return
            yield take(streams, min(length, *waiting))
    finally:  # programs that wait for their turn do not wait for ever
        for stream in streams:
            stream.end()

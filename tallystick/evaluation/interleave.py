"""Interleave episodes: programs take turns, and one is resumed only when its sequence of the batch needs tokens.

So all sequences of a batch stay full however long the problems are. Each holds a chunk, a block, and its program with
its tools' memory. Programs run as greenlets, not threads, because the watchdog over silent programs is a signal, and
signals reach the main thread only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from contextvars import copy_context
from typing import Generic, Protocol, TypeVar

import numpy as np
from greenlet import getcurrent, greenlet

from tallystick.data.packing import Batch, PackedSequence, take
from tallystick.episode import Sink, StopProgram


class Episode(Protocol):
    """An episode that is written when its turn comes."""

    @property
    def wanted(self) -> bool:
        """Whether more of it is wanted; if not, it is stopped and its waiting tokens are dropped."""
        ...

    def play(self, sink: Sink) -> None:
        """Write the episode into the sink, to its end or until the sink raises StopProgram."""
        ...


E = TypeVar("E", bound=Episode)


class EpisodeStream(Generic[E]):
    """A packed sequence, filled block by block with episodes from an iterator that all streams share."""

    def __init__(self, episodes: Iterator[E], predict_observations: bool = False):
        self.packed = PackedSequence(predict_observations)
        self.begun: list[E] = []
        """The episodes that have begun here, in order."""
        self._episodes, self._playing = episodes, False
        self._player = greenlet(self._play_all)
        self._player.gr_context = copy_context()  # context variables, such as the decimal precision

    @property
    def ended(self) -> bool:
        """Whether it has no more episodes to write."""
        return self._player.dead

    @property
    def unwanted(self) -> bool:
        """Whether the episode in progress should be stopped."""
        return self._playing and not self.begun[-1].wanted

    def resume(self) -> None:
        """Run the program until one more block is written; an unwanted episode ends, and the next one begins."""
        self._player.parent = getcurrent()
        self._player.switch()

    def stop(self) -> None:
        """Stop the episode in progress, and begin no other."""
        self._player.throw()

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Append a block, and wait for `resume`. Raises StopProgram if no more of the episode is wanted."""
        self.packed.write(ids, roles)
        reader = self._player.parent
        assert reader
        reader.switch()
        if self.unwanted:
            raise StopProgram

    def close(self, ok: bool) -> None:
        """Do nothing: a wrong answer raises where the program runs."""

    def _play_all(self) -> None:
        for episode in self._episodes:
            self.begun.append(episode)
            self.packed.begin(len(self.begun))
            self._playing = True
            with suppress(StopProgram):
                episode.play(self)
            if self.unwanted:
                self.packed.drop()
            self._playing = False


def batches(streams: Sequence[EpisodeStream], length: int) -> Iterator[Batch]:
    """Yield batches of the streams' next `length` tokens; at the end shorter ones, by the shortest stream left.

    The stream with the fewest tokens is resumed first, so that all fill evenly.
    """
    try:
        while True:
            for stream in streams:
                if stream.unwanted:
                    stream.resume()
            while short := [stream for stream in streams if len(stream.packed) < length and not stream.ended]:
                min(short, key=lambda stream: len(stream.packed)).resume()
            waiting = [len(stream.packed) for stream in streams if len(stream.packed)]
            if not waiting:
                return
            yield take([stream.packed for stream in streams], min(length, *waiting))
    finally:  # leave no program suspended
        for stream in streams:
            stream.stop()

"""Interleave episodes: programs take turns, and one is resumed only when its sequence of the batch needs tokens.

So the sequences of a model that loops over time are full however long the problems are. Each holds a chunk and a block,
and its program with whatever that and its tools remember. Programs are greenlets: with threads the watchdog over silent
programs, a signal, would not reach them.
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
    """An episode to be written when its turn comes."""

    @property
    def wanted(self) -> bool:
        """Whether more of it is wanted; once it is not, it is ended and what waits of it is dropped."""
        ...

    def play(self, sink: Sink) -> None:
        """Write it into the sink, to its end or until the sink raises StopProgram."""
        ...


E = TypeVar("E", bound=Episode)


class EpisodeStream(Generic[E]):
    """A packed sequence that is filled, a block at a time, with episodes from what all streams share."""

    def __init__(self, episodes: Iterator[E], predict_observations: bool = False):
        self.packed = PackedSequence(predict_observations)
        self.begun: list[E] = []
        """The episodes that have begun here, in order."""
        self._episodes, self._playing = episodes, False
        self._player = greenlet(self._play_all)
        self._player.gr_context = copy_context()  # a program's decimal precision, say

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._player.dead

    @property
    def unwanted(self) -> bool:
        """Whether the episode that is being written is to end."""
        return self._playing and not self.begun[-1].wanted

    def resume(self) -> None:
        """Let one block be written; an unwanted episode ends, and the next one begins."""
        self._player.parent = getcurrent()
        self._player.switch()

    def stop(self) -> None:
        """Give up whatever is still to come."""
        self._player.throw()

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Take a block, and wait until the next one is asked for. Raises StopProgram if no more of it is wanted."""
        self.packed.write(ids, roles)
        reader = self._player.parent
        assert reader
        reader.switch()
        if self.unwanted:
            raise StopProgram

    def close(self, ok: bool) -> None:
        """End an episode; a wrong one raises where it runs."""

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
    """Take the streams' next `length` tokens, and fewer at the end: as many as the shortest one left has.

    The stream with the fewest tokens is resumed first, so that they fill evenly.
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
    finally:  # no program may wait for its turn for ever
        for stream in streams:
            stream.stop()

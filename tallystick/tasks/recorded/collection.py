"""A collection of recorded trajectories: which are held out, and in which order they are drawn."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate

from tallystick.episode import Role
from tallystick.trajectory import Trajectory

HELD_OUT = 10
"""One prompt in this many is held out with all its trajectories; or one trajectory in this many, if more than so many
have the same prompt."""
HELD_OUT_TEXT = 1_000_000
"""Characters of the held-out trajectories by which training is validated: no more are taken, but at least one."""
ROWS = 4
"""Maximum number of rows of `check` and `eval`, unless lengths are given."""


class Collection:
    """Trajectories of texts, some of them held out. The length of one is its number of calls, but at least 1.

    name: of their file, for errors.
    """

    def __init__(self, name: str, trajectories: Sequence[Trajectory]):
        self._name, self.trajectories = name, trajectories
        self._lengths = [max(1, sum(role == Role.COMMAND for role, _ in each.segments)) for each in trajectories]
        held_out = _held_out(trajectories)
        numbers = range(len(trajectories))
        self._held_out = [number for number in numbers if number in held_out]
        self._training = [number for number in numbers if number not in held_out]
        self._order: tuple[object, list[int]] = (None, [])

    @property
    def limits(self) -> tuple[int, int]:
        """The shortest length and the longest."""
        return min(self._lengths), max(self._lengths)

    @property
    def rows(self) -> tuple[int, ...]:
        """Lengths whose rows together have all held-out trajectories, if that takes no more than ROWS."""
        rows: list[int] = []
        for length in sorted({self._lengths[number] for number in self._held_out or self._training}, reverse=True):
            if not rows or length <= rows[-1] // 2:
                rows.append(length)
        return tuple(sorted(rows[:ROWS]))

    def training(self) -> Iterator[Trajectory]:
        """Yield the trajectories that are not held out."""
        return (self.trajectories[number] for number in self._training)

    def take(self, split: str, seed: int, length: int, index: int, *, up_to: bool) -> Trajectory:
        """Take trajectory `index` of a random order, which is another one each time that all have been taken."""
        pool = self._pool(split, length, up_to)
        times, place = divmod(index, len(pool))
        key = split, seed, length, up_to, times
        if self._order[0] != key:  # the last order is kept: training asks for it over and over
            rng = random.Random(int.from_bytes(hashlib.sha256(repr(key).encode()).digest()))
            self._order = key, rng.sample(pool, len(pool))
        return self.trajectories[self._order[1][place]]

    def count(self, split: str, length: int, *, up_to: bool) -> int:
        """Return how many trajectories a split has, at least 1. Raises ValueError if there are none."""
        pool = self._pool(split, length, up_to)
        if split != "holdout":
            return len(pool)
        sizes = accumulate(sum(len(text) for _, text in self.trajectories[number].segments) for number in pool)
        return max(1, sum(size <= HELD_OUT_TEXT for size in sizes))

    def _pool(self, split: str, length: int, up_to: bool) -> list[int]:
        """Return the numbers of a split's trajectories of at most this length, or else of more than half of it."""
        side = {"train": self._training, "show": range(len(self.trajectories))}.get(split, self._held_out)
        least = 1 if up_to and split != "check" else length // 2 + 1  # rows of `check` contain the previous ones anyway
        pool = [number for number in side if least <= self._lengths[number] <= length]
        if not pool and not self._held_out:
            raise ValueError(
                f"{self._name}: one trajectory alone cannot be learned and tested; give two different ones"
            )
        if not pool:
            lengths = ", ".join(map(str, sorted({self._lengths[number] for number in side})))
            wanted = f"no trajectory for {split} has {least} to {length} calls"
            raise ValueError(f"{self._name}: {wanted}; there are some with {lengths}")
        return pool


def _held_out(trajectories: Sequence[Trajectory]) -> set[int]:
    """Choose the held-out trajectories by their content, so that the order in the file does not matter.

    Trajectories on the same prompt are on one side, unless they are more than would be held out; equal ones always are.
    """
    keys = [str(each.segments[0][1]) for each in trajectories]
    if max(Counter(keys).values()) * HELD_OUT > len(keys):
        keys = [each.to_json() for each in trajectories]
    ordered = sorted(set(keys), key=lambda key: hashlib.sha256(key.encode()).digest())
    chosen = set(ordered[: -(-len(ordered) // HELD_OUT)]) if len(ordered) > 1 else set()
    return {number for number, key in enumerate(keys) if key in chosen}

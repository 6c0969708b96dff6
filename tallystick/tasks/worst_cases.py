"""Generic worst cases for any task: its own `sample` driven by degenerate random numbers.

The prompts are valid, since any of them could have been drawn, and have features that uniform draws hardly ever have:
constant, alternating and sorted stretches, and a difference at either end. They expose programs that keep a value in a
local for long.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import permutations

from tallystick.problem import distinct

Sample = Callable[[int, random.Random], list[str]]
Draw = Callable[[int], float]
"""A function from the index of a draw to its value, in [0, 1)."""
LOW, MIDDLE, HIGH = 0.0, 0.5, 1 - 2**-30
"""Values that draw the first, a middle and the last choice."""


class PatternRandom(random.Random):
    """A generator that follows a pattern; after `patience` draws it is random, since `sample` may retry endlessly."""

    def __init__(self, draw: Draw, patience: int):
        super().__init__(0)
        self._draw, self._patience = draw, patience
        self.drawn = 0

    def random(self) -> float:
        """Return the next draw, in [0, 1)."""
        self.drawn += 1
        return self._draw(self.drawn - 1) if self.drawn <= self._patience else super().random()

    def getrandbits(self, k: int, /) -> int:
        """Return the next draw as an integer of k bits."""
        return int(self.random() * (1 << k))

    def _randbelow(self, n: int) -> int:
        """Return the next draw as an integer below n; `choice`, `randint`, `shuffle` and `sample` call this."""
        return min(int(self.random() * n), n - 1)


def generic(sample: Sample, length: int) -> list[list[str]]:
    """Return up to 23 distinct prompts of this length, made by `sample`; always the same ones."""
    noise = random.Random(length)
    counting = PatternRandom(lambda number: noise.random(), patience=2**62)
    sample(length, counting)
    draws = max(counting.drawn, 1)
    prompts = [sample(length, PatternRandom(draw, patience=4 * draws + 64)) for draw in _patterns(draws)]
    return distinct(prompts)


def _patterns(draws: int) -> Iterator[Draw]:
    """Yield patterns for a sample of so many draws, the simplest first."""
    for value in (LOW, HIGH, MIDDLE):
        yield lambda number, value=value: value
    for value, other in permutations((LOW, MIDDLE, HIGH), 2):
        for place in (0, draws - 1):
            yield lambda number, value=value, other=other, place=place: other if number == place else value
    yield lambda number: HIGH if number % 2 else LOW
    yield lambda number: LOW if number % 2 else HIGH
    yield lambda number: min(number / draws, HIGH)
    yield lambda number: max(HIGH - number / draws, LOW)
    yield lambda number: LOW if number < draws // 2 else HIGH
    yield lambda number: HIGH if number < draws // 2 else LOW
    for stretch in (3, 10):
        yield _stretches(stretch)


def _stretches(mean: int) -> Draw:
    """Return a pattern of random values, each kept for a stretch of random length."""
    noise, value = random.Random(mean), 0.0

    def draw(number: int) -> float:
        nonlocal value
        if number == 0 or noise.random() < 1 / mean:
            value = noise.random()
        return value

    return draw

"""Boxes: interval arithmetic on arrays, rounded outwards.

A box holds every value that a computation may have. Each operation widens its result by what our own double precision
may have lost (`OWN`), and where a box stands for what a model computes in single precision, by what that may have
lost, in whatever order sums are taken (`rate`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray as Array

OWN = 2.0**-44
"""Relative error of one of our operations: sums of up to 512 terms, and elementary functions, in double precision."""
TINY = 2.0**-90
"""Absolute error of any operation: more than underflow, or clamping a decay at 2 ** -100, can add."""
ELEMENTARY = 2.0**-19
"""Relative error of exp, softplus, silu and 1/sqrt as a model computes them in single precision; a test measures it."""
SILU_LEAST_AT, SILU_LEAST = -1.2784645427610738, -0.2784645427610739
"""The minimum of silu, and where it is; it falls before and rises after."""


def rate(terms: int) -> float:
    """Return the relative error of a sum of products in single precision: of the sum of the terms' magnitudes.

    It holds for any order of the sum, fused operations or not; 4 terms more than needed pay for our own errors.
    """
    assert terms < 2**14
    return 1.01 * (terms + 4) * 2.0**-24


@dataclass(frozen=True, slots=True)
class Box:
    """Lower and upper bounds of an array."""

    lo: Array
    hi: Array

    @property
    def magnitude(self) -> Array:
        """Largest absolute values."""
        return np.maximum(np.abs(self.lo), np.abs(self.hi))

    def __getitem__(self, index: Any) -> Box:
        return Box(self.lo[index], self.hi[index])

    def reshape(self, *shape: int) -> Box:
        """Reshape both bounds."""
        return Box(self.lo.reshape(shape), self.hi.reshape(shape))

    def __add__(self, other: Box) -> Box:
        return own(Box(self.lo + other.lo, self.hi + other.hi), self.magnitude + other.magnitude)

    def __mul__(self, other: Box) -> Box:
        ends = [a * b for a in (self.lo, self.hi) for b in (other.lo, other.hi)]
        lo, hi = np.minimum(ends[0], ends[1]), np.maximum(ends[0], ends[1])
        for end in ends[2:]:
            np.minimum(lo, end, out=lo)
            np.maximum(hi, end, out=hi)
        return own(Box(lo, hi))

    def __and__(self, other: Box) -> Box:
        """Intersect two boxes that hold the same value."""
        return Box(np.maximum(self.lo, other.lo), np.minimum(self.hi, other.hi))


def point(value: Array) -> Box:
    """Return the box of one value."""
    return Box(value, value)


def widen(box: Box, by: Array | float) -> Box:
    """Widen a box on both sides."""
    return Box(box.lo - by - TINY, box.hi + by + TINY)


def own(box: Box, magnitude: Array | None = None) -> Box:
    """Widen a box by our own rounding errors; magnitude: of what was added, by default of the result."""
    return widen(box, OWN * (box.magnitude if magnitude is None else magnitude))


def rounded(box: Box, relative: float) -> Box:
    """Widen a box by a relative error of its values."""
    return widen(box, (relative + OWN) * box.magnitude)


def linear(matrix: Array, box: Box) -> Box:
    """Return the box of `matrix @ x` for x in the box, [..., inputs] -> [..., outputs]; exact but for our rounding."""
    assert matrix.shape[1] <= 512
    middle = (box.lo + box.hi) / 2
    radius = np.maximum(box.hi - middle, middle - box.lo) * (1 + OWN) + TINY
    at, around = middle @ matrix.T, radius @ np.abs(matrix).T
    # by Cauchy and Schwarz no sum of magnitudes is larger than the product of the norms
    norms = np.linalg.norm(np.abs(middle) + radius, axis=-1)[..., None] * np.linalg.norm(matrix, axis=1)
    return widen(Box(at - around, at + around), 4 * OWN * norms)


def hull_of(box: Box, axis: int = 0) -> Box:
    """Return the smallest box around all rows."""
    return Box(box.lo.min(axis), box.hi.max(axis))


def silu(box: Box) -> Box:
    """Return the box of x / (1 + exp(-x)), as a model computes it."""
    ends = [x * (0.5 + 0.5 * np.tanh(x / 2)) for x in (box.lo, box.hi)]
    lo = np.minimum(*ends)
    lo = np.where((box.lo <= SILU_LEAST_AT) & (box.hi >= SILU_LEAST_AT), SILU_LEAST, lo)
    exact = widen(Box(lo, np.maximum(*ends)), OWN * (1 + box.magnitude))
    return rounded(exact, ELEMENTARY)


def rising(function: Callable[[Array], Array], box: Box) -> Box:
    """Return the box of an elementary function that rises; exact but for our rounding."""
    return own(Box(function(box.lo), function(box.hi)))


def square(box: Box) -> Box:
    """Return the box of x * x."""
    a, b = box.lo * box.lo, box.hi * box.hi
    least = np.where((box.lo <= 0) & (box.hi >= 0), 0.0, np.minimum(a, b))
    return Box(np.maximum(least * (1 - OWN), 0.0), np.maximum(a, b) * (1 + OWN) + TINY)


def inverse_rms(squares: Box, eps: float) -> Box:
    """Return the box of 1 / sqrt(mean + eps), [..., 1], from that of the squares; exact but for our rounding."""
    mean = Box(squares.lo.mean(-1, keepdims=True), squares.hi.mean(-1, keepdims=True))
    return Box(1 / np.sqrt(mean.hi * (1 + OWN) + eps) * (1 - OWN), 1 / np.sqrt(mean.lo * (1 - OWN) + eps) * (1 + OWN))


def normed(box: Box, squares: Box, eps: float) -> Box:
    """Return the box of x / rms(x): it rises with its own coordinate, and the others only shrink it."""
    size = box.lo.shape[-1]
    least = np.maximum(squares.lo.sum(-1, keepdims=True) * (1 - OWN) - squares.lo, 0.0)
    most = (squares.hi.sum(-1, keepdims=True) * (1 + OWN) - squares.hi) * (1 + OWN) + TINY
    least *= 1 - OWN

    def scaled(x: Array, others: Array) -> Array:
        return x / np.sqrt((x * x + others) / size + eps)

    lo = np.where(box.lo > 0, scaled(box.lo, most), scaled(box.lo, least))
    hi = np.where(box.hi > 0, scaled(box.hi, least), scaled(box.hi, most))
    return own(Box(lo, hi))

"""Intervals and blocks of the checker: code of its own, simpler and looser than what `certify` bounds with.

An interval is a pair (lo, hi) of arrays; all of them hold whatever float32 may compute, but for a scan's state, which
is that of the ideal scan, see `Block.settle`.

Glossary: n contexts, E inner width, N state size, X convolved channels, K taps of the convolution.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray as Array

from tallystick.locality.extraction import Refusal

FEW = 2.0**-18
"""More than a function, or a sum of up to 32 products, loses in float32, relative to the sum of magnitudes."""
OWN = 2.0**-40
"""More than double precision loses in any of these sums."""
SMALL = 2.0**-80
SPAN = 64
"""Largest number of tokens of a chunk of the chunked scan."""
LAGS = 400
"""Number of tokens back at which lost precision is summed one by one; what lies further back is added as a whole."""

Interval = tuple[Array, Array]


def lost(terms: int) -> float:
    """Return more than a sum of so many products and two functions lose in float32, relative to the sum of magnitudes.

    They lose (terms + 4) 2^-24 and 2^-19 each; a little more than twice that leaves room.
    """
    return (terms + 64) * 2.0**-23


def times(a: Interval, b: Interval) -> Interval:
    one, two, three, four = a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1]
    low = np.minimum(np.minimum(one, two), np.minimum(three, four))
    high = np.maximum(np.maximum(one, two), np.maximum(three, four))
    return loose((low, high), OWN)


def plus(a: Interval, b: Interval) -> Interval:
    return loose((a[0] + b[0], a[1] + b[1]), OWN)


def size(a: Interval) -> Array:
    return np.maximum(abs(a[0]), abs(a[1]))


def loose(a: Interval, share: float | Array) -> Interval:
    """Widen by a share of the magnitude."""
    by = share * size(a) + SMALL
    return a[0] - by, a[1] + by


def meet(a: Interval, b: Interval) -> Interval:
    return np.maximum(a[0], b[0]), np.minimum(a[1], b[1])


def product(a: Interval, matrix: Array, share: float) -> Interval:
    """Return the interval of `a @ matrix.T`, which may lose a share of the sum of magnitudes."""
    positive, negative = np.maximum(matrix, 0.0).T, np.minimum(matrix, 0.0).T
    by = share * (size(a) @ abs(matrix).T) + SMALL
    return a[0] @ positive + a[1] @ negative - by, a[1] @ positive + a[0] @ negative + by


def unit(a: Interval, eps: float) -> Interval:
    """Return the interval of a / rms(a), one coordinate at a time, the others being at their smallest or largest."""
    most, least = size(a) ** 2, np.where(a[0] * a[1] <= 0, 0.0, np.minimum(abs(a[0]), abs(a[1])) ** 2)
    others_most = most.sum(-1, keepdims=True) - most
    others_least = np.maximum(least.sum(-1, keepdims=True) - least, 0.0)
    others_most, others_least = others_most * (1 + OWN) + SMALL, others_least * (1 - OWN)

    def end(x: Array, outward: bool) -> Array:
        away = (x > 0) == outward  # this end lies away from zero if the others are small
        others = np.where(away, others_least, others_most)
        return x / np.sqrt((x * x + others) / x.shape[-1] + eps)

    return loose((end(a[0], False), end(a[1], True)), lost(a[0].shape[-1]))


class Read(NamedTuple):
    """What out_proj reads, [n, E], in two forms that hold both: as it is, and as `scale` times a vector."""

    whole: Interval
    vector: Interval
    scale: Interval
    """[n, 1]"""

    def rows(self, rows: Array) -> Read:
        return Read(*(rows_of(each, rows) for each in self))

    def through(self, matrix: Array) -> Interval:
        """Return the interval of what is read times a matrix, an exact sum of what float32 may have read."""
        return meet(product(self.whole, matrix, OWN), times(self.scale, product(self.vector, matrix, FEW)))


def read_as_it_is(a: Interval) -> Read:
    one = np.ones((len(a[0]), 1))
    return Read(a, a, (one, one))


def read_normed(a: Interval, eps: float) -> Read:
    """Return a / rms(a)."""
    return Read(unit(a, eps), a, shrink(a, eps))


def shrink(a: Interval, eps: float) -> Interval:
    """Return the interval of 1 / rms(a), [n, 1], both ends above 0."""
    share = lost(a[0].shape[-1])
    low, high = 1 / np.sqrt(square_mean(a, True) + eps), 1 / np.sqrt(square_mean(a, False) + eps)
    return low * (1 - share), high * (1 + share)


def silu(a: Interval) -> Interval:
    def at(x: Array) -> Array:
        return x / (1 + np.exp(-np.clip(x, -700, 700)))

    turn = -1.27846454  # silu falls until there and rises from there on, by less than 1e-15 from its least value
    low, high = np.minimum(at(a[0]), at(a[1])), np.maximum(at(a[0]), at(a[1]))
    low = np.where((a[0] < turn + 1e-6) & (a[1] > turn - 1e-6), -0.278464543, low)
    return loose((low, high), FEW)


def rows_of(a: Interval, rows: Array) -> Interval:
    return a[0][rows], a[1][rows]


def square_mean(a: Interval, most: bool) -> Array:
    """Return the largest or the least mean square of an interval's points, [n, 1]."""
    largest = size(a) ** 2
    if not most:
        largest = np.where(a[0] * a[1] <= 0, 0.0, np.minimum(abs(a[0]), abs(a[1])) ** 2)
    return largest.mean(-1, keepdims=True) * (1 + OWN if most else 1 - OWN)


def weights(parameter: Any) -> Array:
    return parameter.detach().double().numpy()


class Block:
    """A block of Mamba-2 on intervals."""

    def __init__(self, layer: Any):
        self.in_proj = weights(layer.in_proj.weight) * weights(layer.norm.weight)
        self.out_proj = weights(layer.out_proj.weight)
        self.taps, self.bias = weights(layer.conv.weight)[:, 0].T, weights(layer.conv.bias)
        self.eps, self.E = layer.norm.eps, self.out_proj.shape[1]
        self._prepare(layer)

    def _prepare(self, layer: Any) -> None:
        self.floor, self.N = layer.dt_floor, layer.d_state
        self.out_proj = self.out_proj * weights(layer.gate_norm.weight)
        self.gate_eps = layer.gate_norm.eps
        self.sizes, self.channels = layer.sizes, self.E // layer.heads
        self.dt_bias = self._per_channel(weights(layer.dt_bias))
        self._set_rate(self._per_channel(weights(layer.A_log))[:, None], self._per_channel(weights(layer.D)))

    def _set_rate(self, A_log: Array, skip: Array) -> None:
        A = np.exp(A_log)
        self.rate = np.maximum(A * (1 - FEW), 1.0), np.maximum(A * (1 + FEW), 1.0)
        self.skip = skip
        self.error = np.zeros(0)
        """What an entry of the scan's state loses in float32, [E, N]."""

    def _per_channel(self, by_head: Array) -> Array:
        return np.repeat(by_head, self.channels, axis=-1)

    def parts(self, mixed: Interval) -> tuple[Interval, Interval, Interval]:
        """Split what in_proj makes into z, what is convolved, and the raw step size of each channel."""
        cuts = np.cumsum(self.sizes)[:2]
        low, high = np.split(mixed[0], cuts, -1), np.split(mixed[1], cuts, -1)
        dt = self._per_channel(low[2]) + self.dt_bias, self._per_channel(high[2]) + self.dt_bias
        return (low[0], high[0]), (low[1], high[1]), loose(dt, FEW / 4)

    def convolve(self, taps: Interval, new: Interval) -> Interval:
        """Return silu of the convolution at a token; taps: its inputs before."""
        low, high = (np.concatenate([old, now[:, None]], 1) for old, now in zip(taps, new, strict=True))
        products = times((low, high), (self.taps, self.taps))
        by = FEW * (size(products).sum(1) + abs(self.bias))
        return silu((products[0].sum(1) + self.bias - by, products[1].sum(1) + self.bias + by))

    def inputs(self, taps: Interval, new: Interval, raw: Interval) -> tuple[Interval, Interval, Interval, Interval]:
        """Return x, B, C and the step size at a token."""
        low, high = (np.split(end, [self.E, self.E + self.N], -1) for end in self.convolve(taps, new))
        x, B, C = zip(low, high, strict=True)
        return x, B, C, self.step_size(raw)

    def step_size(self, raw: Interval) -> Interval:
        return loose((np.logaddexp(0, raw[0]) + self.floor, np.logaddexp(0, raw[1]) + self.floor), FEW)

    def any_state(self, low: Array, high: Array) -> Interval:
        """Return bounds [1, E, N] of the state after any tokens; low, high: of in_proj's outputs, [1, M]."""
        _, new, raw = self.parts((low, high))
        before = np.repeat(new[0][:, None], len(self.taps) - 1, 1), np.repeat(new[1][:, None], len(self.taps) - 1, 1)
        x, B, _, dt = self.inputs(before, new, raw)
        grown = dt[1][..., None] / -np.expm1(-dt[1][..., None] * self.rate[0])
        most = size(x)[..., None] * grown * size(B)[:, None] * (1 + OWN)
        self.limit_scan(dt, (-most, most))
        return -most, most

    def limit_scan(self, dt: Interval, added: Interval) -> None:
        """Bound what the scan loses by the step sizes and the dt x B of all contexts, or of all sequences."""
        least, most = dt[0].min(0), dt[1].max(0)
        fade, strong = least[:, None] * self.rate[0], most[:, None] * self.rate[1]
        angle = 2.0**-23 * SPAN * strong  # more than the rounding of a sum of logarithms within a chunk
        once, each = 4 * angle + lost(3 * SPAN + self.N), angle + 2 * FEW + 2.0**-21 * strong
        if not (each * 2 < fade).all():
            raise Refusal("its state fades too slowly for the precision of float32")
        share = np.full(fade.shape, lost(2 * SPAN + self.N))
        for lag in range(1, LAGS):
            share += np.expm1(once + lag * each) * np.exp(-lag * fade)
        share += np.exp(once + LAGS * (each - fade)) / (1 - np.exp(each - fade))
        self.error = (share + SMALL) * size(added).max(0)

    def later(self, mixed: Interval, taps: Interval) -> Interval:
        """Return the convolution's inputs for the next token."""
        _, new, _ = self.parts(mixed)
        low, high = (np.concatenate([old[:, 1:], now[:, None]], 1) for old, now in zip(taps, new, strict=True))
        return low, high

    def scan(self, mixed: Interval, taps: Interval) -> tuple[Interval, Interval, Interval]:
        """Return what a token makes of the state: what share is kept, and what is added; and the step size."""
        _, new, raw = self.parts(mixed)
        x, B, _, dt = self.inputs(taps, new, raw)
        return *self._scan(x, B, dt), dt

    def _scan(self, x: Interval, B: Interval, dt: Interval) -> tuple[Interval, Interval]:
        fastest, slowest = dt[1][..., None] * self.rate[1], dt[0][..., None] * self.rate[0]
        dtx = times(dt, x)
        added = times((dtx[0][..., None], dtx[1][..., None]), (B[0][:, None], B[1][:, None]))
        return (np.exp(-fastest) * (1 - OWN), np.exp(-slowest) * (1 + OWN)), added

    def step(self, mixed: Interval, taps: Interval, held: Interval) -> tuple[Interval, Interval, Read]:
        """Return the convolution's inputs, the ideal state, and what out_proj reads after a token."""
        z, new, raw = self.parts(mixed)
        x, B, C, dt = self.inputs(taps, new, raw)
        kept, added = self._scan(x, B, dt)
        held = plus(times(kept, held), added)
        wide = C[0][:, None], C[1][:, None]
        read, skip = times(wide, held), times(x, (self.skip, self.skip))
        by = (size(wide) * self.error).sum(-1) + lost(self.N) * (size(read).sum(-1) + size(skip))
        y = read[0].sum(-1) + skip[0] - by, read[1].sum(-1) + skip[1] + by
        return self.later(mixed, taps), held, self.output(loose(times(y, silu(z)), FEW))

    def output(self, gated: Interval) -> Read:
        return read_normed(gated, self.gate_eps)

    def most(self, output: Read) -> Array:
        """Return a bound of the partial sums of out_proj: a normalised vector's 2-norm is at most sqrt(E)."""
        return np.linalg.norm(self.out_proj, axis=1) * np.sqrt(self.E)


class Mamba1Block(Block):
    """A block of Mamba-1 on intervals."""

    def _prepare(self, layer: Any) -> None:
        self.floor, (_, self.N) = layer.dt_floor, layer.A_log.shape
        self.into = np.split(weights(layer.x_proj.weight), np.cumsum(layer.sizes)[:2])
        self.dt_proj, self.dt_bias = weights(layer.dt_proj.weight), weights(layer.dt_proj.bias)
        self._set_rate(weights(layer.A_log), weights(layer.D))

    def parts(self, mixed: Interval) -> tuple[Interval, Interval, Interval]:
        (x, z), (x_high, z_high) = (np.split(end, 2, -1) for end in mixed)
        return (z, z_high), (x, x_high), (x, x_high)

    def inputs(self, taps: Interval, new: Interval, raw: Interval) -> tuple[Interval, Interval, Interval, Interval]:
        """Return x, B, C and the step size at a token, which are linear maps of the convolution's result."""
        x = self.convolve(taps, new)
        into_dt, into_B, into_C = self.into
        low, high = product(x, self.dt_proj @ into_dt, OWN)
        by = lost(self.E + len(into_dt)) * (size(x) @ abs(into_dt).T @ abs(self.dt_proj).T + abs(self.dt_bias))
        raw = low + self.dt_bias - by, high + self.dt_bias + by
        return x, product(x, into_B, lost(self.E)), product(x, into_C, lost(self.E)), self.step_size(raw)

    def output(self, gated: Interval) -> Read:
        return read_as_it_is(gated)

    def most(self, output: Read) -> Array:
        return size(output.whole) @ abs(self.out_proj).T


class ConvBlock(Mamba1Block):
    """A block of gated convolutions on intervals: Mamba-1's without a scan."""

    def _prepare(self, layer: Any) -> None:
        self.error = np.zeros((self.E, 0))

    def scan(self, mixed: Interval, taps: Interval) -> tuple[Interval, Interval, Interval]:
        """Return nothing: there is no scan."""
        nothing = np.zeros((len(taps[0]), self.E, 0)), np.zeros((len(taps[0]), self.E, 0))
        return nothing, nothing, nothing

    def limit_scan(self, dt: Interval, added: Interval) -> None:
        """Do nothing: there is no scan."""

    def any_state(self, low: Array, high: Array) -> Interval:
        return np.zeros((1, self.E, 0)), np.zeros((1, self.E, 0))

    def step(self, mixed: Interval, taps: Interval, held: Interval) -> tuple[Interval, Interval, Read]:
        """Return the convolution's inputs, the empty state, and what out_proj reads after a token."""
        z, new, _ = self.parts(mixed)
        gated = loose(times(self.convolve(taps, new), silu(z)), FEW)
        return self.later(mixed, taps), held, read_as_it_is(gated)

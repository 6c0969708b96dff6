"""Blocks on boxes: bounds of what they compute in single precision, given bounds of what they read.

Boxes hold what any order of summation in float32 may give. One exception: a scan's state is that of the *ideal* scan,
which computes exactly with the step sizes, inputs and decays that float32 gave it. What the real scan loses against it
is added where the state is read, see `ScanBlock.set_scan_error`.

A normalised vector of n entries has a 2-norm of at most sqrt(n). So what rounding adds in a linear map behind a norm is
at most a constant for each output: the rate times the row's 2-norm times sqrt(n).

Glossary: n contexts (or paths), D model width, E inner width, H heads (channels, in Mamba-1), P channels of a head
(E = H * P), S state size, X convolved channels, M outputs of in_proj, Y outputs of x_proj, K taps of the convolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray as Array

from tallystick.locality.certify.boxes import (
    ELEMENTARY,
    OWN,
    TINY,
    Box,
    inverse_rms,
    linear,
    normed,
    point,
    rate,
    rising,
    rounded,
    silu,
    square,
    widen,
)
from tallystick.locality.extraction import Refusal
from tallystick.models import mamba1, mamba2

CHUNK = 64
"""Largest number of tokens of a chunk of the chunked scan on a CPU."""


@dataclass(frozen=True)
class Coefficients:
    """What a block does at a token; the last three are empty without a scan."""

    x: Box
    """[n, E]"""
    B: Box
    """[n, S]"""
    C: Box
    """[n, S]"""
    dt: Box
    """[n, H]"""


@dataclass(frozen=True)
class Output:
    """The vector [n, E] that a block multiplies with out_proj and adds to the residual stream."""

    vector: Box

    def __getitem__(self, rows: Array) -> Output:
        return Output(self.vector[rows])

    def through(self, matrix: Array) -> Box:
        """Return the box of `matrix @ vector`; exact but for our rounding."""
        return linear(matrix, self.vector)

    def largest(self, matrix: Array) -> Array:
        """Return the largest magnitude of `matrix @ vector`, entry by entry, and of its partial sums."""
        return self.vector.magnitude @ np.abs(matrix).T * (1 + OWN)

    def lost(self, matrix: Array) -> Array | float:
        """Return what single precision lost in the vector at most, seen through a matrix."""
        return 0.0


@dataclass(frozen=True)
class NormedOutput(Output):
    """An output that is normalised: it lies in two boxes."""

    scale: Box
    """What normalising multiplies the vector with, [n, 1]."""
    normed: Box

    @classmethod
    def of(cls, vector: Box, eps: float) -> NormedOutput:
        """Normalise."""
        squares = square(vector)
        return cls(vector, inverse_rms(squares, eps), normed(vector, squares, eps))

    def __getitem__(self, rows: Array) -> NormedOutput:
        return NormedOutput(self.vector[rows], self.scale[rows], self.normed[rows])

    def through(self, matrix: Array) -> Box:
        """Return the box of `matrix @ normalised vector`."""
        return (self.scale * linear(matrix, self.vector)) & linear(matrix, self.normed)

    def largest(self, matrix: Array) -> Array:
        """Return the largest magnitude by Cauchy and Schwarz, which holds for partial sums as well."""
        return np.linalg.norm(matrix, axis=1) * np.sqrt(matrix.shape[1])

    def lost(self, matrix: Array) -> Array | float:
        """Return what the norm loses."""
        return after_norm(matrix, matrix.shape[1])


def weight(parameter: Any) -> Array:
    """Return a parameter in double precision, which holds it exactly."""
    return parameter.detach().double().cpu().numpy()


def after_norm(matrix: Array, terms: int) -> Array:
    """Return what rounding adds to `matrix @ normalised vector` at most: in the norm, and in the product."""
    return (rate(2 * terms) + 2 * ELEMENTARY) * np.linalg.norm(matrix, axis=1) * np.sqrt(matrix.shape[1])


class Block:
    """A block's weights in double precision, its norm's weights multiplied into the projection that follows it."""

    def __init__(self, block: Any):
        self.in_proj = weight(block.in_proj.weight) * weight(block.norm.weight)
        self.taps, self.bias = weight(block.conv.weight)[:, 0].T, weight(block.conv.bias)
        self.out_proj = weight(block.out_proj.weight)
        self.inner = self.out_proj.shape[1]
        self.eps = float(block.norm.eps)

    states: int
    """Number of entries of the state of each channel."""

    def split(self, mixed: Box) -> tuple[Box, Box, Box]:
        """Split in_proj's outputs into the gate z, what is convolved, and the raw step size, which may be empty."""
        raise NotImplementedError

    def coefficients(self, raw_dt: Box, seen: list[Box]) -> Coefficients:
        """Return what the block does at a token; seen: as in `convolved`."""
        raise NotImplementedError

    def advance(self, state: Box, at: Coefficients) -> Box:
        """Return the state [n, E * S] after a token."""
        raise NotImplementedError

    def gated(self, state: Box, at: Coefficients, z: Box) -> Box:
        """Return the box of what is read from the state times silu(z), [n, E]."""
        raise NotImplementedError

    def convolved(self, seen: list[Box]) -> Box:
        """Convolve, and apply silu; seen: the convolution's inputs at this token and the K - 1 before, latest first."""
        lo, hi, magnitude = self.bias.copy(), self.bias.copy(), np.abs(self.bias)
        for tap, box in zip(self.taps[::-1], seen, strict=True):
            ends = tap * box.lo, tap * box.hi
            lo, hi = lo + np.minimum(*ends), hi + np.maximum(*ends)
            magnitude = magnitude + np.abs(tap) * box.magnitude
        return silu(widen(Box(lo, hi), rate(len(seen)) * magnitude))

    def output(self, vector: Box) -> Output:
        """Return what out_proj reads."""
        return Output(vector)


class ScanBlock(Block):
    """A block with a scan."""

    def __init__(self, block: Any, heads: int, states: int):
        super().__init__(block)
        self.D, self.heads, self.states, self.floor = weight(block.D), heads, states, float(block.dt_floor)
        A = rounded(point(np.exp(weight(block.A_log)).reshape(heads, -1)), ELEMENTARY)
        self.A = Box(np.maximum(A.lo, 1.0), np.maximum(A.hi, 1.0))  # [H, 1], or [H, S] in Mamba-1
        self.scan_error = np.zeros((self.inner, states))

    def step_size(self, raw: Box) -> Box:
        """Return the box of softplus(raw) + floor."""
        dt = rounded(rising(lambda x: np.logaddexp(0.0, x), raw), ELEMENTARY) + point(np.array(self.floor))
        return rounded(dt, rate(0))

    def decay(self, dt: Box) -> Box:
        """Return the box of exp(-dt A), [n, H, 1 or S]."""
        lo, hi = dt.lo[..., None], dt.hi[..., None]
        return rising(np.exp, Box(-hi * self.A.hi * (1 + OWN), -lo * self.A.lo * (1 - OWN)))

    def added(self, at: Coefficients) -> Box:
        """Return the box of dt x B, [n, H, P, S]."""
        n = len(at.dt.lo)
        dtx = at.dt.reshape(n, self.heads, 1) * at.x.reshape(n, self.heads, -1)
        return dtx[..., None] * at.B[:, None, None, :]

    def advance(self, state: Box, at: Coefficients) -> Box:
        """Return the state [n, E * S] after a token."""
        n = len(at.dt.lo)
        kept = self.decay(at.dt)[:, :, None] * state.reshape(n, self.heads, -1, self.states)
        return (kept + self.added(at)).reshape(n, -1)

    def bound_of_state(self, at: Coefficients) -> Array:
        """Return a bound of |state|, [E * S], that no step of these leaves: (1 - decay) bound >= dt |x B|."""
        n = len(at.dt.lo)
        dt = at.dt.hi[..., None]
        grown = dt / -np.expm1(-dt * self.A.lo)  # rises with dt
        x = at.x.magnitude.reshape(n, self.heads, -1)
        products = (x[..., None] * grown[:, :, None] * at.B.magnitude[:, None, None, :]).reshape(n, -1)
        return products.max(0) * (1 + OWN * 16) + TINY

    def rounding(self, strongest: Array) -> Array:
        """Return what rounding adds to a sum of logarithms of decays; strongest: the largest dt A."""
        raise NotImplementedError

    def set_scan_error(self, least_dt: Array, most_dt: Array, most_added: Array) -> None:
        """Bound what the scan loses in single precision against the ideal one, for each entry of the state.

        least_dt, most_dt: [H], over all contexts; most_added: of |dt x B|, [E, S]. docs/proof.md has the argument: the
        term of j tokens back is right to a factor of exp(once + j * each), whether the scan is a loop or chunked.
        """
        fading, strongest = least_dt[:, None] * self.A.lo, most_dt[:, None] * self.A.hi
        rounding = self.rounding(strongest)
        once = 7 * rounding + 3 * ELEMENTARY + rate(3 * CHUNK + self.states)
        each = 2 * rounding + 2 * ELEMENTARY + rate(0) * (strongest + 2)
        if not (each < fading / 2).all():
            raise Refusal("its state fades too slowly for the precision of float32; train with a larger dt_floor")
        assert self.states <= CHUNK
        right, wrong = np.exp(-fading), np.exp(each - fading)
        own_term = rate(2 * CHUNK + self.states)
        share = own_term + np.exp(once) * wrong / (1 - wrong) - right / (1 - right)
        self.scan_error = np.repeat(share * (1 + OWN) + TINY, self.inner // self.heads, axis=0) * most_added

    def gated(self, state: Box, at: Coefficients, z: Box) -> Box:
        """Return the box of the scan's output times silu(z), [n, E]."""
        n, C = len(at.dt.lo), at.C[:, None, :]
        held = C * state.reshape(n, self.inner, self.states)
        skipped = at.x * point(np.repeat(self.D, self.inner // len(self.D)))
        magnitude = held.magnitude.sum(-1) + skipped.magnitude
        lost = (C.magnitude * self.scan_error).sum(-1) + rate(self.states) * magnitude
        y = widen(Box(held.lo.sum(-1) + skipped.lo, held.hi.sum(-1) + skipped.hi), lost)
        return rounded(y * silu(z), rate(1))


class Mamba2Block(ScanBlock):
    """A block of Mamba-2: x, B and C are convolved, the heads' step sizes are not; the output is normalised."""

    def __init__(self, block: mamba2.Block):
        super().__init__(block, block.heads, block.d_state)
        self.dt_bias = weight(block.dt_bias)
        self.out_proj = self.out_proj * weight(block.gate_norm.weight)
        self.gate_eps = float(block.gate_norm.eps or 0.0)
        self.cuts = block.sizes[0], block.sizes[0] + block.sizes[1]

    def split(self, mixed: Box) -> tuple[Box, Box, Box]:
        """Split into z, xBC and the raw step size."""
        first, second = self.cuts
        return mixed[..., :first], mixed[..., first:second], mixed[..., second:]

    def coefficients(self, raw_dt: Box, seen: list[Box]) -> Coefficients:
        """Return what the scan does at a token."""
        xBC, inner, states = self.convolved(seen), self.inner, self.states
        dt = self.step_size(rounded(raw_dt + point(self.dt_bias), rate(0)))
        return Coefficients(xBC[..., :inner], xBC[..., inner : inner + states], xBC[..., inner + states :], dt)

    def rounding(self, strongest: Array) -> Array:
        """Return what a sum over a chunk loses."""
        return 1.05 * 2.0**-24 * CHUNK * strongest

    def output(self, vector: Box) -> Output:
        """Normalise."""
        return NormedOutput.of(vector, self.gate_eps)


class Mamba1Block(ScanBlock):
    """A block of Mamba-1: x alone is convolved; the step sizes, B and C are linear maps of the result."""

    def __init__(self, block: mamba1.Block):
        super().__init__(block, *block.A_log.shape)
        self.rank = block.sizes[0]
        self.x_proj, self.dt_proj = weight(block.x_proj.weight), weight(block.dt_proj.weight)
        self.dt_bias = weight(block.dt_proj.bias)

    def split(self, mixed: Box) -> tuple[Box, Box, Box]:
        """Split into z and x."""
        return mixed[..., self.inner :], mixed[..., : self.inner], mixed[..., :0]

    def coefficients(self, raw_dt: Box, seen: list[Box]) -> Coefficients:
        """Return what the scan does at a token; the step size is bounded as one linear map of x."""
        x = self.convolved(seen)
        into_dt, into_BC = self.x_proj[: self.rank], self.x_proj[self.rank :]
        sums = x.magnitude @ np.abs(into_BC).T
        BC = widen(linear(into_BC, x), rate(self.inner) * (1 + OWN) * sums)
        sums = x.magnitude @ np.abs(into_dt).T @ np.abs(self.dt_proj).T + np.abs(self.dt_bias)
        raw = linear(self.dt_proj @ into_dt, x) + point(self.dt_bias)
        raw = widen(raw, (rate(self.inner) + 1.01 * rate(self.rank + 1)) * sums)
        return Coefficients(x, BC[..., : self.states], BC[..., self.states :], self.step_size(raw))

    def rounding(self, strongest: Array) -> Array:
        """Return zero: decays are multiplied, and no logarithms are summed."""
        return np.zeros_like(strongest)


class ConvBlock(Block):
    """A block of gated convolutions: nothing but the last tokens is carried, so its state has no entries."""

    states = 0

    def split(self, mixed: Box) -> tuple[Box, Box, Box]:
        """Split into z and x."""
        return mixed[..., self.inner :], mixed[..., : self.inner], mixed[..., :0]

    def coefficients(self, raw_dt: Box, seen: list[Box]) -> Coefficients:
        """Return the convolution's result alone."""
        return Coefficients(self.convolved(seen), raw_dt, raw_dt, raw_dt)

    def advance(self, state: Box, at: Coefficients) -> Box:
        """Return the state as it is."""
        return state

    def gated(self, state: Box, at: Coefficients, z: Box) -> Box:
        """Return the box of the convolution's result times silu(z), [n, E]."""
        return rounded(at.x * silu(z), rate(1))

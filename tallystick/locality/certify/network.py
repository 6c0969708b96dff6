"""Mamba-2 on boxes: bounds of what its blocks compute in single precision, given bounds of what they read.

Boxes hold what any order of summation in float32 may give. One exception: a block's state is that of the *ideal* scan,
which computes exactly with the step sizes, inputs and decays that float32 gave it. What the real scan loses against it
is added where the state is read, see `Block.set_scan_error`.

A normalised vector of n entries has a 2-norm of at most sqrt(n). So what rounding adds in a linear map behind a norm is
at most a constant for each output: the rate times the row's 2-norm times sqrt(n).

Glossary: n contexts (or paths), V vocabulary, D model width, E inner width, H heads, P channels of a head (E = H * P),
S state size, X convolved channels, M outputs of in_proj (z, xBC, dt), K taps of the convolution.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    own,
    point,
    rate,
    rising,
    rounded,
    silu,
    square,
    widen,
)
from tallystick.locality.extraction import Refusal
from tallystick.models.mamba2 import Block as MambaBlock
from tallystick.models.mamba2 import Mamba2

CHUNK = 64
"""Largest number of tokens of a chunk of the chunked scan on a CPU."""


@dataclass(frozen=True)
class Coefficients:
    """What a block's scan does at a token."""

    x: Box
    """[n, E]"""
    B: Box
    """[n, S]"""
    C: Box
    """[n, S]"""
    dt: Box
    """[n, H]"""


def _weight(parameter: object) -> Array:
    """Return a parameter in double precision, which holds it exactly."""
    return parameter.detach().double().cpu().numpy()  # type: ignore[attr-defined]


def _after_norm(matrix: Array, terms: int) -> Array:
    """Return what rounding adds to `matrix @ normalised vector` at most: in the norm, and in the product."""
    return (rate(2 * terms) + 2 * ELEMENTARY) * np.linalg.norm(matrix, axis=1) * np.sqrt(matrix.shape[1])


class Block:
    """A block's weights in double precision, its norms' weights multiplied into the projections that follow them."""

    def __init__(self, block: MambaBlock):
        self.in_proj = _weight(block.in_proj.weight) * _weight(block.norm.weight)
        self.taps = _weight(block.conv.weight)[:, 0].T
        assert block.conv.bias is not None
        self.bias, self.dt_bias, self.D = _weight(block.conv.bias), _weight(block.dt_bias), _weight(block.D)
        self.out_proj = _weight(block.out_proj.weight) * _weight(block.gate_norm.weight)
        self.heads, self.states, self.floor = block.heads, block.d_state, block.dt_floor
        self.inner, convolved, _ = block.sizes
        self.cuts = self.inner, self.inner + convolved
        self.eps, self.gate_eps = float(block.norm.eps or 0.0), float(block.gate_norm.eps or 0.0)
        A = rounded(point(np.exp(_weight(block.A_log))), ELEMENTARY)
        self.A = Box(np.maximum(A.lo, 1.0), np.maximum(A.hi, 1.0))
        self.scan_error = np.zeros((self.inner, self.states))

    def split(self, mixed: Box) -> tuple[Box, Box, Box]:
        """Split in_proj's outputs into z, xBC and the raw step size."""
        first, second = self.cuts
        return mixed[..., :first], mixed[..., first:second], mixed[..., second:]

    def coefficients(self, raw_dt: Box, seen: list[Box]) -> Coefficients:
        """Convolve; seen: the convolution's inputs xBC at this token and the K - 1 before it, latest first."""
        lo, hi, magnitude = self.bias.copy(), self.bias.copy(), np.abs(self.bias)
        for tap, box in zip(self.taps[::-1], seen, strict=True):
            ends = tap * box.lo, tap * box.hi
            lo, hi = lo + np.minimum(*ends), hi + np.maximum(*ends)
            magnitude = magnitude + np.abs(tap) * box.magnitude
        xBC = silu(widen(Box(lo, hi), rate(len(seen)) * magnitude))
        shifted = rounded(raw_dt + point(self.dt_bias), rate(0))
        dt = rounded(rising(lambda x: np.logaddexp(0.0, x), shifted), ELEMENTARY) + point(np.array(self.floor))
        dt = rounded(dt, rate(0))
        inner, states = self.inner, self.states
        return Coefficients(xBC[..., :inner], xBC[..., inner : inner + states], xBC[..., inner + states :], dt)

    def decay(self, dt: Box) -> Box:
        """Return the box of exp(-dt A), [n, H]."""
        exponent = Box(-dt.hi * self.A.hi * (1 + OWN), -dt.lo * self.A.lo * (1 - OWN))
        return rising(np.exp, exponent)

    def added(self, at: Coefficients) -> Box:
        """Return the box of dt x B, [n, H, P, S]."""
        n = len(at.dt.lo)
        dtx = at.dt.reshape(n, self.heads, 1) * at.x.reshape(n, self.heads, -1)
        return dtx[..., None] * at.B[:, None, None, :]

    def advance(self, state: Box, at: Coefficients) -> Box:
        """Return the state [n, E * S] after a token."""
        n = len(at.dt.lo)
        kept = self.decay(at.dt)[:, :, None, None] * state.reshape(n, self.heads, -1, self.states)
        return (kept + self.added(at)).reshape(n, -1)

    def bound_of_state(self, at: Coefficients) -> Array:
        """Return a bound of |state|, [E * S], that no step of these leaves: (1 - decay) bound >= dt |x B|."""
        n = len(at.dt.lo)
        grown = at.dt.hi / -np.expm1(-at.dt.hi * self.A.lo)  # rises with dt
        x = at.x.magnitude.reshape(n, self.heads, -1) * grown[:, :, None]
        products = (x[..., None] * at.B.magnitude[:, None, None, :]).reshape(n, -1)
        return products.max(0) * (1 + OWN * 16) + TINY

    def set_scan_error(self, least_dt: Array, most_dt: Array, most_added: Array) -> None:
        """Bound what the scan loses in single precision against the ideal one, for each entry of the state.

        least_dt, most_dt: [H], over all contexts; most_added: of |dt x B|, [E, S]. docs/proof.md has the argument: the
        term of j tokens back is right to a factor of exp(once + j * each), whether the scan is a loop or chunked.
        """
        fading, strongest = least_dt * self.A.lo, most_dt * self.A.hi
        rounding = 1.05 * 2.0**-24 * CHUNK * strongest  # of a sum of logarithms
        once = 7 * rounding + 3 * ELEMENTARY + rate(3 * CHUNK + self.states)
        each = 2 * rounding + 2 * ELEMENTARY + rate(0) * (strongest + 2)
        if not (each < fading / 2).all():
            raise Refusal("its state fades too slowly for the precision of float32; train with a larger dt_floor")
        assert self.states <= CHUNK
        right, wrong = np.exp(-fading), np.exp(each - fading)
        own_term = rate(2 * CHUNK + self.states)
        share = own_term + np.exp(once) * wrong / (1 - wrong) - right / (1 - right)
        self.scan_error = np.repeat(share * (1 + OWN) + TINY, self.inner // self.heads)[:, None] * most_added

    def gated(self, state: Box, at: Coefficients, z: Box) -> Box:
        """Return the box of the scan's output times silu(z), [n, E], before the norm."""
        n, C = len(at.dt.lo), at.C[:, None, :]
        held = C * state.reshape(n, self.inner, self.states)
        skipped = at.x * point(np.repeat(self.D, self.inner // self.heads))
        magnitude = held.magnitude.sum(-1) + skipped.magnitude
        lost = (C.magnitude * self.scan_error).sum(-1) + rate(self.states) * magnitude
        y = widen(Box(held.lo.sum(-1) + skipped.lo, held.hi.sum(-1) + skipped.hi), lost)
        return rounded(y * silu(z), rate(1))


@dataclass(frozen=True)
class Output:
    """What a block adds to the residual stream: out_proj of a normalised vector [n, E], which lies in two boxes."""

    gated: Box
    """The vector before it is normalised."""
    scale: Box
    """What normalising multiplies it with, [n, 1]."""
    normed: Box

    @classmethod
    def of(cls, gated: Box, eps: float) -> Output:
        """Normalise."""
        squares = square(gated)
        return cls(gated, inverse_rms(squares, eps), normed(gated, squares, eps))

    def through(self, matrix: Array) -> Box:
        """Return the box of `matrix @ normalised vector`."""
        return (self.scale * linear(matrix, self.gated)) & linear(matrix, self.normed)


class Network:
    """A Mamba-2 on boxes."""

    def __init__(self, model: Mamba2):
        self.embedding = _weight(model.embedding.weight)
        self.blocks = [Block(layer) for layer in model.layers]  # type: ignore[arg-type]
        self.head = _weight(model.head.weight) * _weight(model.norm.weight)
        self.eps = float(model.norm.eps or 0.0)
        self.width = self.embedding.shape[1]

    def linear_of_residual(self, matrix: Array, tokens: Array, outputs: list[Output]) -> Box:
        """Return the box of `matrix @ x`, x being the residual stream behind the given blocks' outputs."""
        rows, entries = matrix.shape[0], np.abs(self.embedding).max(0)
        read = (matrix @ self.embedding.T).T[tokens]
        box = own(point(read), np.full(rows, 1.0) * np.linalg.norm(matrix, axis=1) * np.linalg.norm(entries))
        lost = np.zeros(rows)
        for block, output in zip(self.blocks, outputs, strict=False):
            through = matrix @ block.out_proj
            box = box + output.through(through)
            most = np.linalg.norm(block.out_proj, axis=1) * np.sqrt(block.inner)
            entries = entries + most * 1.01
            lost += np.abs(matrix) @ (rate(block.inner) * most + rate(1) * entries)
            lost += _after_norm(through, block.inner)
        return widen(box, lost)

    def mixed(self, layer: int, tokens: Array, outputs: list[Output]) -> Box:
        """Return the box of in_proj's outputs of a block, [n, M]; outputs: of the blocks before it."""
        block = self.blocks[layer]
        x = self.linear_of_residual(np.eye(self.width), tokens, outputs)
        squares = square(x)
        direct = linear(block.in_proj, normed(x, squares, block.eps))
        whole = inverse_rms(squares, block.eps) * self.linear_of_residual(block.in_proj, tokens, outputs)
        return widen(direct & whole, _after_norm(block.in_proj, self.width))

    def margins(self, said: Array, tokens: Array, outputs: list[Output]) -> tuple[Array, Array]:
        """Return a lower bound of each said token's margin in logits, as float32 computes it, and the closest rival.

        The bound is negative where the margin may be; how far says nothing then.
        """
        x = self.linear_of_residual(np.eye(self.width), tokens, outputs)
        scale = inverse_rms(square(x), self.eps)
        lost = _after_norm(self.head, self.width)
        bounds, rivals = np.empty(len(said)), np.empty(len(said), np.int64)
        for token in np.unique(said):
            rows = np.flatnonzero(said == token)
            over = np.delete(np.arange(len(self.head)), token)
            some = [Output(o.gated[rows], o.scale[rows], o.normed[rows]) for o in outputs]
            least = self.linear_of_residual(self.head[token] - self.head[over], tokens[rows], some).lo
            least = np.where(least > 0, least * scale.lo[rows], least * scale.hi[rows]) - (lost[token] + lost[over])
            closest = least.argmin(1)
            bounds[rows], rivals[rows] = least[np.arange(len(rows)), closest] * (1 - OWN) - TINY, over[closest]
        return bounds, rivals

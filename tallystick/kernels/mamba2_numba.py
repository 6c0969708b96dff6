"""Mamba-2's block between its two projections as compiled loops: convolution, scan, gate and norm in one pass.

Tokens are processed in small blocks, so that everything computed from them stays in a core's own cache, and memory is
traversed once instead of about sixty times. Within a block the scan is the plain recurrence.

Glossary: B batch, L length, H heads, E channels of all heads, N state size, X convolved channels (x, B and C: E + 2 N),
K taps of the convolution, J = K - 1, M outputs of in_proj (z, x, B, C, dt: E + X + H), Q tokens of a block,
W = J + Q, S = Q + 1, c blocks. A gradient's name is its tensor's name with the prefix d.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy import ndarray as Array
from torch import Tensor
from torch.nn import functional as F

from tallystick.kernels.numba_jit import jit, run

BLOCK = 16
"""Number of tokens of a block (Q). The gradient needs the states of a whole block: 128 KiB in mamba2:tiny."""
ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
"""Constants in single precision; Python's floats would turn the arithmetic into double precision."""

OPTIONS = {"fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy"}
"""Options of numba, without the fastmath options "nnan" and "ninf": NaN and infinity must be preserved."""


def _jit(function: Any) -> Any:
    return jit(function, **OPTIONS)


@_jit
def _sigmoid(x: np.float32) -> np.float32:
    """Return 1 / (1 + exp(-x)), to 3e-7.

    This is Cephes' expf without its branches, since the compiler does not vectorise loops with branches or calls.
    """
    x = min(max(-x, np.float32(-87.0)), np.float32(88.0))
    whole = np.floor(x * np.float32(1.44269504) + HALF)
    rest = x - whole * np.float32(0.693359375) + whole * np.float32(2.12194440e-4)
    power = np.float32(1.9875691500e-4)
    for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1.0, 1.0):
        power = power * rest + np.float32(c)
    return ONE / (ONE + power * np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32))


@_jit
def _seen(reset_L: Array, t: int, most: int) -> int:
    """Return the number of tokens visible to the convolution at t, up to `most`: t itself, and none before a reset."""
    seen = 1
    while seen < most and (seen > t + 1 or not reset_L[t - seen + 1]):
        seen += 1
    return seen


@_jit
def _channels(h: int, size: int) -> range:
    """Return the channels of a head, as unsigned integers, since numba would check signed indices for their sign."""
    return range(np.uint64(h * size), np.uint64((h + 1) * size))


@_jit
def _convolved(mixed_LM: Array, tail_JX: Array, t: int, inner: int) -> Array:
    """Return the convolution's input at token t, [X]; a negative t counts from the end of the tail."""
    return mixed_LM[t, inner : inner + tail_JX.shape[1]] if t >= 0 else tail_JX[len(tail_JX) + t]


@_jit
def _pad(mixed_LM: Array, tail_JX: Array, begin: int, count: int, inner: int, padded_WX: Array) -> None:
    """Fill `padded_WX` with the convolution's input at `count` tokens and at the J preceding ones."""
    reach = len(tail_JX)
    for w in range(reach + count):
        from_X, into_X = _convolved(mixed_LM, tail_JX, begin + w - reach, inner), padded_WX[w]
        for i in range(len(into_X)):
            into_X[i] = from_X[i]


@_jit
def _clear(rows_LR: Array, begin: int) -> None:
    """Zero the tokens from `begin` on, which are invalid."""
    for t in range(begin, len(rows_LR)):
        for r in range(rows_LR.shape[1]):
            rows_LR[t, r] = ZERO


@_jit
def _convolve(
    padded_WX: Array,
    taps_KX: Array,
    bias_X: Array,
    reset_L: Array,
    begin: int,
    count: int,
    before_QX: Array,
    xBC_QX: Array,
) -> None:
    """Convolve a block; fill `before_QX` with the result before silu and `xBC_QX` with the result after it."""
    width, channels = taps_KX.shape
    for q in range(count):
        for i in range(channels):
            before_QX[q, i] = bias_X[i]
        for k in range(width - _seen(reset_L, begin + q, width), width):
            for i in range(channels):
                before_QX[q, i] += taps_KX[k, i] * padded_WX[q + k, i]
        for i in range(channels):
            xBC_QX[q, i] = before_QX[q, i] * _sigmoid(before_QX[q, i])


@_jit
def _spread(
    xBC_QX: Array,
    dt_LH: Array,
    decay_LH: Array,
    reset_L: Array,
    begin: int,
    count: int,
    dtx_QE: Array,
    decay_QE: Array,
) -> None:
    """Fill `dtx_QE` and `decay_QE`, repeating each head's dt and decay for each of its channels."""
    heads, inner = dt_LH.shape[1], dtx_QE.shape[1]
    for q in range(count):
        t = begin + q
        for h in range(heads):
            dt, decay = dt_LH[t, h], ZERO if reset_L[t] else decay_LH[t, h]
            for e in _channels(h, inner // heads):
                dtx_QE[q, e], decay_QE[q, e] = dt * xBC_QX[q, e], decay


@_jit
def _scan(
    xBC_QX: Array,
    dtx_QE: Array,
    decay_QE: Array,
    D_E: Array,
    begin: int,
    count: int,
    state_NE: Array,
    y_LE: Array,
) -> None:
    """Scan a block; advance `state_NE` and fill `y_LE`.

    Here and in the gradients, two states are processed at a time, so that the values that they share are read once.
    """
    states, inner = state_NE.shape
    for q in range(count):
        t = begin + q
        for e in range(inner):
            y_LE[t, e] = D_E[e] * xBC_QX[q, e]
        for n in range(0, states, 2):
            b, c = inner + n, inner + states + n
            B0, B1, C0, C1 = xBC_QX[q, b], xBC_QX[q, b + 1], xBC_QX[q, c], xBC_QX[q, c + 1]
            for e in range(inner):
                s0 = decay_QE[q, e] * state_NE[n, e] + B0 * dtx_QE[q, e]
                s1 = decay_QE[q, e] * state_NE[n + 1, e] + B1 * dtx_QE[q, e]
                state_NE[n, e], state_NE[n + 1, e] = s0, s1
                y_LE[t, e] += C0 * s0 + C1 * s1


@_jit
def _gate(mixed_LM: Array, y_LE: Array, norm_E: Array, eps: np.float32, begin: int, count: int, out_LE: Array) -> None:
    """Fill `out_LE` with norm(y silu(z))."""
    inner = len(norm_E)
    for t in range(begin, begin + count):
        squares = ZERO
        for e in range(inner):
            gated = mixed_LM[t, e] * _sigmoid(mixed_LM[t, e]) * y_LE[t, e]
            squares += gated * gated
            out_LE[t, e] = gated
        scale = ONE / np.sqrt(squares / np.float32(inner) + eps)
        for e in range(inner):
            out_LE[t, e] *= scale * norm_E[e]


@_jit
def _forward(
    given: tuple[Array, ...],
    weights: tuple[Array, ...],
    eps: np.float32,
    reset_BL: Array,
    length_B: Array,
    out_BLE: Array,
    y_BLE: Array,
    entering_BcNE: Array,
    left_BJX: Array,
    state_BNE: Array,
) -> None:
    """Compute Mamba-2's block; fill the last five arguments.

    They are the result, the scan's result, the state before each block of tokens, and the final tail and state of the
    rows; `state_BNE` is also the initial state.
    """
    mixed_BLM, tail_BJX, dt_BLH, decay_BLH = given
    taps_KX, bias_X, D_E, norm_E = weights
    (reach, channels), (states, inner) = tail_BJX.shape[1:], state_BNE.shape[1:]
    padded_WX = np.empty((reach + BLOCK, channels), np.float32)
    before_QX, xBC_QX = np.empty((BLOCK, channels), np.float32), np.empty((BLOCK, channels), np.float32)
    dtx_QE, decay_QE = np.empty((BLOCK, inner), np.float32), np.empty((BLOCK, inner), np.float32)
    for b in range(len(mixed_BLM)):
        mixed_LM, tail_JX, reset_L, y_LE, state_NE = mixed_BLM[b], tail_BJX[b], reset_BL[b], y_BLE[b], state_BNE[b]
        for c in range((length_B[b] + BLOCK - 1) // BLOCK):
            begin = c * BLOCK
            count = min(BLOCK, length_B[b] - begin)
            for n in range(states):
                for e in range(inner):
                    entering_BcNE[b, c, n, e] = state_NE[n, e]
            _pad(mixed_LM, tail_JX, begin, count, inner, padded_WX)
            _convolve(padded_WX, taps_KX, bias_X, reset_L, begin, count, before_QX, xBC_QX)
            _spread(xBC_QX, dt_BLH[b], decay_BLH[b], reset_L, begin, count, dtx_QE, decay_QE)
            _scan(xBC_QX, dtx_QE, decay_QE, D_E, begin, count, state_NE, y_LE)
            _gate(mixed_LM, y_LE, norm_E, eps, begin, count, out_BLE[b])
        _clear(out_BLE[b], length_B[b])
        _pad(mixed_LM, tail_JX, length_B[b], 0, inner, padded_WX)
        for j in range(reach - _seen(reset_L, length_B[b] - 1, reach), reach):
            for i in range(channels):
                left_BJX[b, j, i] = padded_WX[j, i]


@_jit
def _backward_gate(
    mixed_LM: Array,
    y_LE: Array,
    norm_E: Array,
    eps: np.float32,
    begin: int,
    count: int,
    dout_LE: Array,
    dmixed_LM: Array,
    dy_QE: Array,
    dnorm_E: Array,
) -> None:
    """Fill the gradients of z, in `dmixed_LM`, and of y, given the result's; add to that of the norm's weight."""
    inner = len(norm_E)
    for q in range(count):
        t = begin + q
        squares, along = ZERO, ZERO
        for e in range(inner):
            sigmoid = _sigmoid(mixed_LM[t, e])
            gated = mixed_LM[t, e] * sigmoid * y_LE[t, e]
            squares += gated * gated
            along += dout_LE[t, e] * norm_E[e] * gated
            dmixed_LM[t, e], dy_QE[q, e] = sigmoid, gated  # temporary values for the second loop
        scale = ONE / np.sqrt(squares / np.float32(inner) + eps)
        along *= scale * scale / np.float32(inner)
        for e in range(inner):
            sigmoid, gated = dmixed_LM[t, e], dy_QE[q, e]
            silu, dgated = mixed_LM[t, e] * sigmoid, scale * (dout_LE[t, e] * norm_E[e] - gated * along)
            dnorm_E[e] += dout_LE[t, e] * gated * scale
            dy_QE[q, e] = dgated * silu
            dmixed_LM[t, e] = dgated * y_LE[t, e] * (sigmoid + silu * (ONE - sigmoid))


@_jit
def _rescan(
    xBC_QX: Array,
    dtx_QE: Array,
    decay_QE: Array,
    dy_QE: Array,
    entering_NE: Array,
    count: int,
    state_SNE: Array,
    dxBC_QX: Array,
) -> None:
    """Fill `state_SNE` with the state before each token and after the last, and C's part of `dxBC_QX`."""
    states, inner = entering_NE.shape
    for n in range(states):
        for e in range(inner):
            state_SNE[0, n, e] = entering_NE[n, e]
    for q in range(count):
        for n in range(0, states, 2):
            B0, B1, dC0, dC1 = xBC_QX[q, inner + n], xBC_QX[q, inner + n + 1], ZERO, ZERO
            for e in range(inner):
                s0 = decay_QE[q, e] * state_SNE[q, n, e] + B0 * dtx_QE[q, e]
                s1 = decay_QE[q, e] * state_SNE[q, n + 1, e] + B1 * dtx_QE[q, e]
                state_SNE[q + 1, n, e], state_SNE[q + 1, n + 1, e] = s0, s1
                dC0 += dy_QE[q, e] * s0
                dC1 += dy_QE[q, e] * s1
            dxBC_QX[q, inner + states + n], dxBC_QX[q, inner + states + n + 1] = dC0, dC1


@_jit
def _backward_scan(
    xBC_QX: Array,
    dtx_QE: Array,
    decay_QE: Array,
    dy_QE: Array,
    state_SNE: Array,
    count: int,
    dstate_NE: Array,
    ddtx_QE: Array,
    ddecay_QE: Array,
    dxBC_QX: Array,
) -> None:
    """Carry `dstate_NE` back from the last token to the first; fill the other gradients, B's in `dxBC_QX`."""
    states, inner = dstate_NE.shape
    for q in range(count - 1, -1, -1):
        for e in range(inner):
            ddtx_QE[q, e], ddecay_QE[q, e] = ZERO, ZERO
        for n in range(0, states, 2):
            b, c, dB0, dB1 = inner + n, inner + states + n, ZERO, ZERO
            B0, B1, C0, C1 = xBC_QX[q, b], xBC_QX[q, b + 1], xBC_QX[q, c], xBC_QX[q, c + 1]
            for e in range(inner):
                d0, d1 = dstate_NE[n, e] + C0 * dy_QE[q, e], dstate_NE[n + 1, e] + C1 * dy_QE[q, e]
                ddtx_QE[q, e] += B0 * d0 + B1 * d1
                ddecay_QE[q, e] += state_SNE[q, n, e] * d0 + state_SNE[q, n + 1, e] * d1
                dB0 += dtx_QE[q, e] * d0
                dB1 += dtx_QE[q, e] * d1
                dstate_NE[n, e], dstate_NE[n + 1, e] = decay_QE[q, e] * d0, decay_QE[q, e] * d1
            dxBC_QX[q, b], dxBC_QX[q, b + 1] = dB0, dB1


@_jit
def _gather(
    xBC_QX: Array,
    dy_QE: Array,
    ddtx_QE: Array,
    ddecay_QE: Array,
    dt_LH: Array,
    D_E: Array,
    reset_L: Array,
    begin: int,
    count: int,
    ddt_LH: Array,
    ddecay_LH: Array,
    dxBC_QX: Array,
    dD_E: Array,
) -> None:
    """Sum the gradients of a head's channels into `ddt_LH` and `ddecay_LH`; fill x's part of `dxBC_QX`; add to dD."""
    heads, inner = dt_LH.shape[1], len(D_E)
    for q in range(count):
        t = begin + q
        for e in range(inner):
            dD_E[e] += xBC_QX[q, e] * dy_QE[q, e]
        for h in range(heads):
            ddt, ddecay = ZERO, ZERO
            for e in _channels(h, inner // heads):
                ddt += xBC_QX[q, e] * ddtx_QE[q, e]
                ddecay += ddecay_QE[q, e]
                dxBC_QX[q, e] = ddtx_QE[q, e] * dt_LH[t, h] + D_E[e] * dy_QE[q, e]
            ddt_LH[t, h], ddecay_LH[t, h] = ddt, ZERO if reset_L[t] else ddecay


@_jit
def _backward_convolve(
    padded_WX: Array,
    taps_KX: Array,
    reset_L: Array,
    begin: int,
    count: int,
    inner: int,
    before_QX: Array,
    dxBC_QX: Array,
    dpadded_WX: Array,
    dmixed_LM: Array,
    dtail_JX: Array,
    dtaps_KX: Array,
    dbias_X: Array,
) -> None:
    """Fill the convolution's part of `dmixed_LM`; add to the gradients of taps and bias.

    `dtail_JX` is the gradient of the J tokens at the block's end, replaced by that of the J tokens before the block.
    """
    (width, channels), reach = taps_KX.shape, len(dtail_JX)
    for w in range(reach + count):
        for i in range(channels):
            dpadded_WX[w, i] = ZERO if w < count else dtail_JX[w - count, i]
    for q in range(count):
        for i in range(channels):
            sigmoid = _sigmoid(before_QX[q, i])
            dxBC_QX[q, i] *= sigmoid * (ONE + before_QX[q, i] * (ONE - sigmoid))
            dbias_X[i] += dxBC_QX[q, i]
        for k in range(width - _seen(reset_L, begin + q, width), width):
            for i in range(channels):
                dtaps_KX[k, i] += dxBC_QX[q, i] * padded_WX[q + k, i]
                dpadded_WX[q + k, i] += dxBC_QX[q, i] * taps_KX[k, i]
    for w in range(reach + count):
        into_X = _convolved(dmixed_LM[begin : begin + count], dtail_JX, w - reach, inner)
        for i in range(channels):
            into_X[i] = dpadded_WX[w, i]


@_jit
def _backward(
    given: tuple[Array, ...],
    weights: tuple[Array, ...],
    eps: np.float32,
    reset_BL: Array,
    length_B: Array,
    y_BLE: Array,
    entering_BcNE: Array,
    dout_BLE: Array,
    dleft_BJX: Array,
    dgiven: tuple[Array, ...],
    dweights: tuple[Array, ...],
    dstate_BNE: Array,
) -> None:
    """Compute the gradients, block by block from the end; fill the last three arguments.

    `dweights` has one gradient per row; `dstate_BNE` is also the gradient of the final state.
    """
    mixed_BLM, tail_BJX, dt_BLH, decay_BLH = given
    dmixed_BLM, dtail_BJX, ddt_BLH, ddecay_BLH = dgiven
    taps_KX, bias_X, D_E, norm_E = weights
    dtaps_BKX, dbias_BX, dD_BE, dnorm_BE = dweights
    (reach, channels), (states, inner) = tail_BJX.shape[1:], dstate_BNE.shape[1:]
    padded_WX = np.empty((reach + BLOCK, channels), np.float32)
    dpadded_WX = np.empty((reach + BLOCK, channels), np.float32)
    before_QX, xBC_QX = np.empty((BLOCK, channels), np.float32), np.empty((BLOCK, channels), np.float32)
    dtx_QE, decay_QE = np.empty((BLOCK, inner), np.float32), np.empty((BLOCK, inner), np.float32)
    ddtx_QE, ddecay_QE = np.empty((BLOCK, inner), np.float32), np.empty((BLOCK, inner), np.float32)
    dy_QE, dxBC_QX = np.empty((BLOCK, inner), np.float32), np.empty((BLOCK, channels), np.float32)
    state_SNE = np.empty((BLOCK + 1, states, inner), np.float32)
    for b in range(len(mixed_BLM)):
        mixed_LM, tail_JX, reset_L, y_LE, dt_LH = mixed_BLM[b], tail_BJX[b], reset_BL[b], y_BLE[b], dt_BLH[b]
        dmixed_LM, dtail_JX = dmixed_BLM[b], dtail_BJX[b]
        _clear(dmixed_LM, length_B[b])
        for j in range(reach - _seen(reset_L, length_B[b] - 1, reach), reach):
            for i in range(channels):
                dtail_JX[j, i] = dleft_BJX[b, j, i]
        for c in range((length_B[b] + BLOCK - 1) // BLOCK - 1, -1, -1):
            begin = c * BLOCK
            count = min(BLOCK, length_B[b] - begin)
            _pad(mixed_LM, tail_JX, begin, count, inner, padded_WX)
            _convolve(padded_WX, taps_KX, bias_X, reset_L, begin, count, before_QX, xBC_QX)
            _spread(xBC_QX, dt_LH, decay_BLH[b], reset_L, begin, count, dtx_QE, decay_QE)
            _backward_gate(mixed_LM, y_LE, norm_E, eps, begin, count, dout_BLE[b], dmixed_LM, dy_QE, dnorm_BE[b])
            scanned = xBC_QX, dtx_QE, decay_QE, dy_QE
            _rescan(*scanned, entering_BcNE[b, c], count, state_SNE, dxBC_QX)
            _backward_scan(*scanned, state_SNE, count, dstate_BNE[b], ddtx_QE, ddecay_QE, dxBC_QX)
            made = ddt_BLH[b], ddecay_BLH[b], dxBC_QX, dD_BE[b]
            _gather(xBC_QX, dy_QE, ddtx_QE, ddecay_QE, dt_LH, D_E, reset_L, begin, count, *made)
            changed = dxBC_QX, dpadded_WX, dmixed_LM, dtail_JX, dtaps_BKX[b], dbias_BX[b]
            _backward_convolve(padded_WX, taps_KX, reset_L, begin, count, inner, before_QX, *changed)


def _arrays(*tensors: Tensor) -> tuple[Array, ...]:
    return tuple(tensor.detach().contiguous().numpy() for tensor in tensors)


def _channels_last(state_BHPN: Tensor) -> Tensor:
    """Copy a state into the layout [B, N, E]."""
    return state_BHPN.detach().flatten(1, 2).mT.clone(memory_format=torch.contiguous_format)


class _Mix(torch.autograd.Function):
    """The autograd function of `mamba2_mix`: the loops compute per channel; per-head scalars are computed in torch."""

    @staticmethod
    def forward(
        ctx: Any,
        mixed_BLM: Tensor,
        tail_BJX: Tensor,
        state_BHPN: Tensor,
        taps_KX: Tensor,
        bias_X: Tensor,
        A_H: Tensor,
        D_H: Tensor,
        dt_bias_H: Tensor,
        norm_E: Tensor,
        eps: float,
        reset_BL: Tensor,
        length_B: Tensor,
        dt_floor: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        heads, size, states = state_BHPN.shape[1:]
        batch, length = mixed_BLM.shape[:2]
        dt_BLH = F.softplus(mixed_BLM[..., -heads:] + dt_bias_H)
        if dt_floor:
            dt_BLH += dt_floor
        given = mixed_BLM, tail_BJX, dt_BLH, (dt_BLH * A_H).exp_()
        weights = taps_KX, bias_X, D_H.repeat_interleave(size), norm_E
        out_BLE, y_BLE = mixed_BLM.new_empty(2, batch, length, heads * size)
        entering_BcNE = mixed_BLM.new_empty(batch, -(-length // BLOCK), states, heads * size)
        left_BJX, state_BNE = torch.zeros_like(tail_BJX), _channels_last(state_BHPN)
        ctx.eps = np.float32(eps)
        made = _arrays(out_BLE, y_BLE, entering_BcNE, left_BJX, state_BNE)
        run(_forward, _arrays(*given), _arrays(*weights), ctx.eps, *_arrays(reset_BL, length_B), *made)
        ctx.save_for_backward(*given, *weights, reset_BL, length_B, y_BLE, entering_BcNE, A_H, dt_bias_H)
        return out_BLE, left_BJX, state_BNE.mT.reshape(state_BHPN.shape).contiguous()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dout_BLE: Tensor, dleft_BJX: Tensor, dstate_BHPN: Tensor) -> tuple[Tensor | None, ...]:
        *saved, A_H, dt_bias_H = ctx.saved_tensors
        given, weights, kept = saved[:4], saved[4:8], saved[8:]
        dgiven = [torch.empty_like(given[0]), *(torch.zeros_like(t) for t in given[1:])]
        dweights = [w.new_zeros(len(dout_BLE), *w.shape) for w in weights]
        dstate_BNE = _channels_last(dstate_BHPN)
        known = _arrays(*given), _arrays(*weights), ctx.eps, *_arrays(*kept, dout_BLE, dleft_BJX)
        run(_backward, *known, _arrays(*dgiven), _arrays(*dweights), dstate_BNE.numpy())
        dmixed_BLM, dtail_BJX, ddt_BLH, ddecay_BLH = dgiven
        dtaps_KX, dbias_X, dD_E, dnorm_E = (w.sum(0) for w in dweights)
        dlog_BLH = ddecay_BLH * given[3]
        draw_BLH = (ddt_BLH + dlog_BLH * A_H) * torch.sigmoid(given[0][..., -len(A_H) :] + dt_bias_H)
        dmixed_BLM[..., -len(A_H) :] = draw_BLH
        dA_H, dD_H = (dlog_BLH * given[2]).sum((0, 1)), dD_E.unflatten(0, (len(A_H), -1)).sum(-1)
        dscan = dA_H, dD_H, draw_BLH.sum((0, 1))
        dstate_BHPN = dstate_BNE.mT.reshape(dstate_BHPN.shape)
        return dmixed_BLM, dtail_BJX, dstate_BHPN, dtaps_KX, dbias_X, *dscan, dnorm_E, None, None, None, None


def mamba2_mix(
    mixed_BLM: Tensor,
    tail_BJX: Tensor,
    state_BHPN: Tensor,
    weight_X1K: Tensor,
    bias_X: Tensor,
    A_H: Tensor,
    D_H: Tensor,
    dt_bias_H: Tensor,
    norm_E: Tensor,
    eps: float,
    reset_BL: Tensor | None = None,
    length_B: Tensor | None = None,
    dt_floor: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute Mamba-2's block without its projections; return `(y_BLE, tail_BJX, state_BHPN)`.

    The result is `norm(y silu(z))`, where y is `reference.ssd_recurrent` of silu of the convolution and of
    dt = softplus(raw dt + bias) + dt_floor. It is differentiable in all arguments but the masks. Tensors are fp32 on
    the CPU, and N is even.

    mixed_BLM: z, x, B, C and the raw dt, concatenated.
    tail_BJX: the convolution's input at the J tokens before the call; in the result, at the last J valid tokens.
    reset_BL: bool; whether scan and convolution forget everything before a token.
    length_B: int64; number of valid tokens of each row. The result at the others is zero.

    Source: Dao and Gu 2024, arXiv 2405.21060, section 7.
    """
    batch, length = mixed_BLM.shape[:2]
    reset_BL = torch.zeros(batch, length, dtype=torch.bool) if reset_BL is None else reset_BL
    length_B = torch.full((batch,), length) if length_B is None else length_B
    assert len(tail_BJX) == len(state_BHPN) == len(length_B) == batch  # compiled code checks no bounds
    assert (length_B <= length).all()
    weights = weight_X1K[:, 0].t(), bias_X, A_H, D_H, dt_bias_H, norm_E
    return _Mix.apply(mixed_BLM, tail_BJX, state_BHPN, *weights, eps, reset_BL, length_B, dt_floor)

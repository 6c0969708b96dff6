"""One compiled step of a whole model: from tokens and states to logits and new states, on one core.

A step reads rows: tokens of one or several sequences, each sequence's in order. Products with weights are taken for up
to ROWS rows at a time, so that weights are fetched once for all of them; sums are taken in one order whatever their
number, so that one token at a time, any chunk and any batch give the same numbers bit for bit.

All weights of a model stand in one array, in the order in which they are needed, and all tensors of a sequence's state
in another. Rows of weights are padded with zeros to whole vectors. All
numbers are float32.

Glossary: R rows, V vocabulary, D model width, E inner width, H heads, N state size, X convolved channels, K taps of
the convolution, J = K - 1, M outputs of in_proj, Q rank of Mamba-1's step size, G gates of all units, S sequences,
Z numbers of a state.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray as Array

from tallystick.kernels import numba_jit
from tallystick.kernels.project_numba import project
from tallystick.kernels.vector_numba import (
    LANES,
    exp,
    fma,
    larger,
    largest,
    load,
    plus,
    product,
    sigmoid,
    softplus,
    spread,
    store,
)

PAIR = 2 * LANES
"""Numbers of two vectors."""
ROWS = 64
"""Maximum number of rows of a pass: their activations stay in a core's second cache."""
MAMBA2, MAMBA1, LSTM, GRU = range(4)
"""Kinds of models."""
KIND, VOCAB, WIDTH, LAYERS, INNER, STATES, TAPS, HEADS, RANK, GATES, SIZES = range(11)
"""Places in the array of a model's sizes; those that a kind does not have are zero."""
ZERO, HALF, ONE, TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)
"""Constants in single precision; Python's floats would turn the arithmetic into double precision."""
INFINITY, LEAST = np.float32(np.inf), np.finfo(np.float32).min
EPS = np.float32(1e-5)
"""Constant that norms add to the mean square, as `rms_norm.EPS`."""


OPTIONS = {"fastmath": {"contract", "nsz"}, "error_model": "numpy"}
"""Options of numba: sums are taken in the order in which they are written, and NaN and infinity are preserved."""
FREE = {"fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy"}
"""Options where a row's sum may be taken in any order."""


def jit(function: Any) -> Any:
    """Compile a function with `OPTIONS`."""
    return numba_jit.jit(function, **OPTIONS)


def jit_free(function: Any) -> Any:
    """Compile a function with `FREE`."""
    return numba_jit.jit(function, **FREE)


def jit_separate(function: Any) -> Any:
    """Compile a function whose products are rounded on their own, not fused with sums."""
    return numba_jit.jit(function, fastmath={"nsz"}, error_model="numpy")


@jit_separate
def _product(a: np.float32, b: np.float32) -> np.float32:
    """Return a product that is not fused: of two in one sum, each compiled function might else fuse another one."""
    return a * b


@jit
def padded(width: int) -> int:
    """Return the number of floats that a row of weights takes."""
    return (width + LANES - 1) // LANES * LANES


@jit
def _exp(x: np.float32) -> np.float32:
    """Return exp(x) to 2e-7, and exp(±87) beyond: Cephes' expf without its branches, which would not be vectorised."""
    x = np.float32(-87.0) if x < np.float32(-87.0) else x  # min and max would hide a NaN
    x = np.float32(87.0) if x > np.float32(87.0) else x
    whole = np.floor(x * np.float32(1.44269504) + HALF)
    rest = x - whole * np.float32(0.693359375) + whole * np.float32(2.12194440e-4)
    power = np.float32(1.9875691500e-4)
    for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1.0, 1.0):
        power = power * rest + np.float32(c)
    return power * np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)


@jit
def _sigmoid(x: np.float32) -> np.float32:
    """Return 1 / (1 + exp(-x))."""
    return ONE / (ONE + _exp(-x))


@jit
def _tanh(x: np.float32) -> np.float32:
    """Return tanh(x), to 2e-7."""
    return TWO / (ONE + _exp(-TWO * x)) - ONE


@jit
def _softplus(x: np.float32) -> np.float32:
    """Return log(1 + exp(x)), to 2e-7 of itself: log1p(u) is 2 atanh(u / (2 + u)), as a series."""
    u = _exp(-abs(x))
    s = u / (TWO + u)
    square, series = s * s, np.float32(1 / 17)
    for c in (1 / 15, 1 / 13, 1 / 11, 1 / 9, 1 / 7, 1 / 5, 1 / 3, 1.0):
        series = series * square + np.float32(c)
    return max(x, ZERO) + TWO * s * series


@jit_free
def _norm(x_RD: Array, weight_D: Array, count: int, out_RD: Array) -> None:
    """Fill `out_RD` with the RMS norm of the first `count` rows."""
    width = len(weight_D)
    for r in range(count):
        squares = ZERO
        for d in range(width):
            squares += x_RD[r, d] * x_RD[r, d]
        scale = ONE / np.sqrt(squares / np.float32(width) + EPS)
        for d in range(width):
            out_RD[r, d] = x_RD[r, d] * scale * weight_D[d]


@jit
def _copy(from_M: Array, into_M: Array) -> None:
    """Copy a row of whole vectors."""
    for m in range(0, len(into_M), LANES):
        store(load(from_M, m), into_M, m)


@jit
def _convolve(new_X: Array, taps_KX: Array, bias_X: Array, tail_JX: Array, out_X: Array) -> None:
    """Fill `out_X` with silu of the convolution at one token; push the token into the tail."""
    reach, channels = tail_JX.shape
    for i in range(channels):
        out_X[i] = bias_X[i] + taps_KX[reach, i] * new_X[i]
    for j in range(reach):
        for i in range(channels):
            out_X[i] += taps_KX[j, i] * tail_JX[j, i]
    for j in range(reach - 1):
        for i in range(channels):
            tail_JX[j, i] = tail_JX[j + 1, i]
    for i in range(channels):
        tail_JX[reach - 1, i] = new_X[i]
    for i in range(channels):
        out_X[i] *= _sigmoid(out_X[i])


@jit
def _view(flat: Array, begin: int, rows: int, columns: int) -> Array:
    """Return `rows` x `columns` numbers of `flat` from `begin` on, as a matrix."""
    return flat[begin : begin + rows * columns].reshape((rows, columns))


@jit
def _mamba2(
    sizes: Array,
    weights: Array,
    at: int,
    x_RD: Array,
    normed_RD: Array,
    wide_RM: Array,
    inner_RE: Array,
    states_SZ: Array,
    z: int,
    slot_R: Array,
    fresh_R: Array,
    count: int,
) -> tuple[int, int]:
    """Run one block of Mamba-2 on `count` rows; return the places of the next block's weights and state.

    The arguments are the same for the other kinds' layers: `at` and `z` are the places of this layer's weights and
    state; slot_R, fresh_R: each row's sequence, and whether its state is zeroed first; x_RD is replaced by the layer's
    output; the other matrices are scratch.
    """
    width, inner, states, taps, heads = sizes[WIDTH], sizes[INNER], sizes[STATES], sizes[TAPS], sizes[HEADS]
    channels, columns = inner + 2 * states, wide_RM.shape[1]
    norm_D, at = weights[at : at + width], at + width
    in_DM, at = _view(weights, at, width, columns), at + width * columns
    taps_KX, at = _view(weights, at, taps, channels), at + taps * channels
    bias_X, at = weights[at : at + channels], at + channels
    A_H, at = weights[at : at + heads], at + heads
    dt_bias_H, at = weights[at : at + heads], at + heads
    floor_1, at = weights[at : at + 1], at + 1
    D_E, at = weights[at : at + inner], at + inner
    gate_E, at = weights[at : at + inner], at + inner
    out_ED, at = _view(weights, at, inner, x_RD.shape[1]), at + inner * x_RD.shape[1]

    _norm(x_RD, norm_D, count, normed_RD)
    project(normed_RD, in_DM, 0, count, wide_RM, True)
    dt_RH, decay_RH = _steps(wide_RM, inner + channels, count, dt_bias_H, floor_1, A_H)
    xBC_RX = np.empty((count, padded(channels + LANES)), np.float32)
    begin = 0
    while begin < count:
        end = begin + 1
        while end < count and slot_R[end] == slot_R[begin] and not fresh_R[end]:
            end += 1
        if fresh_R[begin]:
            states_SZ[slot_R[begin], z : z + (taps - 1) * channels + states * inner] = ZERO
        tail_JX = _view(states_SZ[slot_R[begin]], z, taps - 1, channels)
        state_NE = _view(states_SZ[slot_R[begin]], z + (taps - 1) * channels, states, inner)
        _convolve_run(wide_RM, inner, begin, end, taps_KX, bias_X, tail_JX, xBC_RX)
        _scan_run(xBC_RX, dt_RH, decay_RH, D_E, wide_RM, begin, end, state_NE, inner_RE)
        begin = end
    _norm(inner_RE, gate_E, count, xBC_RX)
    project(xBC_RX, out_ED, 0, count, x_RD, False)
    return at, z + (taps - 1) * channels + states * inner


@jit
def _steps(wide_RM: Array, column: int, count: int, bias_H: Array, floor_1: Array, A_H: Array) -> tuple[Array, Array]:
    """Return each row's step size and decay of each head; column: place of the raw step sizes."""
    heads = len(bias_H)
    size = padded(count * heads)
    dt, decay = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for r in range(count):
        for h in range(heads):
            dt[r * heads + h] = wide_RM[r, column + h] + bias_H[h]
    for i in range(0, size, LANES):
        store(plus(softplus(load(dt, i)), spread(floor_1, 0)), dt, i)
    for r in range(count):
        for h in range(heads):
            decay[r * heads + h] = dt[r * heads + h] * A_H[h]
    for i in range(0, size, LANES):
        store(exp(load(decay, i)), decay, i)
    return _view(dt, 0, count, heads), _view(decay, 0, count, heads)


@jit
def _convolve_run(
    wide_RM: Array,
    column: int,
    begin: int,
    end: int,
    taps_KX: Array,
    bias_X: Array,
    tail_JX: Array,
    out_RX: Array,
) -> None:
    """Fill rows of `out_RX` with silu of the convolution of one sequence's tokens; push them into the tail.

    column: place of the convolution's input in `wide_RM`.
    """
    (reach, channels), width = tail_JX.shape, padded(tail_JX.shape[1])
    first = np.empty((2 * reach, width), np.float32)  # the tail, and the tokens that see it
    for w in range(reach + min(reach, end - begin)):
        for i in range(channels):
            first[w, i] = tail_JX[w, i] if w < reach else wide_RM[begin + w - reach, column + i]
    early, wide, taps, middle = first.reshape(-1), wide_RM.reshape(-1), taps_KX.reshape(-1), min(begin + reach, end)
    for r in range(begin, end):
        source, stride = (early, width) if r < middle else (wide, wide_RM.shape[1])
        at = (r - begin) * width if r < middle else (r - reach) * stride + column
        for i in range(0, channels, LANES):
            y = fma(load(taps, reach * channels + i), load(source, at + reach * stride + i), load(bias_X, i))
            for j in range(reach):
                y = fma(load(taps, j * channels + i), load(source, at + j * stride + i), y)
            store(product(y, sigmoid(y)), out_RX[r], i)
    for j in range(reach):
        w = end - begin + j
        for i in range(channels):
            tail_JX[j, i] = first[w, i] if w < 2 * reach else wide_RM[begin + w - reach, column + i]


@jit
def _scan_run(
    xBC_RX: Array,
    dt_RH: Array,
    decay_RH: Array,
    D_E: Array,
    wide_RM: Array,
    begin: int,
    end: int,
    state_NE: Array,
    out_RE: Array,
) -> None:
    """Scan one sequence's tokens; advance its state, and fill rows of `out_RE` with y silu(z)."""
    (states, inner), heads = state_NE.shape, dt_RH.shape[1]
    size, width = inner // heads, (inner + PAIR - 1) // PAIR * PAIR
    dt_E, decay_E = np.empty(width + LANES, np.float32), np.empty(width + LANES, np.float32)
    state = state_NE.reshape(-1) if width == inner else _widened(state_NE, width)
    for r in range(begin, end):
        xBC_X, z_E, out_E = xBC_RX[r], wide_RM[r], out_RE[r]
        for h in range(heads):  # what a head's last vector has too much, the next head's first overwrites
            dt, decay = spread(dt_RH[r], h), spread(decay_RH[r], h)
            for e in range(h * size, (h + 1) * size, LANES):
                store(dt, dt_E, e)
                store(decay, decay_E, e)
        for e in range(0, inner, PAIR):  # two vectors at a time, for a sum waits for its last term
            f = e + LANES
            x0, x1, decay0, decay1 = load(xBC_X, e), load(xBC_X, f), load(decay_E, e), load(decay_E, f)
            dtx0, dtx1 = product(load(dt_E, e), x0), product(load(dt_E, f), x1)
            y0, y1 = product(load(D_E, e), x0), product(load(D_E, f), x1)
            for n in range(states):
                B, C, at = spread(xBC_X, inner + n), spread(xBC_X, inner + states + n), n * width
                s0 = fma(decay0, load(state, at + e), product(B, dtx0))
                s1 = fma(decay1, load(state, at + f), product(B, dtx1))
                store(s0, state, at + e)
                store(s1, state, at + f)
                y0, y1 = fma(C, s0, y0), fma(C, s1, y1)
            z0, z1 = load(z_E, e), load(z_E, f)
            store(product(y0, product(z0, sigmoid(z0))), out_E, e)
            store(product(y1, product(z1, sigmoid(z1))), out_E, f)
    if width > inner:
        state_NE[:] = state.reshape((states, width))[:, :inner]


@jit
def _widened(state_NE: Array, width: int) -> Array:
    """Return a copy of a state whose rows have `width` numbers, as one array."""
    wide = np.zeros((len(state_NE), width), np.float32)
    wide[:, : state_NE.shape[1]] = state_NE
    return wide.reshape(-1)


@jit
def _mamba1(
    sizes: Array,
    weights: Array,
    at: int,
    x_RD: Array,
    normed_RD: Array,
    wide_RM: Array,
    inner_RE: Array,
    states_SZ: Array,
    z: int,
    slot_R: Array,
    fresh_R: Array,
    count: int,
) -> tuple[int, int]:
    """Run one block of Mamba-1 on `count` rows; see `_mamba2`."""
    width, inner, states, taps, rank = sizes[WIDTH], sizes[INNER], sizes[STATES], sizes[TAPS], sizes[RANK]
    columns, small, dense = wide_RM.shape[1], padded(rank + 2 * states), padded(inner)
    norm_D, at = weights[at : at + width], at + width
    in_DM, at = _view(weights, at, width, columns), at + width * columns
    taps_KE, at = _view(weights, at, taps, inner), at + taps * inner
    bias_E, at = weights[at : at + inner], at + inner
    mix_EY, at = _view(weights, at, inner, small), at + inner * small
    dt_QE, at = _view(weights, at, rank, dense), at + rank * dense
    dt_bias_E, at = weights[at : at + inner], at + inner
    floor, at = weights[at], at + 1
    A_NE, at = _view(weights, at, states, inner), at + states * inner
    D_E, at = weights[at : at + inner], at + inner
    out_ED, at = _view(weights, at, inner, x_RD.shape[1]), at + inner * x_RD.shape[1]

    _norm(x_RD, norm_D, count, normed_RD)
    project(normed_RD, in_DM, 0, count, wide_RM, True)
    mixed_RY, dt_RE = np.empty((count, small), np.float32), np.empty((count, dense), np.float32)
    for r in range(count):
        tail_JE = _view(states_SZ[slot_R[r]], z, taps - 1, inner)
        if fresh_R[r]:
            tail_JE[:] = ZERO
        _convolve(wide_RM[r, :inner], taps_KE, bias_E, tail_JE, inner_RE[r])
    project(inner_RE, mix_EY, 0, count, mixed_RY, True)
    project(mixed_RY, dt_QE, 0, count, dt_RE, True)
    dtx_E, y_E = np.empty(inner, np.float32), np.empty(inner, np.float32)
    for r in range(count):
        state_NE = _view(states_SZ[slot_R[r]], z + (taps - 1) * inner, states, inner)
        if fresh_R[r]:
            state_NE[:] = ZERO
        dt_E, x_E = dt_RE[r], inner_RE[r]
        for e in range(inner):
            dt_E[e] = _softplus(dt_E[e] + dt_bias_E[e]) + floor
            dtx_E[e], y_E[e] = dt_E[e] * x_E[e], D_E[e] * x_E[e]
        for n in range(states):
            B, C = mixed_RY[r, rank + n], mixed_RY[r, rank + states + n]
            for e in range(inner):
                s = _exp(dt_E[e] * A_NE[n, e]) * state_NE[n, e] + B * dtx_E[e]
                state_NE[n, e] = s
                y_E[e] += C * s
        for e in range(inner):
            x_E[e] = y_E[e] * wide_RM[r, inner + e] * _sigmoid(wide_RM[r, inner + e])
    project(inner_RE, out_ED, 0, count, x_RD, False)
    return at, z + (taps - 1 + states) * inner


@jit
def _recurrent(
    sizes: Array,
    weights: Array,
    at: int,
    x_RD: Array,
    normed_RD: Array,
    wide_RM: Array,
    inner_RE: Array,
    states_SZ: Array,
    z: int,
    slot_R: Array,
    fresh_R: Array,
    count: int,
) -> tuple[int, int]:
    """Run one layer of an LSTM or a GRU on `count` rows, whose input's part stands in `wide_RM`; see `_mamba2`.

    Rows are taken in runs of different sequences, so that a batch shares the fetched weights.
    """
    width, columns, is_gru = sizes[WIDTH], wide_RM.shape[1], sizes[KIND] == GRU
    following = z + (width if is_gru else 2 * width)
    own_DM, at = _view(weights, at, width, columns), at + width * columns
    begin = 0
    while begin < count:
        end = begin + 1
        while end < count and slot_R[end] > slot_R[end - 1]:
            end += 1
        for r in range(begin, end):
            if fresh_R[r]:
                states_SZ[slot_R[r], z:following] = ZERO
            for d in range(width):
                normed_RD[r, d] = states_SZ[slot_R[r], z + d]
        out_RM = inner_RE if is_gru else wide_RM  # a GRU's reset gate acts on its own part alone
        project(normed_RD, own_DM, begin, end, out_RM, is_gru)
        for r in range(begin, end):
            h_D = states_SZ[slot_R[r], z : z + width]
            if is_gru:
                _gru_cell(wide_RM[r], inner_RE[r], h_D)
            else:
                _lstm_cell(wide_RM[r], h_D, states_SZ[slot_R[r], z + width : z + 2 * width], sizes[GATES])
            for d in range(width):
                x_RD[r, d] = h_D[d]
        begin = end
    return at, following


@jit
def _lstm_cell(gates_M: Array, h_D: Array, c_D: Array, gates: int) -> None:
    """Advance an LSTM's state and cell, given its gates f, i, g, o; or f, g, o, where i is 1 - f."""
    width = len(h_D)
    for d in range(width):
        f, g = _sigmoid(gates_M[d]), _tanh(gates_M[(gates - 2) * width + d])
        i = ONE - f if gates == 3 else _sigmoid(gates_M[width + d])
        c_D[d] = f * c_D[d] + _product(i, g)
        h_D[d] = _sigmoid(gates_M[(gates - 1) * width + d]) * _tanh(c_D[d])


@jit
def _gru_cell(gates_M: Array, own_M: Array, h_D: Array) -> None:
    """Advance a GRU's state, given the input's part and its own part of r, z and n."""
    width = len(h_D)
    for d in range(width):
        r, z = _sigmoid(gates_M[d] + own_M[d]), _sigmoid(gates_M[width + d] + own_M[width + d])
        n = _tanh(gates_M[2 * width + d] + r * own_M[2 * width + d])
        h_D[d] = z * h_D[d] + _product(ONE - z, n)


@jit
def _embed(table_VM: Array, id_R: Array, out_RM: Array, count: int) -> None:
    """Fill the first `count` rows with their tokens' rows of the table."""
    for r in range(count):
        _copy(table_VM[id_R[r]], out_RM[r])


@jit
def _spread(bias_M: Array, out_RM: Array, count: int) -> None:
    """Fill the first `count` rows with the bias."""
    for r in range(count):
        for m in range(len(bias_M)):
            out_RM[r, m] = bias_M[m]


@jit
def widest(sizes: Array) -> int:
    """Return the width of the widest activation, padded: the outputs of in_proj, or all gates."""
    if sizes[KIND] == MAMBA2:
        return padded(2 * sizes[INNER] + 2 * sizes[STATES] + sizes[HEADS])
    return padded(2 * sizes[INNER] if sizes[KIND] == MAMBA1 else sizes[GATES] * sizes[WIDTH])


@jit
def read(
    sizes: Array,
    weights: Array,
    states_SZ: Array,
    id_R: Array,
    slot_R: Array,
    fresh_R: Array,
    last_R: Array,
    out: Array,
) -> None:
    """Let the model read rows; advance `states_SZ`.

    id_R, slot_R: each row's token and sequence, a sequence's rows in order.
    fresh_R: whether the sequence's state is zeroed before this row.
    last_R: row of `out` [., padded(V)] for the logits that follow this row; -1 if they are not wanted.
    """
    kind, width, vocab, layers = sizes[KIND], sizes[WIDTH], sizes[VOCAB], sizes[LAYERS]
    residual, columns, most = padded(width), widest(sizes), min(len(id_R), ROWS)
    x_RD, normed_RD = np.zeros((most, residual), np.float32), np.zeros((most, residual), np.float32)
    wide_RM = np.zeros((most + 1, columns), np.float32)  # vectors may reach beyond the last row
    inner_RE = np.zeros((most, columns if kind == GRU else padded(sizes[INNER] + LANES)), np.float32)
    logits_RV = np.zeros((most, padded(vocab)), np.float32)
    for begin in range(0, len(id_R), ROWS):
        count = min(ROWS, len(id_R) - begin)
        rows, at, z = (slot_R[begin : begin + count], fresh_R[begin : begin + count], count), 0, 0
        scratch = x_RD, normed_RD, wide_RM, inner_RE
        if kind in (MAMBA2, MAMBA1):
            _embed(_view(weights, at, vocab, residual), id_R[begin:], x_RD, count)
            at += vocab * residual
            for _ in range(layers):
                if kind == MAMBA2:
                    at, z = _mamba2(sizes, weights, at, *scratch, states_SZ, z, *rows)
                else:
                    at, z = _mamba1(sizes, weights, at, *scratch, states_SZ, z, *rows)
        else:
            _embed(_view(weights, at, vocab, columns), id_R[begin:], wide_RM, count)
            at += vocab * columns
            for layer in range(layers):
                if layer:
                    _spread(weights[at : at + columns], wide_RM, count)
                    project(x_RD, _view(weights, at + columns, width, columns), 0, count, wide_RM, False)
                    at += columns + width * columns
                at, z = _recurrent(sizes, weights, at, *scratch, states_SZ, z, *rows)
        _say(sizes, weights, at, last_R[begin : begin + count], x_RD, normed_RD, logits_RV, out)


@jit
def _say(
    sizes: Array, weights: Array, at: int, last_R: Array, x_RD: Array, normed_RD: Array, logits_RV: Array, out: Array
) -> None:
    """Compute the logits of the rows for which they are wanted."""
    width, vocab, wanted = sizes[WIDTH], sizes[VOCAB], 0
    for r in range(len(last_R)):
        if last_R[r] >= 0:
            _copy(x_RD[r], x_RD[wanted])
            wanted += 1
    if sizes[KIND] in (MAMBA2, MAMBA1):
        _norm(x_RD, weights[at : at + width], wanted, normed_RD)
        at += width
    else:
        normed_RD = x_RD
    project(normed_RD, _view(weights, at, width, padded(vocab)), 0, wanted, logits_RV, True)
    wanted = 0
    for r in range(len(last_R)):
        if last_R[r] >= 0:
            _copy(logits_RV[wanted], out[last_R[r]])
            wanted += 1


@jit
def greedy(logits_V: Array) -> tuple[int, np.float32, bool]:
    """Return the token with the largest logit, its margin over the next, and whether all logits are equal.

    NaN counts as the largest, as in torch.
    """
    token, best, second, least = 0, logits_V[0], np.float32(-np.inf), logits_V[0]
    if np.isnan(best):
        return 0, np.float32(np.nan), False
    for v in range(1, len(logits_V)):
        logit = logits_V[v]
        if np.isnan(logit):
            return v, np.float32(np.nan), False
        if logit > best:
            token, best, second = v, logit, best
        elif logit > second:
            second = logit
        least = min(least, logit)
    return token, best - second, best == least


@jit
def greedy_rows(logits_SV: Array, vocab: int, tokens_S: Array, margins_S: Array, silent_S: Array) -> None:
    """Fill the last three arrays with what `greedy` returns for each row."""
    for s in range(len(tokens_S)):
        tokens_S[s], margins_S[s], silent_S[s] = greedy(logits_SV[s, :vocab])


@jit
def margins(logits_TV: Array, vocab: int, target_T: Array, margin_T: Array) -> None:
    """Fill `margin_T` with each target's logit minus the best other; NaN becomes the smallest float32, as in torch.

    Overwrites the padding of `logits_TV`.
    """
    for t in range(len(target_T)):
        logits_V, target = logits_TV[t], target_T[t]
        own = logits_V[target]
        logits_V[target] = -INFINITY
        for v in range(vocab, len(logits_V)):
            logits_V[v] = -INFINITY
        best = load(logits_V, 0)
        for v in range(LANES, len(logits_V), LANES):
            best = larger(best, load(logits_V, v))
        logits_V[target] = own
        margin = own - largest(best)
        margin_T[t] = LEAST if np.isnan(margin) else margin


@jit
def read_on(
    sizes: Array, weights: Array, states_1Z: Array, id_R: Array, plain_V: Array, logits_1V: Array, said_L: Array
) -> int:
    """Let the model read one sequence, and go on while it says plain tokens; return their number, at most L.

    Fills `said_L` with them, and `logits_1V` with the logits of the token that follows.
    """
    slot_R, last_R = np.zeros(len(id_R), np.int64), np.full(len(id_R), -1, np.int64)
    fresh_R = np.zeros(len(id_R), np.bool_)
    last_R[-1] = 0
    read(sizes, weights, states_1Z, id_R, slot_R, fresh_R, last_R, logits_1V)
    for n in range(len(said_L)):
        token, _, silent = greedy(logits_1V[0, : len(plain_V)])
        if silent or not plain_V[token]:
            return n
        said_L[n] = token
        read(sizes, weights, states_1Z, said_L[n : n + 1], slot_R[:1], fresh_R[:1], last_R[-1:], logits_1V)
    return len(said_L)

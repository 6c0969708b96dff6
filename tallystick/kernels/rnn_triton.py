"""The loops over time of `rnn_loops` as Triton kernels: one launch, where Python launches ten kernels per token.

Each program processes a few rows over all tokens. No other program needs these rows, so a barrier between tokens
suffices. Every thread needs the whole state for its matrix product, and reads it from memory, where the previous step
wrote it. The weights do not fit into a program, and are read again for each token, mostly from the caches.

Parameters of the kernels are pointers to contiguous tensors, sizes, and compile-time constants.

Glossary: B batch, L length, H units, G gates of all units, C gates that feed the cell; R rows of a program, K the
dimension that a product sums over, T a tile of K.
"""

# CPU builds of torch come without Triton, whose decorator gives functions another calling convention.
# pyright: reportMissingImports=false, reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from tallystick.kernels import triton_common as _  # noqa: F401  # it gives Triton a folder for compiled kernels
from tallystick.kernels.rnn_loops import Keep

FEW = 32
"""Maximum number of rows that each get a program of their own, with plain fp32 sums; with more rows, 16 share a program
that uses the tensor cores."""

_time_loop = triton.jit(do_not_specialize=["length", "rows"])  # compiled once for all lengths and batch sizes


@triton.jit
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def _own(rows, H: tl.constexpr, G: tl.constexpr, R: tl.constexpr):
    """Return the program's rows, whether each exists, and the offsets of their units in [B, H] and [B, G]."""
    row_R1, unit_1H = tl.program_id(0) * R + tl.arange(0, R)[:, None], tl.arange(0, H)[None, :]
    return row_R1, row_R1 < rows, row_R1 * H + unit_1H, row_R1 * G + unit_1H


@triton.jit
def _product(left_BK, right_KH, stride, row_R1, rows, K: tl.constexpr, H: tl.constexpr, T: tl.constexpr):
    """Return left_RK @ right_KH; for one row, its terms [T, H] before summation, so that loads overlap."""
    unit_1H, one_T = tl.arange(0, H)[None, :], tl.arange(0, T)
    if row_R1.shape[0] == 1:
        sums = tl.zeros([T, H], tl.float32)
        for k in tl.range(0, K, T, loop_unroll_factor=4):
            k_T1 = k + one_T[:, None]
            sums += tl.load(left_BK + row_R1 * K + k_T1) * tl.load(right_KH + k_T1 * stride + unit_1H)
    else:
        sums = tl.zeros([row_R1.shape[0], H], tl.float32)
        for k in range(0, K, T):
            left_RT = tl.load(left_BK + row_R1 * K + k + one_T[None, :], mask=row_R1 < rows, other=0.0)
            right_TH = tl.load(right_KH + (k + one_T[:, None]) * stride + unit_1H)
            sums = tl.dot(left_RT, right_TH, sums, input_precision="tf32x3")  # as exact as fp32
    return sums


@triton.jit
def _total(sums, row_R1):
    """Complete the summation that `_product` leaves open."""
    return tl.sum(sums, 0, keep_dims=True) if row_R1.shape[0] == 1 else sums


@triton.jit
def _keep(keep_LB, token, row_R1, rows):
    """Return the factor of the state before a token: 0 for rows that are reset, else 1."""
    if keep_LB is None:
        keep_R1 = tl.full([row_R1.shape[0], 1], 1.0, tl.float32)
    else:
        keep_R1 = tl.load(keep_LB + token + row_R1, mask=row_R1 < rows, other=0.0)
    return keep_R1


@_time_loop
def _lstm_forward(
    x_LBG, weight_HG, state_BH, cell_BH, keep_LB, gates_LBG, states_LBH, cells_LBH,
    length, rows, H: tl.constexpr, G: tl.constexpr, R: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    row_R1, there, at_RH, first_RH = _own(rows, H, G, R)
    before_BH = state_BH
    cell_RH = tl.load(cell_BH + at_RH, mask=there, other=0.0)
    for t in range(length):
        token = tl.cast(t, tl.int64) * rows
        keep_R1 = _keep(keep_LB, token, row_R1, rows)
        x, gates = x_LBG + token * G + first_RH, gates_LBG + token * G + first_RH
        f = _product(before_BH, weight_HG, G, row_R1, rows, H, H, T)
        if G == 4 * H:
            i = _product(before_BH, weight_HG + H, G, row_R1, rows, H, H, T)
        g = _product(before_BH, weight_HG + G - 2 * H, G, row_R1, rows, H, H, T)
        o = _product(before_BH, weight_HG + G - H, G, row_R1, rows, H, H, T)
        f = tl.sigmoid(_total(f, row_R1) * keep_R1 + tl.load(x, mask=there, other=0.0))
        if G == 4 * H:
            i = tl.sigmoid(_total(i, row_R1) * keep_R1 + tl.load(x + H, mask=there, other=0.0))
            tl.store(gates + H, i, mask=there)
        else:
            i = 1 - f
        g = _tanh(_total(g, row_R1) * keep_R1 + tl.load(x + G - 2 * H, mask=there, other=0.0))
        o = tl.sigmoid(_total(o, row_R1) * keep_R1 + tl.load(x + G - H, mask=there, other=0.0))
        cell_RH = f * (cell_RH * keep_R1) + i * g
        tl.store(gates, f, mask=there)
        tl.store(gates + G - 2 * H, g, mask=there)
        tl.store(gates + G - H, o, mask=there)
        tl.store(cells_LBH + token * H + at_RH, cell_RH, mask=there)
        before_BH = states_LBH + token * H
        tl.store(before_BH + at_RH, o * _tanh(cell_RH), mask=there)
        tl.debug_barrier()


@_time_loop
def _lstm_backward(
    dstates_LBH, dstate_BH, dcell_BH, per_cell_LBCH, per_state_LBH, cell_per_state_LBH, gates_LBG, weight_GH, keep_LB,
    dgates_LBG, dfirst_BH, dfirst_cell_BH,
    length, rows, H: tl.constexpr, G: tl.constexpr, R: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    row_R1, there, at_RH, first_RH = _own(rows, H, G, R)
    dstate_RH = tl.load(dstate_BH + at_RH, mask=there, other=0.0)
    dcell_RH = tl.load(dcell_BH + at_RH, mask=there, other=0.0)
    for back in range(length):
        token = tl.cast(length - 1 - back, tl.int64) * rows
        dgates_BG = dgates_LBG + token * G
        dstate_RH += tl.load(dstates_LBH + token * H + at_RH, mask=there, other=0.0)
        dcell_RH += dstate_RH * tl.load(cell_per_state_LBH + token * H + at_RH, mask=there, other=0.0)
        per_cell = per_cell_LBCH + token * (G - H) + first_RH - row_R1 * H
        for c in tl.static_range(0, G - H, H):
            tl.store(dgates_BG + first_RH + c, dcell_RH * tl.load(per_cell + c, mask=there, other=0.0), mask=there)
        do_RH = dstate_RH * tl.load(per_state_LBH + token * H + at_RH, mask=there, other=0.0)
        tl.store(dgates_BG + first_RH + G - H, do_RH, mask=there)
        tl.debug_barrier()
        keep_R1 = _keep(keep_LB, token, row_R1, rows)
        dstate_RH = _total(_product(dgates_BG, weight_GH, H, row_R1, rows, G, H, T), row_R1) * keep_R1
        dcell_RH *= tl.load(gates_LBG + token * G + first_RH, mask=there, other=0.0) * keep_R1
    tl.store(dfirst_BH + at_RH, dstate_RH, mask=there)
    tl.store(dfirst_cell_BH + at_RH, dcell_RH, mask=there)


@_time_loop
def _gru_forward(
    x_LBG, weight_HG, state_BH, keep_LB, own_LBG, gates_LBG, states_LBH,
    length, rows, H: tl.constexpr, G: tl.constexpr, R: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    row_R1, there, at_RH, first_RH = _own(rows, H, G, R)
    before_BH = state_BH
    state_RH = tl.load(state_BH + at_RH, mask=there, other=0.0)
    for t in range(length):
        token = tl.cast(t, tl.int64) * rows
        keep_R1 = _keep(keep_LB, token, row_R1, rows)
        x, gates = x_LBG + token * G + first_RH, gates_LBG + token * G + first_RH
        r = _product(before_BH, weight_HG, G, row_R1, rows, H, H, T)
        z = _product(before_BH, weight_HG + H, G, row_R1, rows, H, H, T)
        n = _product(before_BH, weight_HG + 2 * H, G, row_R1, rows, H, H, T)
        r = tl.sigmoid(_total(r, row_R1) * keep_R1 + tl.load(x, mask=there, other=0.0))
        z = tl.sigmoid(_total(z, row_R1) * keep_R1 + tl.load(x + H, mask=there, other=0.0))
        own_n = _total(n, row_R1) * keep_R1
        n = _tanh(r * own_n + tl.load(x + 2 * H, mask=there, other=0.0))
        state_RH = (1 - z) * n + z * (state_RH * keep_R1)
        tl.store(gates, r, mask=there)
        tl.store(gates + H, z, mask=there)
        tl.store(gates + 2 * H, n, mask=there)
        tl.store(own_LBG + token * G + first_RH + 2 * H, own_n, mask=there)  # the gradient needs only this part
        before_BH = states_LBH + token * H
        tl.store(before_BH + at_RH, state_RH, mask=there)
        tl.debug_barrier()


@_time_loop
def _gru_backward(
    dstates_LBH, dstate_BH, per_own_LBCH, gates_LBG, weight_GH, keep_LB, dall_LBH, downs_LBG, dfirst_BH,
    length, rows, H: tl.constexpr, G: tl.constexpr, R: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    row_R1, there, at_RH, first_RH = _own(rows, H, G, R)
    dstate_RH = tl.load(dstate_BH + at_RH, mask=there, other=0.0)
    for back in range(length):
        token = tl.cast(length - 1 - back, tl.int64) * rows
        downs_BG = downs_LBG + token * G
        dstate_RH += tl.load(dstates_LBH + token * H + at_RH, mask=there, other=0.0)
        tl.store(dall_LBH + token * H + at_RH, dstate_RH, mask=there)
        per_own = per_own_LBCH + token * G + first_RH
        for c in tl.static_range(0, G, H):
            tl.store(downs_BG + first_RH + c, dstate_RH * tl.load(per_own + c, mask=there, other=0.0), mask=there)
        tl.debug_barrier()
        dstate_RH *= tl.load(gates_LBG + token * G + H + first_RH, mask=there, other=0.0)
        dstate_RH += _total(_product(downs_BG, weight_GH, H, row_R1, rows, G, H, T), row_R1)
        dstate_RH *= _keep(keep_LB, token, row_R1, rows)
    tl.store(dfirst_BH + at_RH, dstate_RH, mask=there)


def _launch(
    kernel: Any, gates_LBG: Tensor, units: int, read: Sequence[Tensor | None], written: Sequence[Tensor]
) -> None:
    length, rows, gates = gates_LBG.shape
    each = 1 if rows <= FEW else 16
    inputs = [tensor if tensor is None else tensor.contiguous() for tensor in read]
    grid = (triton.cdiv(rows, each),)
    kernel[grid](*inputs, *written, length, rows, H=units, G=gates, R=each, T=32, num_warps=8)


def _mask(keep: Keep) -> Tensor | None:
    return keep if isinstance(keep, Tensor) else None


def lstm_forward(
    x_LBG: Tensor,
    weight_HG: Tensor,
    state_BH: Tensor,
    cell_BH: Tensor,
    keep: Keep,
    gates_LBG: Tensor,
    states_LBH: Tensor,
    cells_LBH: Tensor,
) -> None:
    """Compute `rnn_loops.lstm_forward`."""
    read, written = (x_LBG, weight_HG, state_BH, cell_BH, _mask(keep)), (gates_LBG, states_LBH, cells_LBH)
    _launch(_lstm_forward, gates_LBG, state_BH.shape[1], read, written)


def lstm_backward(
    dstates_LBH: Tensor,
    dstate_BH: Tensor,
    dcell_BH: Tensor,
    factors: tuple[Tensor, Tensor, Tensor],
    gates_LBG: Tensor,
    weight_GH: Tensor,
    keep: Keep,
    dgates_LBG: Tensor,
) -> tuple[Tensor, Tensor]:
    """Compute `rnn_loops.lstm_backward`."""
    read = dstates_LBH, dstate_BH, dcell_BH, *factors, gates_LBG, weight_GH, _mask(keep)
    dfirst_BH, dfirst_cell_BH = (d.new_empty(d.shape) for d in (dstate_BH, dcell_BH))
    _launch(_lstm_backward, gates_LBG, dstate_BH.shape[1], read, (dgates_LBG, dfirst_BH, dfirst_cell_BH))
    return dfirst_BH, dfirst_cell_BH


def gru_forward(
    x_LBG: Tensor,
    weight_HG: Tensor,
    state_BH: Tensor,
    keep: Keep,
    own_LBG: Tensor,
    gates_LBG: Tensor,
    states_LBH: Tensor,
) -> None:
    """Compute `rnn_loops.gru_forward`."""
    read, written = (x_LBG, weight_HG, state_BH, _mask(keep)), (own_LBG, gates_LBG, states_LBH)
    _launch(_gru_forward, gates_LBG, state_BH.shape[1], read, written)


def gru_backward(
    dstates_LBH: Tensor,
    dstate_BH: Tensor,
    per_own_LBCH: Tensor,
    gates_LBG: Tensor,
    weight_GH: Tensor,
    keep: Keep,
    dall_LBH: Tensor,
    downs_LBG: Tensor,
) -> Tensor:
    """Compute `rnn_loops.gru_backward`."""
    read = dstates_LBH, dstate_BH, per_own_LBCH, gates_LBG, weight_GH, _mask(keep)
    dfirst_BH = dstate_BH.new_empty(dstate_BH.shape)
    _launch(_gru_backward, gates_LBG, dstate_BH.shape[1], read, (dall_LBH, downs_LBG, dfirst_BH))
    return dfirst_BH

"""Mamba's scan as Triton kernels: step size, recurrence, D and gate in one pass, and the same backwards.

A program is one warp, which holds a few channels with all their state entries in registers, and runs through a chunk of
tokens. With 16 entries, four threads share a channel and eight an entry, so sums over channels and sums over entries
need few exchanges between threads. What depends on a channel and a token alone, such as step size and gate, is
computed for a tile of tokens with one number in one thread, and passed through scratch memory, which the cache holds.

To have enough programs, time is cut into chunks: first each computes what it adds to the state and what it keeps of it,
then the states between chunks are carried, and then all chunks run at once. No state is written but those.

Backwards, a program runs through its chunk twice: forwards from the state that entered it, and then from right to left
with the gradient g of the state. A state entry decays by exp(dt A), and the gradient of that exponent at token t is the
sum over i >= t of C_i h_i dy_i - g_i B_i dt_i x_i, plus what leaves the chunk: so the second run needs no state.

Glossary: B batch, L length, E channels, N state size; c chunks, T tokens of a tile, C channels of a program, K groups
of C channels; X state entries of all channels, S those of one program.
"""

# Triton's decorator gives functions another calling convention.
# pyright: reportMissingImports=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportArgumentType=false, reportReturnType=false, reportAssignmentType=false

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from tallystick.kernels.triton_common import LOG2_E, strided

CHANNELS = 32
"""Channels of a program, of one warp."""
TILE = 8
"""Tokens whose channels a program reads and computes at once, before it runs through them."""
GROUP = 2
"""Tokens whose numbers are read at once in that run: the wait is shared, and covered by other programs."""
LAUNCH = {"num_warps": 1, "maxnreg": 128}
"""With 128 registers a thread, 16 programs share a multiprocessor."""
PROGRAMS = 3 * 16 * 132
"""Programs that keep a GPU busy: an H200 has 132 multiprocessors, and whole rounds leave none of them idle."""
MIN_CHUNK = 32
"""Least tokens of a chunk: a smaller one does too little between two visits to memory."""
CARRIED, AHEAD = 128, 4
"""State entries that one program carries over the chunks, and chunks that it reads at once."""
LN_2 = tl.constexpr(0.6931471805599453)

_chunked = triton.jit(do_not_specialize=["length", "chunks", "chunk", "floor"])


@triton.jit
def _place(length, chunk, E: tl.constexpr, N: tl.constexpr, C: tl.constexpr, BN: tl.constexpr):
    """Return the program's row and chunk, its first token and the one after its last, its channels and entries."""
    b, c = tl.program_id(2).to(tl.int64), tl.program_id(1)
    # Four channels are 16 bytes of fp32. If a thread loaded eight of bf16, tiles would move between threads.
    e_C, n_N = tl.max_contiguous(tl.program_id(0) * C + tl.arange(0, C), 4), tl.arange(0, BN)
    return b, c, c * chunk, tl.minimum((c + 1) * chunk, length), e_C, n_N


@triton.jit
def _state(b, c, chunks, e_C, n_N, E: tl.constexpr, N: tl.constexpr):
    """Return the offsets of a chunk's state in [B, c, E, N], and whether each entry exists."""
    at_CN = ((b * chunks + c) * E + e_C)[:, None] * N + n_N[None, :]
    return at_CN, (e_C < E)[:, None] & (n_N < N)[None, :]


@triton.jit
def _rates(A_EN, e_C, n_N, E: tl.constexpr, N: tl.constexpr):
    """Return the rates of decay, for powers of 2."""
    there_CN = (e_C < E)[:, None] & (n_N < N)[None, :]
    return tl.load(A_EN + e_C[:, None] * N + n_N[None, :], mask=there_CN, other=0.0) * LOG2_E


@triton.jit
def _tile(x, b, first, end, length, e_C, E: tl.constexpr, STRIDE: tl.constexpr, T: tl.constexpr):
    """Return T tokens' numbers of the program's channels in fp32; 0 from the chunk's end on."""
    t_T = first + tl.arange(0, T)
    there_TC = (t_T < end)[:, None] & (e_C < E)[None, :]
    return tl.load(x + (b * length + t_T)[:, None] * STRIDE + e_C[None, :], mask=there_TC, other=0.0).to(tl.float32)


@triton.jit
def _write_tile(x, values_TC, b, first, end, length, e_C, E: tl.constexpr, T: tl.constexpr):
    t_T = first + tl.arange(0, T)
    there_TC = (t_T < end)[:, None] & (e_C < E)[None, :]
    tl.store(x + (b * length + t_T)[:, None] * E + e_C[None, :], values_TC, mask=there_TC)


@triton.jit
def _own(place, T: tl.constexpr, C: tl.constexpr):
    """Return the offsets of the program's scratch tile at a place."""
    return (place * T + tl.arange(0, T))[:, None] * C + tl.arange(0, C)[None, :]


@triton.jit
def _log1p(u):
    """Return log(1 + u), for u in [0, 1]: 2 atanh(u / (2 + u)), as a series."""
    s = u / (2.0 + u)
    square = s * s
    series = square * (1.0 / 13) + 1.0 / 11
    series = series * square + 1.0 / 9
    series = series * square + 1.0 / 7
    series = series * square + 1.0 / 5
    series = series * square + 1.0 / 3
    return 2.0 * s * (series * square + 1.0)


@triton.jit
def _silu_and_slope(x):
    """Return silu(x) = x sigmoid(x), and its derivative."""
    share = 1.0 / (1.0 + tl.exp2(-LOG2_E * x))
    return x * share, share * (1.0 + x * (1.0 - share))


@triton.jit
def _steps(raw_TC, first, last, end, floor, T: tl.constexpr):
    """Return step sizes, and their slope with `raw`; 0 for tokens that are invalid or beyond the chunk."""
    is_valid_T1 = (first + tl.arange(0, T) < tl.minimum(last, end))[:, None]
    u = tl.exp2(-LOG2_E * tl.abs(raw_TC))
    slope_TC = tl.where(raw_TC < 0, u, 1.0) / (1.0 + u)
    dt_TC = tl.maximum(raw_TC, 0.0) + _log1p(u) + floor
    return tl.where(is_valid_T1, dt_TC, 0.0), tl.where(is_valid_T1, slope_TC, 0.0)


@triton.jit
def _scratch(scratch, PLACES: tl.constexpr, T: tl.constexpr, C: tl.constexpr):
    """Return the program's own scratch."""
    program = (tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(0) + tl.program_id(0)
    return scratch + program.to(tl.int64) * (PLACES * T * C)


@triton.jit
def _entries(u, token, n_N, N: tl.constexpr, STRIDE: tl.constexpr):
    return tl.load(u + token * STRIDE + n_N, mask=n_N < N, other=0.0).to(tl.float32)


@triton.jit
def _off(reset_BL, token, t, last):
    """Return the exponent that zeroes the state where it is reset before the token, else 0.0."""
    off = 0.0
    if reset_BL is not None:
        off = tl.where((t < last) & (tl.load(reset_BL + token) != 0), -float("inf"), 0.0)
    return off


@triton.jit
def _valid(length_B, b, length):
    last = length
    if length_B is not None:
        last = tl.load(length_B + b).to(tl.int32)
    return last


@_chunked
def _chunk_sums(
    x_BLE, z_BLE, raw_dt, bias_E, A_EN, u_BLN, floor, reset_BL, length_B, sums_BcEN, keeps_BcEN, scratch,
    length, chunks, chunk, E: tl.constexpr, N: tl.constexpr, X: tl.constexpr, Z: tl.constexpr, M: tl.constexpr,
    U: tl.constexpr, C: tl.constexpr, BN: tl.constexpr, T: tl.constexpr, GROUP: tl.constexpr, REVERSE: tl.constexpr,
):  # fmt: skip
    """Compute what each chunk adds to the state, and the share of the state that it keeps.

    reverse: to the state's gradient, from right to left; then x is the gradient of the gated output, z the gate, and u
    is C instead of B.
    """
    b, c, start, end, e_C, n_N = _place(length, chunk, E, N, C, BN)
    last = _valid(length_B, b, length)
    A_CN = _rates(A_EN, e_C, n_N, E, N)
    bias_C = tl.load(bias_E + e_C, mask=e_C < E, other=0.0)
    sum_CN, total_C, off_all = tl.zeros([C, BN], tl.float32), tl.zeros([C], tl.float32), 0.0
    own, c_C = _scratch(scratch, 2, T, C), tl.arange(0, C)
    tiles = tl.cdiv(end - start, T)
    for tile in range(tiles):
        first = start + tile * T
        if REVERSE:
            first = start + (tiles - 1 - tile) * T
        x_TC = _tile(x_BLE, b, first, end, length, e_C, E, X, T)
        raw_TC = _tile(raw_dt, b, first, end, length, e_C, E, M, T) + bias_C[None, :]
        dt_TC, _ = _steps(raw_TC, first, last, end, floor, T)
        if REVERSE:
            gate_TC, _ = _silu_and_slope(_tile(z_BLE, b, first, end, length, e_C, E, Z, T))
            added_TC = x_TC * gate_TC
        else:
            added_TC = dt_TC * x_TC
        total_C += tl.sum(dt_TC, 0)
        tl.debug_barrier()
        tl.store(own + _own(0, T, C), dt_TC)
        tl.store(own + _own(1, T, C), added_TC)
        tl.debug_barrier()
        for group in range(0, T, GROUP):
            held = ()
            for j in tl.static_range(GROUP):
                i = group + j
                if REVERSE:
                    i = T - 1 - group - j
                t = tl.minimum(first + i, length - 1)
                token = b * length + t
                dt_C, added_C = tl.load(own + i * C + c_C), tl.load(own + (T + i) * C + c_C)
                held += ((dt_C, added_C, _entries(u_BLN, token, n_N, N, U), _off(reset_BL, token, first + i, last)),)
            for j in tl.static_range(GROUP):
                dt_C, added_C, u_N, off = held[j]
                decay_CN = tl.exp2(dt_C[:, None] * A_CN + off)
                added_CN = u_N[None, :] * added_C[:, None]
                sum_CN = decay_CN * (sum_CN + added_CN) if REVERSE else decay_CN * sum_CN + added_CN
                off_all += off
    at_CN, there_CN = _state(b, c, chunks, e_C, n_N, E, N)
    tl.store(sums_BcEN + at_CN, sum_CN, mask=there_CN)
    tl.store(keeps_BcEN + at_CN, tl.exp2(total_C[:, None] * A_CN + off_all), mask=there_CN)


@triton.jit(do_not_specialize=["chunks"])
def _carry(
    first_BX, sums_BcX, keeps_BcX, last_BX, chunks, X: tl.constexpr, SIZE: tl.constexpr, AHEAD: tl.constexpr,
    REVERSE: tl.constexpr,
):  # fmt: skip
    """Replace each chunk's sum by the state that enters it; reverse: by the gradient of the state that leaves it.

    X: state entries of all channels. AHEAD: chunks that are read at once.
    """
    b, x_S = tl.program_id(1).to(tl.int64), tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    there_S = x_S < X
    state_S = tl.load(first_BX + b * X + x_S, mask=there_S, other=0.0)
    for first in range(0, chunks, AHEAD):
        held = ()
        for j in tl.static_range(AHEAD):
            i = first + j
            c = chunks - 1 - i if REVERSE else i
            at_S, exists_S = (b * chunks + c) * X + x_S, there_S & (i < chunks)
            added_S = tl.load(sums_BcX + at_S, mask=exists_S, other=0.0)
            held += ((at_S, exists_S, added_S, tl.load(keeps_BcX + at_S, mask=exists_S, other=1.0)),)
        for j in tl.static_range(AHEAD):
            at_S, exists_S, added_S, keep_S = held[j]
            tl.store(sums_BcX + at_S, state_S, mask=exists_S)
            state_S = keep_S * state_S + added_S
    tl.store(last_BX + b * X + x_S, state_S, mask=there_S)


@_chunked
def _forward(
    x_BLE, z_BLE, raw_dt, bias_E, A_EN, B_BLN, C_BLN, D_E, floor, reset_BL, length_B, states_BcEN, y_BLE, scratch,
    length, chunks, chunk, E: tl.constexpr, N: tl.constexpr, X: tl.constexpr, Z: tl.constexpr, M: tl.constexpr,
    U: tl.constexpr, C: tl.constexpr, BN: tl.constexpr, T: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    b, c, start, end, e_C, n_N = _place(length, chunk, E, N, C, BN)
    last = _valid(length_B, b, length)
    A_CN = _rates(A_EN, e_C, n_N, E, N)
    bias_C = tl.load(bias_E + e_C, mask=e_C < E, other=0.0)
    D_C = tl.load(D_E + e_C, mask=e_C < E, other=0.0)
    at_CN, there_CN = _state(b, c, chunks, e_C, n_N, E, N)
    state_CN = tl.load(states_BcEN + at_CN, mask=there_CN, other=0.0)
    own, c_C = _scratch(scratch, 3, T, C), tl.arange(0, C)
    for first in range(start, end, T):
        x_TC = _tile(x_BLE, b, first, end, length, e_C, E, X, T)
        raw_TC = _tile(raw_dt, b, first, end, length, e_C, E, M, T) + bias_C[None, :]
        dt_TC, _ = _steps(raw_TC, first, last, end, floor, T)
        gate_TC, _ = _silu_and_slope(_tile(z_BLE, b, first, end, length, e_C, E, Z, T))
        tl.store(own + _own(0, T, C), dt_TC)
        tl.store(own + _own(1, T, C), dt_TC * x_TC)
        tl.debug_barrier()
        for group in range(0, T, GROUP):
            held = ()
            for j in tl.static_range(GROUP):
                i = group + j
                token = b * length + tl.minimum(first + i, length - 1)
                dt_C, dtx_C = tl.load(own + i * C + c_C), tl.load(own + (T + i) * C + c_C)
                B_N, C_N = _entries(B_BLN, token, n_N, N, U), _entries(C_BLN, token, n_N, N, U)
                held += ((dt_C, dtx_C, B_N, C_N, _off(reset_BL, token, first + i, last)),)
            for j in tl.static_range(GROUP):
                dt_C, dtx_C, B_N, C_N, off = held[j]
                state_CN = tl.exp2(dt_C[:, None] * A_CN + off) * state_CN + B_N[None, :] * dtx_C[:, None]
                tl.store(own + (2 * T + group + j) * C + c_C, tl.sum(state_CN * C_N[None, :], 1))
        tl.debug_barrier()
        y_TC = tl.load(own + _own(2, T, C)) + D_C[None, :] * x_TC
        _write_tile(y_BLE, y_TC * gate_TC, b, first, end, length, e_C, E, T)


@_chunked
def _gradients(
    x_BLE, z_BLE, raw_dt, bias_E, A_EN, B_BLN, C_BLN, D_E, floor, reset_BL, length_B, states_BcEN,
    dy_BLE, dstates_BcEN, dx_BLE, dz_BLE, draw_BLE, dlog_BLE, dB_KBLN, dC_KBLN, dA_BcEN, dchannels_2BcE, scratch,
    length, chunks, chunk, E: tl.constexpr, N: tl.constexpr, X: tl.constexpr, Z: tl.constexpr, M: tl.constexpr,
    U: tl.constexpr, C: tl.constexpr, BN: tl.constexpr, T: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Compute a chunk's gradients, given the state that enters it and the gradient of the one that leaves it.

    dlog_BLE: scratch. dchannels_2BcE: the chunk's part of the gradients of D and of the bias of the step size.
    """
    b, c, start, end, e_C, n_N = _place(length, chunk, E, N, C, BN)
    last = _valid(length_B, b, length)
    A_CN = _rates(A_EN, e_C, n_N, E, N)
    bias_C = tl.load(bias_E + e_C, mask=e_C < E, other=0.0)
    D_C = tl.load(D_E + e_C, mask=e_C < E, other=0.0)
    at_CN, there_CN = _state(b, c, chunks, e_C, n_N, E, N)
    state_CN = tl.load(states_BcEN + at_CN, mask=there_CN, other=0.0)
    dA_CN, total_C = tl.zeros([C, BN], tl.float32), tl.zeros([C], tl.float32)
    part = tl.program_id(0) * tl.num_programs(2).to(tl.int64) * length * N + n_N
    own, c_C = _scratch(scratch, 7, T, C), tl.arange(0, C)
    for first in range(start, end, T):
        raw_TC = _tile(raw_dt, b, first, end, length, e_C, E, M, T) + bias_C[None, :]
        dt_TC, _ = _steps(raw_TC, first, last, end, floor, T)
        dout_TC = _tile(dy_BLE, b, first, end, length, e_C, E, E, T)
        gate_TC, slope_TC = _silu_and_slope(_tile(z_BLE, b, first, end, length, e_C, E, Z, T))
        tl.debug_barrier()
        tl.store(own + _own(0, T, C), dt_TC)
        tl.store(own + _own(1, T, C), dt_TC * _tile(x_BLE, b, first, end, length, e_C, E, X, T))
        tl.store(own + _own(2, T, C), dout_TC * gate_TC)
        tl.store(own + _own(5, T, C), dout_TC * slope_TC)
        tl.debug_barrier()
        for group in range(0, T, GROUP):
            held = ()
            for j in tl.static_range(GROUP):
                i = group + j
                token = b * length + tl.minimum(first + i, length - 1)
                dt_C, dtx_C = tl.load(own + i * C + c_C), tl.load(own + (T + i) * C + c_C)
                dy_C = tl.load(own + (2 * T + i) * C + c_C)
                B_N, C_N = _entries(B_BLN, token, n_N, N, U), _entries(C_BLN, token, n_N, N, U)
                held += ((dt_C, dtx_C, dy_C, B_N, C_N, _off(reset_BL, token, first + i, last)),)
            for j in tl.static_range(GROUP):
                i = group + j
                t = first + i
                dt_C, dtx_C, dy_C, B_N, C_N, off = held[j]
                state_CN = tl.exp2(dt_C[:, None] * A_CN + off) * state_CN + B_N[None, :] * dtx_C[:, None]
                seen_CN = state_CN * C_N[None, :]
                total_C += dt_C
                dA_CN += seen_CN * (total_C * dy_C)[:, None]
                tl.store(own + (3 * T + i) * C + c_C, tl.sum(seen_CN, 1))
                tl.store(own + (4 * T + i) * C + c_C, tl.sum(seen_CN * A_CN, 1))
                dC_N = tl.sum(state_CN * dy_C[:, None], 0)
                tl.store(dC_KBLN + part + (b * length + t) * N, dC_N, mask=(n_N < N) & (t < end))
        tl.debug_barrier()
        y_TC = tl.load(own + _own(3, T, C)) + D_C[None, :] * _tile(x_BLE, b, first, end, length, e_C, E, X, T)
        dlog_TC = tl.load(own + _own(4, T, C)) * tl.load(own + _own(2, T, C))
        _write_tile(dz_BLE, y_TC * tl.load(own + _own(5, T, C)), b, first, end, length, e_C, E, T)
        _write_tile(dlog_BLE, dlog_TC, b, first, end, length, e_C, E, T)

    dleft_CN = tl.load(dstates_BcEN + at_CN, mask=there_CN, other=0.0)
    passing_CN = dleft_CN * state_CN
    dA_CN += passing_CN * total_C[:, None]
    dlog_C = tl.sum(passing_CN * A_CN, 1)
    dD_C, dbias_C = tl.zeros([C], tl.float32), tl.zeros([C], tl.float32)
    tiles = tl.cdiv(end - start, T)
    for tile in range(tiles):
        first = start + (tiles - 1 - tile) * T
        raw_TC = _tile(raw_dt, b, first, end, length, e_C, E, M, T) + bias_C[None, :]
        dt_TC, slope_TC = _steps(raw_TC, first, last, end, floor, T)
        gate_TC, _ = _silu_and_slope(_tile(z_BLE, b, first, end, length, e_C, E, Z, T))
        tl.debug_barrier()
        tl.store(own + _own(0, T, C), dt_TC)
        tl.store(own + _own(1, T, C), dt_TC * _tile(x_BLE, b, first, end, length, e_C, E, X, T))
        tl.store(own + _own(2, T, C), gate_TC * _tile(dy_BLE, b, first, end, length, e_C, E, E, T))
        tl.store(own + _own(3, T, C), _tile(dlog_BLE, b, first, end, length, e_C, E, E, T))
        tl.store(own + _own(5, T, C), slope_TC)
        tl.debug_barrier()
        for group in range(0, T, GROUP):
            held = ()
            for j in tl.static_range(GROUP):
                i = T - 1 - group - j
                token = b * length + tl.minimum(first + i, length - 1)
                dt_C, dtx_C = tl.load(own + i * C + c_C), tl.load(own + (T + i) * C + c_C)
                dy_C, dlog_t_C = tl.load(own + (2 * T + i) * C + c_C), tl.load(own + (3 * T + i) * C + c_C)
                B_N, C_N = _entries(B_BLN, token, n_N, N, U), _entries(C_BLN, token, n_N, N, U)
                held += ((dt_C, dtx_C, dy_C, dlog_t_C, B_N, C_N, _off(reset_BL, token, first + i, last)),)
            for j in tl.static_range(GROUP):
                i = T - 1 - group - j
                t = first + i
                dt_C, dtx_C, dy_C, dlog_t_C, B_N, C_N, off = held[j]
                dstate_CN = dleft_CN + C_N[None, :] * dy_C[:, None]
                held_CN = dstate_CN * B_N[None, :]
                dA_CN -= held_CN * (total_C * dtx_C)[:, None]
                dB_N = tl.sum(dstate_CN * dtx_C[:, None], 0)
                tl.store(dB_KBLN + part + (b * length + t) * N, dB_N, mask=(n_N < N) & (t < end))
                dlog_C = tl.where(off == 0.0, dlog_C + dlog_t_C - tl.sum(held_CN * A_CN, 1) * dtx_C, 0.0)
                tl.store(own + (6 * T + i) * C + c_C, dlog_C)
                tl.store(own + (4 * T + i) * C + c_C, tl.sum(held_CN, 1))
                total_C -= dt_C
                dleft_CN = tl.exp2(dt_C[:, None] * A_CN + off) * dstate_CN
        tl.debug_barrier()
        x_TC = _tile(x_BLE, b, first, end, length, e_C, E, X, T)
        dt_TC, dy_TC = tl.load(own + _own(0, T, C)), tl.load(own + _own(2, T, C))
        dlog_TC, ddtx_TC = tl.load(own + _own(6, T, C)), tl.load(own + _own(4, T, C))
        draw_TC = (ddtx_TC * x_TC + dlog_TC * LN_2) * tl.load(own + _own(5, T, C))
        _write_tile(draw_BLE, draw_TC, b, first, end, length, e_C, E, T)
        _write_tile(dx_BLE, ddtx_TC * dt_TC + D_C[None, :] * dy_TC, b, first, end, length, e_C, E, T)
        dD_C += tl.sum(dy_TC * x_TC, 0)
        dbias_C += tl.sum(draw_TC, 0)
    tl.store(dA_BcEN + at_CN, dA_CN, mask=there_CN)
    own_C = dchannels_2BcE + (b * chunks + c) * E + e_C
    tl.store(own_C, dD_C, mask=e_C < E)
    tl.store(own_C + tl.num_programs(2).to(tl.int64) * chunks * E, dbias_C, mask=e_C < E)


class _Scan(NamedTuple):
    """The arguments of a scan, and what its kernels are told of them."""

    x_BLE: Tensor
    z_BLE: Tensor
    raw_dt_BLE: Tensor
    dt_bias_E: Tensor
    A_EN: Tensor
    BC_BLM: Tensor
    D_E: Tensor
    state_BEN: Tensor
    reset_BL: Tensor | None
    length_B: Tensor | None
    dt_floor: float

    @property
    def chunk(self) -> int:
        """Tokens of a chunk: whole tiles, and no more than leave enough programs."""
        rows, length, channels = self.x_BLE.shape
        wanted = max(PROGRAMS // (rows * triton.cdiv(channels, CHANNELS)), 1)
        return triton.cdiv(max(MIN_CHUNK, triton.cdiv(length, wanted)), TILE) * TILE

    @property
    def chunks(self) -> int:
        return triton.cdiv(self.x_BLE.shape[1], self.chunk)

    def sizes(self) -> dict[str, int]:
        channels, entries = self.A_EN.shape
        tile = {"C": CHANNELS, "T": TILE, "GROUP": GROUP}
        return {"E": channels, "N": entries, "BN": triton.next_power_of_2(entries)} | tile

    def new_scratch(self, places: int) -> Tensor:
        """Return room for `places` tiles of each program."""
        return self.A_EN.new_empty(math.prod(self.grid()) * places * TILE * CHANNELS)

    def strides(self) -> dict[str, int]:
        names = {"X": self.x_BLE, "Z": self.z_BLE, "M": self.raw_dt_BLE, "U": self.BC_BLM}
        return {name: strided(tensor)[1] for name, tensor in names.items()}

    def inputs(self) -> tuple[Tensor, ...]:
        """Return x, z, raw_dt, dt_bias and A."""
        x, z, raw = (strided(tensor)[0] for tensor in (self.x_BLE, self.z_BLE, self.raw_dt_BLE))
        return x, z, raw, self.dt_bias_E, self.A_EN.contiguous()

    def entries(self) -> tuple[Tensor, Tensor]:
        """Return B and C, evenly spaced."""
        return strided(self.BC_BLM)[0].chunk(2, dim=-1)  # type: ignore[return-value]

    def masks(self) -> tuple[Any, ...]:
        return self.dt_floor, None if self.reset_BL is None else self.reset_BL.contiguous(), self.length_B

    def counts(self) -> tuple[int, int, int]:
        return self.x_BLE.shape[1], self.chunks, self.chunk

    def grid(self) -> tuple[int, int, int]:
        rows, _, channels = self.x_BLE.shape
        return triton.cdiv(channels, CHANNELS), self.chunks, rows

    def new_states(self) -> Tensor:
        """Return room for the states that enter the chunks."""
        channels, entries = self.A_EN.shape
        return self.A_EN.new_empty(len(self.x_BLE), self.chunks, channels, entries)


def _run_carry(scan: _Scan, first_BEN: Tensor, x_BLE: Tensor, u_BLN: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """Return the states that enter the chunks, or the gradients of those that leave them, and the last."""
    states_BcEN, keeps_BcEN, last_BEN = scan.new_states(), scan.new_states(), torch.empty_like(first_BEN)
    _, z, *steps = scan.inputs()
    strides = scan.strides() | ({"X": x_BLE.shape[2]} if reverse else {})
    _chunk_sums[scan.grid()](
        x_BLE, z, *steps, u_BLN, *scan.masks(), states_BcEN, keeps_BcEN, scan.new_scratch(2), *scan.counts(),
        **scan.sizes(), **strides, REVERSE=reverse, **LAUNCH,
    )  # fmt: skip
    given, X = (first_BEN, states_BcEN, keeps_BcEN, last_BEN, scan.chunks), scan.A_EN.numel()
    _carry[(triton.cdiv(X, CARRIED), len(x_BLE))](*given, X, CARRIED, AHEAD, reverse, num_warps=1)
    return states_BcEN, last_BEN


SCAN = (
    "Tensor x_BLE, Tensor z_BLE, Tensor raw_dt_BLE, Tensor dt_bias_E, Tensor A_EN, Tensor BC_BLM, Tensor D_E, "
    "Tensor state_BEN, Tensor? reset_BL, Tensor? length_B, float dt_floor"
)


@torch.library.custom_op("tallystick::gated_scan", mutates_args=(), schema=f"({SCAN}) -> (Tensor, Tensor, Tensor)")
def _gated_scan(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return y_BLE, the final state, and the states that enter the chunks."""
    scan = _Scan(*arguments)
    inputs, entries = scan.inputs(), scan.entries()
    states_BcEN, last_BEN = _run_carry(scan, scan.state_BEN.contiguous(), inputs[0], entries[0], False)
    y_BLE = torch.empty_like(scan.x_BLE, memory_format=torch.contiguous_format)
    given = *inputs, *entries, scan.D_E, *scan.masks(), states_BcEN, y_BLE, scan.new_scratch(3)
    _forward[scan.grid()](*given, *scan.counts(), **scan.sizes(), **scan.strides(), **LAUNCH)
    return y_BLE, last_BEN, states_BcEN


@_gated_scan.register_fake
def _(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    scan = _Scan(*arguments)
    y_BLE = torch.empty_like(scan.x_BLE, memory_format=torch.contiguous_format)
    return y_BLE, torch.empty_like(scan.state_BEN), scan.new_states()


@torch.library.custom_op(
    "tallystick::gated_scan_backward",
    mutates_args=(),
    schema=f"(Tensor dy_BLE, Tensor dlast_BEN, Tensor states_BcEN, {SCAN}) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _gated_scan_backward(dy_BLE: Tensor, dlast_BEN: Tensor, states_BcEN: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    """Return the gradients of x, z, raw_dt, dt_bias, A, BC, D and the state."""
    scan = _Scan(*arguments)
    inputs, entries, dy_BLE = scan.inputs(), scan.entries(), dy_BLE.contiguous()
    dstates_BcEN, dstate_BEN = _run_carry(scan, dlast_BEN.contiguous(), dy_BLE, entries[1], True)
    dx_BLE, dz_BLE, draw_BLE = (
        torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (scan.x_BLE, scan.z_BLE, scan.raw_dt_BLE)
    )
    (rows, length, _), (across, chunks, _) = scan.x_BLE.shape, scan.grid()
    channels, size = scan.A_EN.shape
    new = scan.A_EN.new_empty
    dlog_BLE, dBC_2KBLN = new(rows, length, channels), new(2, across, rows, length, size)
    dA_BcEN, dchannels_2BcE = scan.new_states(), new(2, rows, chunks, channels)
    given = *inputs, *entries, scan.D_E, *scan.masks(), states_BcEN, dy_BLE, dstates_BcEN
    made = dx_BLE, dz_BLE, draw_BLE, dlog_BLE, *dBC_2KBLN, dA_BcEN, dchannels_2BcE, scan.new_scratch(7)
    _gradients[scan.grid()](*given, *made, *scan.counts(), **scan.sizes(), **scan.strides(), **LAUNCH)
    dBC_BLM = torch.cat(dBC_2KBLN.sum(1).unbind(), dim=-1).to(scan.BC_BLM.dtype)
    dD_E, dbias_E = dchannels_2BcE.sum((1, 2)).unbind()
    dA_EN = dA_BcEN.sum((0, 1))
    return dx_BLE, dz_BLE, draw_BLE, dbias_E.clone(), dA_EN, dBC_BLM, dD_E.clone(), dstate_BEN


@_gated_scan_backward.register_fake
def _(dy_BLE: Tensor, dlast_BEN: Tensor, states_BcEN: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(t, memory_format=torch.contiguous_format) for t in arguments[:8])


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.dt_floor = inputs
    ctx.save_for_backward(output[2], *tensors)
    ctx.set_materialize_grads(False)


def _gradient(ctx: Any, dy_BLE: Tensor | None, dlast_BEN: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    states_BcEN, *rest = ctx.saved_tensors
    dy_BLE = torch.zeros_like(rest[0]) if dy_BLE is None else dy_BLE
    dlast_BEN = torch.zeros_like(rest[7]) if dlast_BEN is None else dlast_BEN
    return *_gated_scan_backward(dy_BLE, dlast_BEN, states_BcEN, *rest, ctx.dt_floor), None, None, None


_gated_scan.register_autograd(_gradient, setup_context=_keep_inputs)


def gated_scan(*arguments: Any) -> tuple[Tensor, Tensor]:
    """Return `((y + D x) silu(z), state)`, with y of `reference.selective_scan`, in the dtype of x.

    Arguments: those of `_Scan`; BC_BLM is B and C side by side. dt = softplus(raw_dt + dt_bias) + dt_floor, 0 for
    invalid tokens.
    """
    return _gated_scan(*arguments)[:2]

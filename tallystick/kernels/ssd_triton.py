"""Mamba-2's scan as Triton kernels: matrix products over chunks of tokens, as in `ssd`, with states between chunks.

Forwards, one kernel carries the state through the chunks and writes down what enters each, and another computes the
outputs of all chunks at once. Backwards, the first kernel runs from right to left over the gradients, and a third
computes the gradients of all chunks at once. The step size is made where it is needed, from the projection's raw value,
and decays, states and sums are fp32, whatever the dtype of the inputs.

Glossary: B batch, L length, H heads, P channels of a head, N state size, X convolved channels (H P + 2 N: x, B and C),
c chunks, Q tokens of a chunk, S segments of several chunks.
"""

# Triton's decorator gives functions another calling convention.
# pyright: reportMissingImports=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportArgumentType=false, reportReturnType=false

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from tallystick.kernels.ssd import _carry_doubling
from tallystick.kernels.triton_common import LOG2_E, product, softplus, strided

CHUNK = 64
"""Tokens of a chunk."""
WARPS, STAGES = 4, 2
"""Warps of a program, and stages of the pipelined loop over heads."""
PROGRAMS, SEGMENT = 256, 8
"""Programs that keep a GPU busy carrying states, and the least number of chunks of one."""

_chunked = triton.jit(do_not_specialize=["length", "chunks", "span", "heads", "floor"])


@triton.jit
def _steps(raw_dt, bias_H, A_H, floor, reset_BL, length_B, b, h, t_Q, length, M: tl.constexpr):
    """Return for a chunk's tokens: raw step size, step size, log2 of the decay since the chunk's start, and segment.

    The segment is the number of resets in the chunk up to the token. Tokens that are invalid have step size 0.
    """
    last = length
    if length_B is not None:
        last = tl.load(length_B + b).to(tl.int32)
    valid_Q = t_Q < last
    raw_Q = tl.load(raw_dt + (b * length + t_Q) * M + h, mask=valid_Q, other=0.0).to(tl.float32) + tl.load(bias_H + h)
    dt_Q = tl.where(valid_Q, softplus(raw_Q) + floor, 0.0)
    log_Q = tl.cumsum(dt_Q * (tl.load(A_H + h) * LOG2_E), 0)
    if reset_BL is None:
        segment_Q = t_Q - t_Q
    else:
        reset_Q = tl.load(reset_BL + b * length + t_Q, mask=valid_Q, other=0)
        segment_Q = tl.cumsum((reset_Q != 0).to(tl.int32), 0)
    return raw_Q, dt_Q, log_Q, segment_Q


@triton.jit
def _shares(log_Q, segment_Q, Q: tl.constexpr):
    """Return the share of the chunk's initial state left at each token, that of each input left at the chunk's end, and
    that of the initial state left at the end."""
    is_last_Q = tl.arange(0, Q) == Q - 1
    log_end = tl.sum(tl.where(is_last_Q, log_Q, 0.0), 0)
    segment_end = tl.sum(tl.where(is_last_Q, segment_Q, 0), 0)
    entry_Q = tl.where(segment_Q == 0, tl.exp2(log_Q), 0.0)
    exit_Q = tl.where(segment_Q == segment_end, tl.exp2(tl.minimum(log_end - log_Q, 0.0)), 0.0)
    return entry_Q, exit_Q, tl.where(segment_end == 0, tl.exp2(log_end), 0.0)


@triton.jit
def _decay(log_Q, segment_Q, Q: tl.constexpr):
    """Return the share of token j's input left at token i, [i, j]; 0 for j > i and across a reset."""
    i_Q = tl.arange(0, Q)
    sees_QQ = (i_Q[:, None] >= i_Q[None, :]) & (segment_Q[:, None] == segment_Q[None, :])
    return tl.where(sees_QQ, tl.exp2(tl.minimum(log_Q[:, None] - log_Q[None, :], 0.0)), 0.0)


@triton.jit
def _tile(x, b, t_Q, first, count: tl.constexpr, length, STRIDE: tl.constexpr, C: tl.constexpr):
    """Load `count` channels of a chunk's tokens, from channel `first` on, as [Q, C]."""
    channel_C = tl.arange(0, C)
    at_QC = (b * length + t_Q)[:, None] * STRIDE + first + channel_C[None, :]
    return tl.load(x + at_QC, mask=(t_Q < length)[:, None] & (channel_C < count)[None, :], other=0.0)


@triton.jit
def _state_tile(P: tl.constexpr, N: tl.constexpr, BP: tl.constexpr, first_n, BN: tl.constexpr):
    """Return the offsets of a head's state, [P, N], and whether each entry exists."""
    p_P, n_N = tl.arange(0, BP), first_n + tl.arange(0, BN)
    return p_P[:, None] * N + n_N[None, :], (p_P < P)[:, None] & (n_N < N)[None, :]


@_chunked
def _carry(
    x, x_first, u, u_first, raw_dt, bias_H, A_H, floor, reset_BL, length_B,
    first_BHSPN, states_BcHPN, last_BHSPN, keep_BHS,
    length, chunks, span, H: tl.constexpr, P: tl.constexpr, N: tl.constexpr, X: tl.constexpr, U: tl.constexpr,
    M: tl.constexpr, Q: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr, REVERSE: tl.constexpr,
):  # fmt: skip
    """Carry states through the chunks of each segment; reverse: gradients, from right to left.

    x: [B, L, X], the factor with P channels; u: [B, L, U], that with N; x_first, u_first: their first channels. Written
    are what enters each chunk (unless states_BcHPN is None), the last state, and what the segment keeps of the first
    (unless keep_BHS is None). span: chunks of a segment.
    """
    b, h = (tl.program_id(1) // H).to(tl.int64), tl.program_id(1) % H
    n, begin = tl.program_id(0) * BN, tl.program_id(2) * span
    at_PN, there_PN = _state_tile(P, N, BP, n, BN)
    segment = (b * H + h) * tl.num_programs(2) + tl.program_id(2)
    state_PN = tl.load(first_BHSPN + segment * P * N + at_PN, mask=there_PN, other=0.0)
    kind = u.dtype.element_ty
    kept, count = 1.0, tl.minimum(span, chunks - begin)
    for i in range(count):
        c = begin + i
        if REVERSE:
            c = begin + count - 1 - i
        t_Q = c * Q + tl.arange(0, Q)
        if states_BcHPN is not None:
            tl.store(states_BcHPN + ((b * chunks + c) * H + h) * P * N + at_PN, state_PN, mask=there_PN)
        _, dt_Q, log_Q, segment_Q = _steps(raw_dt, bias_H, A_H, floor, reset_BL, length_B, b, h, t_Q, length, M)
        entry_Q, exit_Q, keep = _shares(log_Q, segment_Q, Q)
        weight_Q = exit_Q * dt_Q
        if REVERSE:
            weight_Q = entry_Q
        x_QP = _tile(x, b, t_Q, x_first + h * P, P, length, X, BP).to(tl.float32) * weight_Q[:, None]
        u_QN = tl.load(
            u + (b * length + t_Q)[:, None] * U + u_first + n + tl.arange(0, BN)[None, :],
            mask=(t_Q < length)[:, None] & (n + tl.arange(0, BN) < N)[None, :],
            other=0.0,
        )
        state_PN = state_PN * keep + product(tl.trans(x_QP), u_QN, kind)
        kept *= keep
    tl.store(last_BHSPN + segment * P * N + at_PN, state_PN, mask=there_PN)
    if keep_BHS is not None:
        tl.store(keep_BHS + segment, kept)


@_chunked
def _outputs(
    xBC_BLX, raw_dt, bias_H, A_H, D_H, floor, reset_BL, length_B, states_BcHPN, y_BLE,
    length, chunks, H: tl.constexpr, P: tl.constexpr, N: tl.constexpr, X: tl.constexpr, M: tl.constexpr,
    Q: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    c, b, h = tl.program_id(1), tl.program_id(2).to(tl.int64), tl.program_id(0)
    kind = xBC_BLX.dtype.element_ty
    t_Q, p_P = c * Q + tl.arange(0, Q), tl.arange(0, BP)
    _, dt_Q, log_Q, segment_Q = _steps(raw_dt, bias_H, A_H, floor, reset_BL, length_B, b, h, t_Q, length, M)
    entry_Q, _, _ = _shares(log_Q, segment_Q, Q)
    B_QN = _tile(xBC_BLX, b, t_Q, H * P, N, length, X, BN)
    C_QN = _tile(xBC_BLX, b, t_Q, H * P + N, N, length, X, BN)
    x_QP = _tile(xBC_BLX, b, t_Q, h * P, P, length, X, BP)
    scores_QQ = product(C_QN, tl.trans(B_QN), kind) * _decay(log_Q, segment_Q, Q) * dt_Q[None, :]
    at_PN, there_PN = _state_tile(P, N, BP, 0, BN)
    state_PN = tl.load(states_BcHPN + ((b * chunks + c) * H + h) * P * N + at_PN, mask=there_PN, other=0.0)
    y_QP = product(C_QN, tl.trans(state_PN), kind) * entry_Q[:, None] + product(scores_QQ, x_QP, kind)
    y_QP += x_QP.to(tl.float32) * tl.load(D_H + h)
    at_QP = (b * length + t_Q)[:, None] * (H * P) + h * P + p_P[None, :]
    tl.store(y_BLE + at_QP, y_QP, mask=(t_Q < length)[:, None] & (p_P < P)[None, :])


@_chunked
def _head_gradients(
    xBC_BLX, raw_dt, bias_H, A_H, D_H, floor, reset_BL, length_B, states_BcHPN, dy_BLE, dstates_BcHPN,
    dxBC_BLX, draw_BLH, dheads_3BcH,
    length, chunks, H: tl.constexpr, P: tl.constexpr, N: tl.constexpr, X: tl.constexpr, M: tl.constexpr,
    Q: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Compute a chunk's gradients of x and of the step size, given the states that enter it and the gradients of those
    that leave it.

    dheads_3BcH: the chunk's part of the gradients of A, D and the bias of the step size.
    """
    c, b, h = tl.program_id(1), tl.program_id(2).to(tl.int64), tl.program_id(0)
    kind = xBC_BLX.dtype.element_ty
    t_Q, p_P = c * Q + tl.arange(0, Q), tl.arange(0, BP)
    there_Q = t_Q < length
    raw_Q, dt_Q, log_Q, segment_Q = _steps(raw_dt, bias_H, A_H, floor, reset_BL, length_B, b, h, t_Q, length, M)
    entry_Q, exit_Q, keep = _shares(log_Q, segment_Q, Q)
    x_QP = _tile(xBC_BLX, b, t_Q, h * P, P, length, X, BP)
    dy_QP = _tile(dy_BLE, b, t_Q, h * P, P, length, H * P, BP)
    at_PN, there_PN = _state_tile(P, N, BP, 0, BN)
    head = ((b * chunks + c) * H + h) * P * N
    B_QN = _tile(xBC_BLX, b, t_Q, H * P, N, length, X, BN)
    C_QN = _tile(xBC_BLX, b, t_Q, H * P + N, N, length, X, BN)
    state_PN = tl.load(states_BcHPN + head + at_PN, mask=there_PN, other=0.0)
    from_QP = product(C_QN, tl.trans(state_PN), kind) * entry_Q[:, None]
    from_Q = tl.sum(from_QP * dy_QP.to(tl.float32), 1)
    dstate_PN = tl.load(dstates_BcHPN + head + at_PN, mask=there_PN, other=0.0)
    passing = keep * tl.sum(tl.sum(state_PN.to(tl.float32) * dstate_PN.to(tl.float32), 1), 0)
    dx_QP = product(B_QN, tl.trans(dstate_PN), kind) * exit_Q[:, None]
    to_Q = tl.sum(dx_QP * x_QP.to(tl.float32), 1)

    # within the chunk: y_i = sum over j of score_ij dt_j x_j
    score_QQ = product(C_QN, tl.trans(B_QN), kind) * _decay(log_Q, segment_Q, Q)
    pair_QQ = product(dy_QP, tl.trans(x_QP), kind) * score_QQ
    dx_QP += product(tl.trans(score_QQ), dy_QP, kind)
    dx_QP = dx_QP * dt_Q[:, None] + dy_QP.to(tl.float32) * tl.load(D_H + h)
    at_QP = (b * length + t_Q)[:, None] * X + h * P + p_P[None, :]
    tl.store(dxBC_BLX + at_QP, dx_QP, mask=there_Q[:, None] & (p_P < P)[None, :])

    # A term of y at i, of an input at j, is scaled by exp(sum of dt A over j < t <= i); so the gradient of dt A at t is
    # the sum of the terms that end at or after t, minus those that also begin there, plus what leaves the chunk.
    ends_Q, begins_Q = tl.sum(pair_QQ * dt_Q[None, :], 1) + from_Q, tl.sum(pair_QQ, 0)
    leaving_Q = to_Q * dt_Q
    dlog_Q = tl.cumsum(ends_Q - begins_Q * dt_Q, 0, reverse=True) + tl.cumsum(leaving_Q, 0) - leaving_Q + passing
    draw_Q = tl.where(dt_Q > 0.0, (begins_Q + to_Q + tl.load(A_H + h) * dlog_Q) * tl.sigmoid(raw_Q), 0.0)
    tl.store(draw_BLH + (b * length + t_Q) * H + h, draw_Q, mask=there_Q)
    part = dheads_3BcH + (b * chunks + c) * H + h
    whole = tl.num_programs(2).to(tl.int64) * chunks * H
    tl.store(part, tl.sum(dlog_Q * dt_Q, 0))
    tl.store(part + whole, tl.sum(tl.sum(x_QP.to(tl.float32) * dy_QP.to(tl.float32), 1), 0))
    tl.store(part + 2 * whole, tl.sum(draw_Q, 0))


@_chunked
def _shared_gradients(
    xBC_BLX, raw_dt, bias_H, A_H, floor, reset_BL, length_B, states_BcHPN, dy_BLE, dstates_BcHPN, dxBC_BLX,
    length, chunks, heads, H: tl.constexpr, P: tl.constexpr, N: tl.constexpr, X: tl.constexpr, M: tl.constexpr,
    Q: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Compute a chunk's gradient of B (program 0) or C (program 1), which all heads share."""
    c, b, of_C = tl.program_id(1), tl.program_id(2).to(tl.int64), tl.program_id(0) == 1
    kind = xBC_BLX.dtype.element_ty
    t_Q, n_N = c * Q + tl.arange(0, Q), tl.arange(0, BN)
    pairs_QQ, du_QN = tl.zeros([Q, Q], tl.float32), tl.zeros([Q, BN], tl.float32)
    at_PN, there_PN = _state_tile(P, N, BP, 0, BN)
    states = dstates_BcHPN
    if of_C:
        states = states_BcHPN
    for h in range(heads):
        _, dt_Q, log_Q, segment_Q = _steps(raw_dt, bias_H, A_H, floor, reset_BL, length_B, b, h, t_Q, length, M)
        entry_Q, exit_Q, _ = _shares(log_Q, segment_Q, Q)
        x_QP = _tile(xBC_BLX, b, t_Q, h * P, P, length, X, BP)
        dy_QP = _tile(dy_BLE, b, t_Q, h * P, P, length, H * P, BP)
        state_PN = tl.load(states + ((b * chunks + c) * H + h) * P * N + at_PN, mask=there_PN, other=0.0)
        pairs_QQ += product(dy_QP, tl.trans(x_QP), kind) * _decay(log_Q, segment_Q, Q) * dt_Q[None, :]
        if of_C:
            du_QN += product(dy_QP, state_PN, kind) * entry_Q[:, None]
        else:
            du_QN += product(x_QP, state_PN, kind) * (exit_Q * dt_Q)[:, None]
    other_QN = _tile(xBC_BLX, b, t_Q, H * P + tl.where(of_C, 0, N), N, length, X, BN)
    if of_C:
        du_QN += product(pairs_QQ, other_QN, kind)
    else:
        du_QN += product(tl.trans(pairs_QQ), other_QN, kind)
    at_QN = (b * length + t_Q)[:, None] * X + H * P + tl.where(of_C, N, 0) + n_N[None, :]
    tl.store(dxBC_BLX + at_QN, du_QN, mask=(t_Q < length)[:, None] & (n_N < N)[None, :])


class _Scan(NamedTuple):
    """The arguments of a scan that all its kernels read."""

    xBC_BLX: Tensor
    raw_dt_BLH: Tensor
    dt_bias_H: Tensor
    A_H: Tensor
    D_H: Tensor
    state_BHPN: Tensor
    reset_BL: Tensor | None
    length_B: Tensor | None
    dt_floor: float

    @property
    def chunks(self) -> int:
        return triton.cdiv(self.xBC_BLX.shape[1], CHUNK)

    def steps(self) -> tuple[tuple[Any, ...], int]:
        """Return the arguments from which a kernel makes the step sizes, and the distance of its tokens."""
        raw_dt_BLH, stride = strided(self.raw_dt_BLH)
        return (raw_dt_BLH, self.dt_bias_H, self.A_H), stride

    def masks(self) -> tuple[Any, ...]:
        return self.dt_floor, None if self.reset_BL is None else self.reset_BL.contiguous(), self.length_B

    def sizes(self) -> dict[str, int]:
        _, heads, channels, entries = self.state_BHPN.shape
        padded = {"BP": max(16, triton.next_power_of_2(channels)), "BN": max(16, triton.next_power_of_2(entries))}
        return {"H": heads, "P": channels, "N": entries, "Q": CHUNK, **padded}

    def new_states(self) -> Tensor:
        """Return room for the states that enter the chunks, in the dtype in which they are multiplied."""
        batch, *state = self.state_BHPN.shape
        return self.xBC_BLX.new_empty(batch, self.chunks, *state)


class _Carry(NamedTuple):
    """A factor with P channels, the first channel of the one with N, and the direction in which states are carried."""

    scan: _Scan
    x: Tensor
    u_first: int
    reverse: bool

    def run(self, first_BHPN: Tensor) -> tuple[Tensor, Tensor]:
        """Return what enters each chunk, and the last state.

        Where there are few heads in all, segments of chunks run side by side: once from zero, to know what each adds
        and keeps, and again from what enters it.
        """
        states_BcHPN, (batch, heads, *state) = self.scan.new_states(), first_BHPN.shape
        wanted = min(PROGRAMS // (batch * heads), self.scan.chunks // SEGMENT)
        span = triton.cdiv(self.scan.chunks, max(wanted, 1))
        segments = triton.cdiv(self.scan.chunks, span)
        lasts_BHSPN = first_BHPN.new_empty(batch, heads, segments, *state)
        if segments == 1:
            self._launch(first_BHPN[:, :, None], states_BcHPN, lasts_BHSPN, None, span)
            return states_BcHPN, lasts_BHSPN[:, :, 0]
        keep_BHS = first_BHPN.new_empty(batch, heads, segments)
        self._launch(torch.zeros_like(lasts_BHSPN), None, lasts_BHSPN, keep_BHS, span)
        bounds = _carry_doubling(first_BHPN, lasts_BHSPN, keep_BHS, self.reverse)
        entering_BHSPN = bounds[:, :, 1:] if self.reverse else bounds[:, :, :-1]
        self._launch(entering_BHSPN, states_BcHPN, lasts_BHSPN, None, span)
        return states_BcHPN, bounds[:, :, 0 if self.reverse else -1].clone()

    def _launch(
        self, first_BHSPN: Tensor, states: Tensor | None, lasts_BHSPN: Tensor, keep_BHS: Tensor | None, span: int
    ) -> None:
        scan, ((steps, step_stride), sizes) = self.scan, (self.scan.steps(), self.scan.sizes())
        sizes["BN"] = min(64, sizes["BN"])
        batch, heads, segments = first_BHSPN.shape[:3]
        given = self.x, 0, scan.xBC_BLX, self.u_first, *steps, *scan.masks(), first_BHSPN.contiguous()
        strides = {"X": self.x.shape[2], "U": scan.xBC_BLX.shape[2], "M": step_stride, "REVERSE": self.reverse}
        _carry[(triton.cdiv(sizes["N"], sizes["BN"]), batch * heads, segments)](
            *given, states, lasts_BHSPN, keep_BHS, self.x.shape[1], scan.chunks, span,
            **sizes, **strides, num_warps=WARPS, num_stages=1,
        )  # fmt: skip


SCAN = (
    "Tensor xBC_BLX, Tensor raw_dt_BLH, Tensor dt_bias_H, Tensor A_H, Tensor D_H, Tensor state_BHPN, "
    "Tensor? reset_BL, Tensor? length_B, float dt_floor"
)


@torch.library.custom_op("tallystick::ssd", mutates_args=(), schema=f"({SCAN}) -> (Tensor, Tensor, Tensor)")
def _ssd(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return y_BLE, the final state, and the states that enter the chunks."""
    scan = _Scan(*arguments)
    batch, length, channels = scan.xBC_BLX.shape
    (steps, step_stride), sizes = scan.steps(), scan.sizes()
    inner = sizes["H"] * sizes["P"]
    states_BcHPN, last_BHPN = _Carry(scan, scan.xBC_BLX, inner, False).run(scan.state_BHPN)
    y_BLE = scan.xBC_BLX.new_empty(batch, length, inner)
    given = scan.xBC_BLX, *steps, scan.D_H, *scan.masks(), states_BcHPN, y_BLE
    grid = (sizes["H"], scan.chunks, batch)
    _outputs[grid](*given, length, scan.chunks, **sizes, X=channels, M=step_stride, num_warps=WARPS)
    return y_BLE, last_BHPN, states_BcHPN


@_ssd.register_fake
def _(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    scan = _Scan(*arguments)
    batch, length, _ = scan.xBC_BLX.shape
    inner = scan.state_BHPN.shape[1] * scan.state_BHPN.shape[2]
    return scan.xBC_BLX.new_empty(batch, length, inner), torch.empty_like(scan.state_BHPN), scan.new_states()


@torch.library.custom_op(
    "tallystick::ssd_backward",
    mutates_args=(),
    schema=f"(Tensor dy_BLE, Tensor dlast_BHPN, Tensor states_BcHPN, {SCAN}) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _ssd_backward(dy_BLE: Tensor, dlast_BHPN: Tensor, states_BcHPN: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    """Return the gradients of xBC, raw_dt, dt_bias, A, D and the state."""
    scan = _Scan(*arguments)
    batch, length, channels = scan.xBC_BLX.shape
    (steps, step_stride), sizes = scan.steps(), scan.sizes()
    inner, dy_BLE = sizes["H"] * sizes["P"], dy_BLE.contiguous()
    dstates_BcHPN, dstate_BHPN = _Carry(scan, dy_BLE, inner + sizes["N"], True).run(dlast_BHPN)
    dxBC_BLX = torch.empty_like(scan.xBC_BLX)
    draw_BLH = torch.empty(scan.raw_dt_BLH.shape, dtype=scan.raw_dt_BLH.dtype, device=dy_BLE.device)
    dheads_3BcH = scan.A_H.new_empty(3, batch, scan.chunks, sizes["H"])
    states, own = (states_BcHPN, dy_BLE, dstates_BcHPN, dxBC_BLX), {**sizes, "X": channels, "M": step_stride}
    given = scan.xBC_BLX, *steps, scan.D_H, *scan.masks(), *states, draw_BLH, dheads_3BcH, length, scan.chunks
    _head_gradients[(sizes["H"], scan.chunks, batch)](*given, **own, num_warps=WARPS)
    given = scan.xBC_BLX, *steps, *scan.masks(), *states, length, scan.chunks, sizes["H"]
    _shared_gradients[(2, scan.chunks, batch)](*given, **own, num_warps=WARPS, num_stages=STAGES)
    dA_H, dD_H, dbias_H = dheads_3BcH.sum((1, 2)).unbind()
    return dxBC_BLX, draw_BLH, dbias_H.clone(), dA_H.clone(), dD_H.clone(), dstate_BHPN


@_ssd_backward.register_fake
def _(dy_BLE: Tensor, dlast_BHPN: Tensor, states_BcHPN: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(t, memory_format=torch.contiguous_format) for t in arguments[:6])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.dt_floor = inputs
    ctx.save_for_backward(output[2], *tensors)
    ctx.set_materialize_grads(False)


def _gradient(ctx: Any, dy_BLE: Tensor | None, dlast_BHPN: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    states_BcHPN, xBC_BLX, *rest = ctx.saved_tensors
    state_BHPN = rest[4]
    if dy_BLE is None:
        inner = state_BHPN.shape[1] * state_BHPN.shape[2]
        dy_BLE = xBC_BLX.new_zeros(*xBC_BLX.shape[:2], inner)
    dlast_BHPN = torch.zeros_like(state_BHPN) if dlast_BHPN is None else dlast_BHPN
    return *_ssd_backward(dy_BLE, dlast_BHPN, states_BcHPN, xBC_BLX, *rest, ctx.dt_floor), None, None, None


_ssd.register_autograd(_gradient, setup_context=_keep)


def ssd(*arguments: Any) -> tuple[Tensor, Tensor]:
    """Compute `reference.ssd_recurrent` with `dt = softplus(raw_dt + dt_bias) + dt_floor`; return `(y_BLE, state)`.

    Arguments: those of `_Scan`. dt is 0 for invalid tokens. xBC_BLX is contiguous; y has its dtype, fp32 or bf16.
    """
    return _ssd(*arguments)[:2]

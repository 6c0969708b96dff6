"""Mamba's scan as Triton kernels: step size, recurrence, D and gate in one pass, and the same backwards.

A program holds a few channels with all their state entries in registers, and runs through a chunk of tokens. To have
enough programs, time is cut into chunks: first each computes what it adds to the state and what it keeps of it, then
the states between chunks are carried, and then all chunks run at once. No state is written but those.

Backwards, a program runs through its chunk twice: forwards from the state that entered it, and then from right to left
with the gradient g of the state. A state entry decays by exp(dt A), and the gradient of that exponent at token t is the
sum over i >= t of C_i h_i dy_i - g_i B_i dt_i x_i, plus what leaves the chunk: so the second run needs no state.

Glossary: B batch, L length, E channels, N state size; c chunks, T tokens of a chunk, C channels of a program, K groups
of C channels. States between chunks are [N, E], so that channels, which lie across threads, are contiguous.
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

from tallystick.kernels.triton_common import LOG2_E, silu_and_slope, softplus, strided

CHANNELS = 32
"""Channels of a program, of one warp."""
GROUP = 2
"""Tokens that are read at once: the wait for memory is shared, and covered by the computation of other programs."""
PROGRAMS = 2048
"""Programs that keep a GPU busy."""
MIN_CHUNK = 32
"""Least tokens of a chunk: a smaller one does too little between two visits to memory."""

_chunked = triton.jit(do_not_specialize=["length", "chunks", "chunk", "floor", "one"])


@triton.jit
def _place(length, chunk, one, E: tl.constexpr, N: tl.constexpr, C: tl.constexpr, BN: tl.constexpr):
    """Return the program's row and chunk, its first token and the one after its last, its channels and entries.

    one: the number 1, which Triton must not know. Otherwise it would lay out tiles for wide loads of single tensors,
    with a channel's state entries in several threads, and move them between threads at every token.
    """
    b, c = tl.program_id(2).to(tl.int64), tl.program_id(1)
    e_C, n_N = (tl.program_id(0) * C + tl.arange(0, C)) * one, tl.arange(0, BN) * one
    return b, c, c * chunk, tl.minimum((c + 1) * chunk, length), e_C, n_N


@triton.jit
def _state(b, c, chunks, e_C, n_N, E: tl.constexpr, N: tl.constexpr):
    """Return the offsets of a chunk's state in [B, c, N, E], and whether each entry exists."""
    at_CN = ((b * chunks + c) * N + n_N[None, :]) * E + e_C[:, None]
    return at_CN, (e_C < E)[:, None] & (n_N < N)[None, :]


@triton.jit
def _rates(A_EN, e_C, n_N, E: tl.constexpr, N: tl.constexpr):
    there_CN = (e_C < E)[:, None] & (n_N < N)[None, :]
    return tl.load(A_EN + e_C[:, None] * N + n_N[None, :], mask=there_CN, other=0.0)


@triton.jit
def _channels(x, token, there_C, e_C, STRIDE: tl.constexpr):
    return tl.load(x + token * STRIDE + e_C, mask=there_C, other=0.0)


@triton.jit
def _entries(u, token, there_N, n_N, STRIDE: tl.constexpr):
    return tl.load(u + token * STRIDE + n_N, mask=there_N, other=0.0)


@triton.jit
def _keep(reset_BL, token, t, last):
    """Return 0.0 where the state is reset before the token, else 1.0."""
    keep = 1.0
    if reset_BL is not None:
        keep = tl.where(tl.load(reset_BL + token, mask=t < last, other=0) != 0, 0.0, 1.0)
    return keep


@triton.jit
def _step(raw_C, bias_C, floor, t, last):
    """Return a token's raw step sizes and its step sizes; these are 0 if it is invalid."""
    raw_C = raw_C.to(tl.float32) + bias_C
    return raw_C, tl.where(t < last, softplus(raw_C) + floor, 0.0)


@triton.jit
def _valid(length_B, b, length):
    last = length
    if length_B is not None:
        last = tl.load(length_B + b).to(tl.int32)
    return last


@_chunked
def _chunk_sums(
    x_BLE, z_BLE, raw_dt, bias_E, A_EN, u_BLN, floor, reset_BL, length_B, sums_BcNE, keeps_BcNE,
    length, chunks, chunk, one, E: tl.constexpr, N: tl.constexpr, X: tl.constexpr, Z: tl.constexpr, M: tl.constexpr,
    U: tl.constexpr, C: tl.constexpr, BN: tl.constexpr, GROUP: tl.constexpr, REVERSE: tl.constexpr,
):  # fmt: skip
    """Compute what each chunk adds to the state, and the share of the state that it keeps.

    reverse: to the state's gradient, from right to left; then x is the gradient of the gated output, z the gate, and u
    is C instead of B.
    """
    b, c, start, end, e_C, n_N = _place(length, chunk, one, E, N, C, BN)
    last = _valid(length_B, b, length)
    A_CN = _rates(A_EN, e_C, n_N, E, N) * LOG2_E
    bias_C = tl.load(bias_E + e_C, mask=e_C < E, other=0.0)
    sum_CN, total_C, kept = tl.zeros([C, BN], tl.float32), tl.zeros([C], tl.float32), 1.0
    groups = tl.cdiv(end - start, GROUP)
    for group in range(groups):
        held = ()
        for i in tl.static_range(GROUP):
            t = start + group * GROUP + i
            if REVERSE:
                t = start + groups * GROUP - 1 - group * GROUP - i
            token = b * length + t
            there_C, there_N = (e_C < E) & (t < length), (n_N < N) & (t < length)
            z_C = tl.zeros([C], tl.float32)
            if REVERSE:
                z_C = _channels(z_BLE, token, there_C, e_C, Z)
            x_C, u_N = _channels(x_BLE, token, there_C, e_C, X), _entries(u_BLN, token, there_N, n_N, U)
            held += ((t, x_C, u_N, _channels(raw_dt, token, there_C, e_C, M), z_C, _keep(reset_BL, token, t, last)),)
        for i in tl.static_range(GROUP):
            t, x_C, u_N, raw_C, z_C, keep = held[i]
            _, dt_C = _step(raw_C, bias_C, floor, t, last)
            x_C, u_1N = x_C.to(tl.float32), u_N.to(tl.float32)[None, :]
            decay_CN = tl.exp2(dt_C[:, None] * A_CN) * keep
            if REVERSE:
                gate_C, _ = silu_and_slope(z_C.to(tl.float32))
                sum_CN = decay_CN * (sum_CN + u_1N * (x_C * gate_C)[:, None])
            else:
                sum_CN = decay_CN * sum_CN + u_1N * (dt_C * x_C)[:, None]
            total_C += dt_C
            kept *= keep
    at_CN, there_CN = _state(b, c, chunks, e_C, n_N, E, N)
    tl.store(sums_BcNE + at_CN, sum_CN, mask=there_CN)
    tl.store(keeps_BcNE + at_CN, tl.exp2(total_C[:, None] * A_CN) * kept, mask=there_CN)


@_chunked
def _carry(
    first_BEN, sums_BcNE, keeps_BcNE, last_BEN, chunks,
    E: tl.constexpr, N: tl.constexpr, C: tl.constexpr, BN: tl.constexpr, REVERSE: tl.constexpr,
):  # fmt: skip
    """Replace each chunk's sum by the state that enters it; reverse: by the gradient of the state that leaves it."""
    b, e_C, n_N = tl.program_id(1).to(tl.int64), tl.program_id(0) * C + tl.arange(0, C), tl.arange(0, BN)
    there_CN = (e_C < E)[:, None] & (n_N < N)[None, :]
    own_CN = (b * E + e_C)[:, None] * N + n_N[None, :]
    state_CN = tl.load(first_BEN + own_CN, mask=there_CN, other=0.0)
    for i in range(chunks):
        c = i
        if REVERSE:
            c = chunks - 1 - i
        at_CN, _ = _state(b, c, chunks, e_C, n_N, E, N)
        added_CN = tl.load(sums_BcNE + at_CN, mask=there_CN, other=0.0)
        keep_CN = tl.load(keeps_BcNE + at_CN, mask=there_CN, other=0.0)
        tl.store(sums_BcNE + at_CN, state_CN, mask=there_CN)
        state_CN = keep_CN * state_CN + added_CN
    tl.store(last_BEN + own_CN, state_CN, mask=there_CN)


@_chunked
def _forward(
    x_BLE, z_BLE, raw_dt, bias_E, A_EN, B_BLN, C_BLN, D_E, floor, reset_BL, length_B, states_BcNE, y_BLE,
    length, chunks, chunk, one, E: tl.constexpr, N: tl.constexpr, X: tl.constexpr, Z: tl.constexpr, M: tl.constexpr,
    U: tl.constexpr, C: tl.constexpr, BN: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    b, c, start, end, e_C, n_N = _place(length, chunk, one, E, N, C, BN)
    last = _valid(length_B, b, length)
    A_CN = _rates(A_EN, e_C, n_N, E, N) * LOG2_E
    bias_C = tl.load(bias_E + e_C, mask=e_C < E, other=0.0)
    D_C = tl.load(D_E + e_C, mask=e_C < E, other=0.0)
    at_CN, there_CN = _state(b, c, chunks, e_C, n_N, E, N)
    state_CN = tl.load(states_BcNE + at_CN, mask=there_CN, other=0.0)
    for first in range(start, end, GROUP):
        held = ()
        for i in tl.static_range(GROUP):
            t = first + i
            token = b * length + t
            there_C, there_N = (e_C < E) & (t < length), (n_N < N) & (t < length)
            x_C, raw_C = _channels(x_BLE, token, there_C, e_C, X), _channels(raw_dt, token, there_C, e_C, M)
            B_N, C_N = _entries(B_BLN, token, there_N, n_N, U), _entries(C_BLN, token, there_N, n_N, U)
            z_C, keep = _channels(z_BLE, token, there_C, e_C, Z), _keep(reset_BL, token, t, last)
            held += ((x_C, raw_C, B_N, C_N, z_C, keep),)
        for i in tl.static_range(GROUP):
            t = first + i
            x_C, raw_C, B_N, C_N, z_C, keep = held[i]
            _, dt_C = _step(raw_C, bias_C, floor, t, last)
            gate_C, _ = silu_and_slope(z_C.to(tl.float32))
            x_C = x_C.to(tl.float32)
            decay_CN = tl.exp2(dt_C[:, None] * A_CN) * keep
            state_CN = decay_CN * state_CN + B_N.to(tl.float32)[None, :] * (dt_C * x_C)[:, None]
            y_C = tl.sum(state_CN * C_N.to(tl.float32)[None, :], 1) + D_C * x_C
            tl.store(y_BLE + (b * length + t) * E + e_C, y_C * gate_C, mask=(e_C < E) & (t < length))


@_chunked
def _gradients(
    x_BLE, z_BLE, raw_dt, bias_E, A_EN, B_BLN, C_BLN, D_E, floor, reset_BL, length_B, states_BcNE,
    dy_BLE, dstates_BcNE, dx_BLE, dz_BLE, draw_BLE, dlog_BLE, dB_KBLN, dC_KBLN, dA_BcNE, dchannels_2BcE,
    length, chunks, chunk, one, E: tl.constexpr, N: tl.constexpr, X: tl.constexpr, Z: tl.constexpr, M: tl.constexpr,
    U: tl.constexpr, C: tl.constexpr, BN: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Compute a chunk's gradients, given the state that enters it and the gradient of the one that leaves it.

    dlog_BLE: scratch. dchannels_2BcE: the chunk's part of the gradients of D and of the bias of the step size.
    """
    b, c, start, end, e_C, n_N = _place(length, chunk, one, E, N, C, BN)
    last = _valid(length_B, b, length)
    A_CN = _rates(A_EN, e_C, n_N, E, N)
    bias_C = tl.load(bias_E + e_C, mask=e_C < E, other=0.0)
    D_C = tl.load(D_E + e_C, mask=e_C < E, other=0.0)
    at_CN, there_CN = _state(b, c, chunks, e_C, n_N, E, N)
    state_CN = tl.load(states_BcNE + at_CN, mask=there_CN, other=0.0)
    dA_CN, total_C = tl.zeros([C, BN], tl.float32), tl.zeros([C], tl.float32)
    part = tl.program_id(0) * tl.num_programs(2).to(tl.int64) * length * N + n_N
    for first in range(start, end, GROUP):
        held = ()
        for i in tl.static_range(GROUP):
            t = first + i
            token = b * length + t
            there_C, there_N = (e_C < E) & (t < length), (n_N < N) & (t < length)
            x_C, raw_C = _channels(x_BLE, token, there_C, e_C, X), _channels(raw_dt, token, there_C, e_C, M)
            z_C, dout_C = _channels(z_BLE, token, there_C, e_C, Z), _channels(dy_BLE, token, there_C, e_C, E)
            B_N, C_N = _entries(B_BLN, token, there_N, n_N, U), _entries(C_BLN, token, there_N, n_N, U)
            held += ((x_C, raw_C, z_C, dout_C, B_N, C_N, _keep(reset_BL, token, t, last)),)
        for i in tl.static_range(GROUP):
            t = first + i
            token = b * length + t
            there_C, there_N = (e_C < E) & (t < length), (n_N < N) & (t < length)
            x_C, raw_C, z_C, dout_C, B_N, C_N, keep = held[i]
            _, dt_C = _step(raw_C, bias_C, floor, t, last)
            gate_C, slope_C = silu_and_slope(z_C.to(tl.float32))
            x_C, dout_C = x_C.to(tl.float32), dout_C.to(tl.float32)
            decay_CN = tl.exp2(dt_C[:, None] * (A_CN * LOG2_E)) * keep
            state_CN = decay_CN * state_CN + B_N.to(tl.float32)[None, :] * (dt_C * x_C)[:, None]
            seen_CN, dy_C = state_CN * C_N.to(tl.float32)[None, :], dout_C * gate_C
            total_C += dt_C
            dA_CN += seen_CN * (total_C * dy_C)[:, None]
            dz_C = dout_C * (tl.sum(seen_CN, 1) + D_C * x_C) * slope_C
            tl.store(dz_BLE + token * E + e_C, dz_C, mask=there_C)
            tl.store(dlog_BLE + token * E + e_C, tl.sum(seen_CN * A_CN, 1) * dy_C, mask=there_C)
            tl.store(dC_KBLN + part + token * N, tl.sum(state_CN * dy_C[:, None], 0), mask=there_N)

    dleft_CN = tl.load(dstates_BcNE + at_CN, mask=there_CN, other=0.0)
    passing_CN = dleft_CN * state_CN
    dA_CN += passing_CN * total_C[:, None]
    dlog_C = tl.sum(passing_CN * A_CN, 1)
    dD_C, dbias_C = tl.zeros([C], tl.float32), tl.zeros([C], tl.float32)
    groups = tl.cdiv(end - start, GROUP)
    for group in range(groups):
        held = ()
        for i in tl.static_range(GROUP):
            t = start + (groups - group) * GROUP - 1 - i
            token = b * length + t
            there_C, there_N = (e_C < E) & (t < length), (n_N < N) & (t < length)
            x_C, raw_C = _channels(x_BLE, token, there_C, e_C, X), _channels(raw_dt, token, there_C, e_C, M)
            z_C, dout_C = _channels(z_BLE, token, there_C, e_C, Z), _channels(dy_BLE, token, there_C, e_C, E)
            B_N, C_N = _entries(B_BLN, token, there_N, n_N, U), _entries(C_BLN, token, there_N, n_N, U)
            dlog_t_C, keep = _channels(dlog_BLE, token, there_C, e_C, E), _keep(reset_BL, token, t, last)
            held += ((x_C, raw_C, z_C, dout_C, B_N, C_N, dlog_t_C, keep),)
        for i in tl.static_range(GROUP):
            t = start + (groups - group) * GROUP - 1 - i
            token = b * length + t
            there_C, there_N = (e_C < E) & (t < length), (n_N < N) & (t < length)
            x_C, raw_C, z_C, dout_C, B_N, C_N, dlog_t_C, keep = held[i]
            raw_C, dt_C = _step(raw_C, bias_C, floor, t, last)
            gate_C, _ = silu_and_slope(z_C.to(tl.float32))
            x_C = x_C.to(tl.float32)
            dy_C, dtx_C = dout_C.to(tl.float32) * gate_C, dt_C * x_C
            dstate_CN = dleft_CN + C_N.to(tl.float32)[None, :] * dy_C[:, None]
            held_CN = dstate_CN * B_N.to(tl.float32)[None, :]
            tl.store(dB_KBLN + part + token * N, tl.sum(dstate_CN * dtx_C[:, None], 0), mask=there_N)
            dA_CN -= held_CN * (total_C * dtx_C)[:, None]
            dlog_C = (dlog_C + dlog_t_C - tl.sum(held_CN * A_CN, 1) * dtx_C) * keep
            ddtx_C = tl.sum(held_CN, 1)
            draw_C = tl.where(t < last, (ddtx_C * x_C + dlog_C) * tl.sigmoid(raw_C), 0.0)
            tl.store(dx_BLE + token * E + e_C, ddtx_C * dt_C + D_C * dy_C, mask=there_C)
            tl.store(draw_BLE + token * E + e_C, draw_C, mask=there_C)
            dD_C += dy_C * x_C
            dbias_C += draw_C
            total_C -= dt_C
            dleft_CN = tl.exp2(dt_C[:, None] * (A_CN * LOG2_E)) * keep * dstate_CN
    tl.store(dA_BcNE + at_CN, dA_CN, mask=there_CN)
    own = dchannels_2BcE + (b * chunks + c) * E + e_C
    tl.store(own, dD_C, mask=e_C < E)
    tl.store(own + tl.num_programs(2).to(tl.int64) * chunks * E, dbias_C, mask=e_C < E)


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
        """Tokens of a chunk: a power of 2 that leaves enough programs."""
        rows, length, channels = self.x_BLE.shape
        wanted = -(-PROGRAMS // (rows * triton.cdiv(channels, CHANNELS)))
        return max(MIN_CHUNK, triton.next_power_of_2(-(-length // wanted)))

    @property
    def chunks(self) -> int:
        return triton.cdiv(self.x_BLE.shape[1], self.chunk)

    def sizes(self) -> dict[str, int]:
        channels, entries = self.A_EN.shape
        return {"E": channels, "N": entries, "C": CHANNELS, "BN": triton.next_power_of_2(entries), "GROUP": GROUP}

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

    def counts(self) -> tuple[int, int, int, int]:
        return self.x_BLE.shape[1], self.chunks, self.chunk, 1

    def grid(self) -> tuple[int, int, int]:
        rows, _, channels = self.x_BLE.shape
        return triton.cdiv(channels, CHANNELS), self.chunks, rows

    def new_states(self) -> Tensor:
        """Return room for the states that enter the chunks."""
        channels, entries = self.A_EN.shape
        return self.A_EN.new_empty(len(self.x_BLE), self.chunks, entries, channels)


def _run_carry(scan: _Scan, first_BEN: Tensor, x_BLE: Tensor, u_BLN: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """Return the states that enter the chunks, or the gradients of those that leave them, and the last."""
    states_BcNE, keeps_BcNE, last_BEN = scan.new_states(), scan.new_states(), torch.empty_like(first_BEN)
    _, z, *steps = scan.inputs()
    strides = scan.strides() | ({"X": x_BLE.shape[2]} if reverse else {})
    _chunk_sums[scan.grid()](
        x_BLE, z, *steps, u_BLN, *scan.masks(), states_BcNE, keeps_BcNE, *scan.counts(),
        **scan.sizes(), **strides, REVERSE=reverse, num_warps=1,
    )  # fmt: skip
    across, chunks, rows = scan.grid()
    given = first_BEN, states_BcNE, keeps_BcNE, last_BEN, chunks
    sizes = scan.sizes()
    sizes.pop("GROUP")
    _carry[(across, rows)](*given, **sizes, REVERSE=reverse, num_warps=1)
    return states_BcNE, last_BEN


SCAN = (
    "Tensor x_BLE, Tensor z_BLE, Tensor raw_dt_BLE, Tensor dt_bias_E, Tensor A_EN, Tensor BC_BLM, Tensor D_E, "
    "Tensor state_BEN, Tensor? reset_BL, Tensor? length_B, float dt_floor"
)


@torch.library.custom_op("tallystick::gated_scan", mutates_args=(), schema=f"({SCAN}) -> (Tensor, Tensor, Tensor)")
def _gated_scan(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return y_BLE, the final state, and the states that enter the chunks."""
    scan = _Scan(*arguments)
    inputs, entries = scan.inputs(), scan.entries()
    states_BcNE, last_BEN = _run_carry(scan, scan.state_BEN.contiguous(), inputs[0], entries[0], False)
    y_BLE = torch.empty_like(scan.x_BLE, memory_format=torch.contiguous_format)
    given = *inputs, *entries, scan.D_E, *scan.masks(), states_BcNE, y_BLE
    _forward[scan.grid()](*given, *scan.counts(), **scan.sizes(), **scan.strides(), num_warps=1)
    return y_BLE, last_BEN, states_BcNE


@_gated_scan.register_fake
def _(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    scan = _Scan(*arguments)
    y_BLE = torch.empty_like(scan.x_BLE, memory_format=torch.contiguous_format)
    return y_BLE, torch.empty_like(scan.state_BEN), scan.new_states()


@torch.library.custom_op(
    "tallystick::gated_scan_backward",
    mutates_args=(),
    schema=f"(Tensor dy_BLE, Tensor dlast_BEN, Tensor states_BcNE, {SCAN}) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _gated_scan_backward(dy_BLE: Tensor, dlast_BEN: Tensor, states_BcNE: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    """Return the gradients of x, z, raw_dt, dt_bias, A, BC, D and the state."""
    scan = _Scan(*arguments)
    inputs, entries, dy_BLE = scan.inputs(), scan.entries(), dy_BLE.contiguous()
    dstates_BcNE, dstate_BEN = _run_carry(scan, dlast_BEN.contiguous(), dy_BLE, entries[1], True)
    dx_BLE, dz_BLE, draw_BLE = (
        torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (scan.x_BLE, scan.z_BLE, scan.raw_dt_BLE)
    )
    (rows, length, _), (across, chunks, _) = scan.x_BLE.shape, scan.grid()
    channels, size = scan.A_EN.shape
    new = scan.A_EN.new_empty
    dlog_BLE, dBC_2KBLN = new(rows, length, channels), new(2, across, rows, length, size)
    dA_BcNE, dchannels_2BcE = scan.new_states(), new(2, rows, chunks, channels)
    given = *inputs, *entries, scan.D_E, *scan.masks(), states_BcNE, dy_BLE, dstates_BcNE
    made = dx_BLE, dz_BLE, draw_BLE, dlog_BLE, *dBC_2KBLN, dA_BcNE, dchannels_2BcE
    _gradients[scan.grid()](*given, *made, *scan.counts(), **scan.sizes(), **scan.strides(), num_warps=1)
    dBC_BLM = torch.cat(dBC_2KBLN.sum(1).unbind(), dim=-1).to(scan.BC_BLM.dtype)
    dD_E, dbias_E = dchannels_2BcE.sum((1, 2)).unbind()
    dA_EN = dA_BcNE.sum((0, 1)).t().contiguous()
    return dx_BLE, dz_BLE, draw_BLE, dbias_E.clone(), dA_EN, dBC_BLM, dD_E.clone(), dstate_BEN


@_gated_scan_backward.register_fake
def _(dy_BLE: Tensor, dlast_BEN: Tensor, states_BcNE: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(t, memory_format=torch.contiguous_format) for t in arguments[:8])


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.dt_floor = inputs
    ctx.save_for_backward(output[2], *tensors)
    ctx.set_materialize_grads(False)


def _gradient(ctx: Any, dy_BLE: Tensor | None, dlast_BEN: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    states_BcNE, *rest = ctx.saved_tensors
    dy_BLE = torch.zeros_like(rest[0]) if dy_BLE is None else dy_BLE
    dlast_BEN = torch.zeros_like(rest[7]) if dlast_BEN is None else dlast_BEN
    return *_gated_scan_backward(dy_BLE, dlast_BEN, states_BcNE, *rest, ctx.dt_floor), None, None, None


_gated_scan.register_autograd(_gradient, setup_context=_keep_inputs)


def gated_scan(*arguments: Any) -> tuple[Tensor, Tensor]:
    """Return `((y + D x) silu(z), state)`, with y of `reference.selective_scan`, in the dtype of x.

    Arguments: those of `_Scan`; BC_BLM is B and C side by side. dt = softplus(raw_dt + dt_bias) + dt_floor, 0 for
    invalid tokens.
    """
    return _gated_scan(*arguments)[:2]

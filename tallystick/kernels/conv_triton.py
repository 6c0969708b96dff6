"""silu of a causal depthwise convolution as Triton kernels: `convolution.conv_silu` without a copy of its input.

A tap is left out where the state was reset between its token and the convolution's. The input is read where it stands,
a slice of a wider tensor, and the earlier tokens from the carried state.

Glossary: B batch, L length, X channels, K taps (width of the convolution); T tokens and C channels of a tile, G spans.
"""

# Triton's decorator gives functions another calling convention.
# pyright: reportMissingImports=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportArgumentType=false, reportReturnType=false

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from tallystick.kernels.triton_common import silu_and_slope, strided

ENTRIES = 2048
"""Entries of a tile: its channels lie across a program's threads, and only a few of its tokens, so that sums over
tokens stay within a thread."""
SPAN, CHANNELS = 128, 128
"""Tokens and channels of a program of the backward pass, which is one warp."""
GROUP = 2
"""Tokens that the backward pass reads at once: the wait is shared, and covered by other programs."""
LAUNCH = {"num_warps": 1, "maxnreg": 128}
"""With 128 registers a thread, 16 programs of the backward pass share a multiprocessor."""

_tiled = triton.jit(do_not_specialize=["length", "span"])


@triton.jit
def _channels(X: tl.constexpr, C: tl.constexpr):
    """Return the program's channels, whether each exists, and its row."""
    channel_C = tl.program_id(1) * C + tl.arange(0, C)
    return channel_C, channel_C < X, tl.program_id(2).to(tl.int64)


@triton.jit
def _tap(
    x_BLX, tail_BKX, row, p_T, there_T, channel_C, exists_C, first, length,
    X: tl.constexpr, STRIDE: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """Load the tokens at positions `p_T`; those before the call are in the tail. first: the tile's first token."""
    at_TC = (row * length + p_T)[:, None] * STRIDE + channel_C[None, :]
    x_TC = tl.load(x_BLX + at_TC, mask=(there_T & (p_T >= 0))[:, None] & exists_C[None, :], other=0.0).to(tl.float32)
    if first < K - 1:
        before_TC = (row * (K - 1) + K - 1 + p_T)[:, None] * X + channel_C[None, :]
        there_TC = (there_T & (p_T < 0))[:, None] & exists_C[None, :]
        x_TC += tl.load(tail_BKX + before_TC, mask=there_TC, other=0.0).to(tl.float32)
    return x_TC


@triton.jit
def _is_reset(reset_BL, row, t_T, length):
    """Return whether the state is reset before each token; false outside the call."""
    if reset_BL is None:
        is_T = t_T < t_T
    else:
        is_T = tl.load(reset_BL + row * length + t_T, mask=(t_T >= 0) & (t_T < length), other=0) != 0
    return is_T


@triton.jit
def _sum_of_taps(
    x_BLX, tail_BKX, weight_XK, bias_X, reset_BL, row, t_T, channel_C, exists_C, first, length,
    X: tl.constexpr, STRIDE: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    sees_T = t_T < length
    sum_TC = tl.load(bias_X + channel_C, mask=exists_C, other=0.0)[None, :]
    for back in tl.static_range(K):
        x_TC = _tap(x_BLX, tail_BKX, row, t_T - back, sees_T, channel_C, exists_C, first, length, X, STRIDE, K)
        weight_C = tl.load(weight_XK + channel_C * K + K - 1 - back, mask=exists_C, other=0.0)
        sum_TC = sum_TC + x_TC * weight_C[None, :]
        sees_T = sees_T & ~_is_reset(reset_BL, row, t_T - back, length)
    return sum_TC


@_tiled
def _forward(
    x_BLX, tail_BKX, weight_XK, bias_X, reset_BL, y_BLX,
    length, X: tl.constexpr, STRIDE: tl.constexpr, K: tl.constexpr, T: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    channel_C, exists_C, row = _channels(X, C)
    first = tl.program_id(0) * T
    t_T = first + tl.arange(0, T)
    given = x_BLX, tail_BKX, weight_XK, bias_X, reset_BL
    y_TC, _ = silu_and_slope(_sum_of_taps(*given, row, t_T, channel_C, exists_C, first, length, X, STRIDE, K))
    at_TC = (row * length + t_T)[:, None] * X + channel_C[None, :]
    tl.store(y_BLX + at_TC, y_TC, mask=(t_T < length)[:, None] & exists_C[None, :])


@triton.jit
def _input(
    x_BLX, tail_BKX, row, p, channel_C, exists_C, length, X: tl.constexpr, STRIDE: tl.constexpr, K: tl.constexpr
):  # fmt: skip
    """Load the token at position `p`, 0 outside; those before the call are in the tail."""
    x_C = tl.load(x_BLX + (row * length + p) * STRIDE + channel_C, mask=exists_C & (p >= 0) & (p < length), other=0.0)
    before_C = exists_C & (p < 0) & (p > -K)
    return x_C + tl.load(tail_BKX + (row * (K - 1) + K - 1 + p) * X + channel_C, mask=before_C, other=0.0)


@triton.jit
def _flag(reset_BL, row, t, length):
    """Return 0.0 if the state is reset before token `t` of the call, else 1.0."""
    stays = 1.0
    if reset_BL is not None:
        inside = (t >= 0) & (t < length)
        stays = tl.where(tl.load(reset_BL + row * length + t, mask=inside, other=0) != 0, 0.0, 1.0)
    return stays


@_tiled
def _backward(
    x_BLX, tail_BKX, weight_XK, bias_X, reset_BL, dy_BLX, dx_BLX, dtail_BKX, dweight_GKX,
    length, span, X: tl.constexpr, STRIDE: tl.constexpr, K: tl.constexpr, C: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of a span's tokens, and the span's part of those of the weights and, last, of the bias.

    The program goes through its tokens from right to left, from K - 1 beyond the span, and keeps in registers what a
    token shares with the next: the taps' inputs, and the gradients of the later sums, each 0 once a reset lies between.
    """
    channel_C, exists_C, row = _channels(X, C)
    start = tl.program_id(0) * span
    end, stop = tl.minimum(start + span, length), tl.where(start == 0, 1 - K, start)
    bias_C, dbias_C = tl.load(bias_X + channel_C, mask=exists_C, other=0.0), tl.zeros([C], tl.float32)
    weights, dweights, inputs, later, stays = (), (), (), (), ()
    top = end + K - 2
    for back in tl.static_range(K):
        weights += (tl.load(weight_XK + channel_C * K + K - 1 - back, mask=exists_C, other=0.0),)
        dweights += (tl.zeros([C], tl.float32),)
    for back in tl.static_range(K - 1):
        inputs += (_input(x_BLX, tail_BKX, row, top - back, channel_C, exists_C, length, X, STRIDE, K),)
        later += (tl.zeros([C], tl.float32),)
        stays += (_flag(reset_BL, row, top - back, length),)
    for step in range(0, top - stop + 1, GROUP):
        read = ()
        for j in tl.static_range(GROUP):
            t = top - step - j
            x_C = _input(x_BLX, tail_BKX, row, t - K + 1, channel_C, exists_C, length, X, STRIDE, K)
            there_C = exists_C & (t >= 0) & (t < length)
            dy_C = tl.load(dy_BLX + (row * length + t) * X + channel_C, mask=there_C, other=0.0)
            read += ((x_C, dy_C, _flag(reset_BL, row, t - K + 1, length)),)
        for j in tl.static_range(GROUP):
            t = top - step - j
            x_C, dy_C, stay = read[j]
            inputs += (x_C,)
            stays += (stay,)
            sum_C, taps, seen = bias_C, (), 1.0
            for back in tl.static_range(K):
                taps += (inputs[back].to(tl.float32) * seen,)
                sum_C += taps[back] * weights[back]
                seen = seen * stays[back]
            _, slope_C = silu_and_slope(sum_C)
            dsum_C = dy_C.to(tl.float32) * slope_C
            dx_C, added, sums = dsum_C * weights[0], (), (dsum_C,)
            is_own = (t < end) & (t >= stop)
            own_C = tl.where(is_own, dsum_C, 0.0)
            for back in tl.static_range(K):
                added += (dweights[back] + own_C * taps[back],)
            for ahead in tl.static_range(K - 1):
                dx_C += later[ahead] * weights[ahead + 1]
                sums += (later[ahead],)
            dbias_C += own_C
            tl.store(dx_BLX + (row * length + t) * X + channel_C, dx_C, mask=exists_C & is_own & (t >= 0))
            before_C = (row * (K - 1) + K - 1 + t) * X + channel_C
            tl.store(dtail_BKX + before_C, dx_C, mask=exists_C & is_own & (t < 0))
            first, dweights, later, rest, flags = stays[0], added, (), (), ()
            for back in tl.static_range(K - 1):
                later += (sums[back] * first,)
                rest += (inputs[back + 1],)
                flags += (stays[back + 1],)
            inputs, stays = rest, flags
    dweight_KC = dweight_GKX + (row * tl.num_programs(0) + tl.program_id(0)) * (K + 1) * X + channel_C
    for back in tl.static_range(K):
        tl.store(dweight_KC + (K - 1 - back) * X, dweights[back], mask=exists_C)
    tl.store(dweight_KC + K * X, dbias_C, mask=exists_C)


def _tiles(x_BLX: Tensor, weight_X1K: Tensor) -> dict[str, int]:
    """Return the kernels' compile-time sizes; few channels get narrow tiles, of which fewer lanes are idle."""
    across = 256 if x_BLX.shape[2] >= 1024 else 64
    return {"X": x_BLX.shape[2], "K": weight_X1K.shape[-1], "T": ENTRIES // across, "C": across}


def _grid(x_BLX: Tensor, tokens: int, span: int, tiles: dict[str, int]) -> tuple[int, int, int]:
    return triton.cdiv(tokens, span), triton.cdiv(tiles["X"], tiles["C"]), len(x_BLX)


@torch.library.custom_op(
    "tallystick::conv_silu",
    mutates_args=(),
    schema="(Tensor x_BLX, Tensor tail_BKX, Tensor weight_X1K, Tensor bias_X, Tensor? reset_BL) -> Tensor",
)
def conv_silu(x_BLX: Tensor, tail_BKX: Tensor, weight_X1K: Tensor, bias_X: Tensor, reset_BL: Tensor | None) -> Tensor:
    """Return silu of the causal convolution of [tail; x], in the dtype of `x_BLX`; no token sees past a reset.

    tail_BKX: the K - 1 tokens before the first.
    """
    (x_BLX, stride), tiles = strided(x_BLX), _tiles(x_BLX, weight_X1K)
    y_BLX = torch.empty(x_BLX.shape, dtype=x_BLX.dtype, device=x_BLX.device)
    reset_BL = None if reset_BL is None else reset_BL.contiguous()
    length, given = x_BLX.shape[1], (x_BLX, tail_BKX.contiguous(), weight_X1K.contiguous(), bias_X, reset_BL)
    _forward[_grid(x_BLX, length, tiles["T"], tiles)](*given, y_BLX, length, STRIDE=stride, **tiles)
    return y_BLX


@conv_silu.register_fake
def _(x_BLX: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x_BLX, memory_format=torch.contiguous_format)


@torch.library.custom_op(
    "tallystick::conv_silu_backward",
    mutates_args=(),
    schema="(Tensor dy_BLX, Tensor x_BLX, Tensor tail_BKX, Tensor weight_X1K, Tensor bias_X, Tensor? reset_BL) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
)
def conv_silu_backward(
    dy_BLX: Tensor, x_BLX: Tensor, tail_BKX: Tensor, weight_X1K: Tensor, bias_X: Tensor, reset_BL: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, tail, weight and bias."""
    (x_BLX, stride), (rows, length, channels), taps = strided(x_BLX), x_BLX.shape, weight_X1K.shape[-1]
    reset_BL = None if reset_BL is None else reset_BL.contiguous()
    grid = triton.cdiv(length, SPAN), triton.cdiv(channels, CHANNELS), rows
    dx_BLX = torch.empty_like(dy_BLX, memory_format=torch.contiguous_format)
    dtail_BKX = torch.empty(tail_BKX.shape, dtype=tail_BKX.dtype, device=x_BLX.device)
    dweight_GKX = weight_X1K.new_empty(rows * grid[0], taps + 1, channels)
    given = x_BLX, tail_BKX.contiguous(), weight_X1K.contiguous(), bias_X, reset_BL, dy_BLX.contiguous()
    made, sizes = (dx_BLX, dtail_BKX, dweight_GKX), {"X": channels, "STRIDE": stride, "K": taps, "C": CHANNELS}
    _backward[grid](*given, *made, length, SPAN, **sizes, GROUP=GROUP, **LAUNCH)
    dweight_KX = dweight_GKX.sum(0)
    return dx_BLX, dtail_BKX, dweight_KX[:-1].t()[:, None].contiguous(), dweight_KX[-1].clone()


@conv_silu_backward.register_fake
def _(dy_BLX: Tensor, x_BLX: Tensor, tail_BKX: Tensor, weight_X1K: Tensor, bias_X: Tensor, reset_BL: Any) -> Any:
    return tuple(
        torch.empty_like(t, memory_format=torch.contiguous_format) for t in (x_BLX, tail_BKX, weight_X1K, bias_X)
    )


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradient(ctx: Any, dy_BLX: Tensor) -> tuple[Tensor | None, ...]:
    return *conv_silu_backward(dy_BLX, *ctx.saved_tensors), None


conv_silu.register_autograd(_gradient, setup_context=_keep_inputs)

"""RMS norm as Triton kernels, alone or of a gated input: `rms_norm(silu(z) * x)`, in one pass over memory.

Glossary: D channels; R tokens and C channels (D, rounded up) of a tile, G programs; tensors without a suffix are
[..., D].
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

TILE, BACKWARD_TILE = 4096, 2048
"""Entries of a tile, and of one of the backward pass: larger ones take so many registers that few programs fit."""
PROGRAMS = 792
"""Maximum number of programs of the backward pass, each of which sums the weights' gradient over its tokens."""

_tokenwise = triton.jit(do_not_specialize=["tokens"])


@triton.jit
def _tile(x, z, block, tokens, D: tl.constexpr, R: tl.constexpr, C: tl.constexpr, X: tl.constexpr, Z: tl.constexpr):
    """Load a tile; return its offsets, whether each entry exists, x, silu(z) and its slope.

    X, Z: distances of tokens.
    """
    token_R1 = (block * R + tl.arange(0, R)).to(tl.int64)[:, None]
    channel_1C = tl.arange(0, C)[None, :]
    there = (token_R1 < tokens) & (channel_1C < D)
    x_RC = tl.load(x + token_R1 * X + channel_1C, mask=there, other=0.0).to(tl.float32)
    if z is None:
        gate_RC, slope_RC = tl.full([R, C], 1.0, tl.float32), tl.zeros([R, C], tl.float32)
    else:
        z_RC = tl.load(z + token_R1 * Z + channel_1C, mask=there, other=0.0).to(tl.float32)
        gate_RC, slope_RC = silu_and_slope(z_RC)
    return token_R1 * D + channel_1C, there, x_RC, gate_RC, slope_RC


@triton.jit
def _scale(x_RC, D: tl.constexpr, eps):
    return tl.rsqrt(tl.sum(x_RC * x_RC, 1, keep_dims=True) / D + eps)


@_tokenwise
def _forward(
    x, z, weight_D, y, tokens, eps,
    D: tl.constexpr, R: tl.constexpr, C: tl.constexpr, X: tl.constexpr, Z: tl.constexpr,
):  # fmt: skip
    at, there, x_RC, gate_RC, _ = _tile(x, z, tl.program_id(0), tokens, D, R, C, X, Z)
    weight_C = tl.load(weight_D + tl.arange(0, C), mask=tl.arange(0, C) < D, other=0.0)
    gated_RC = x_RC * gate_RC
    tl.store(y + at, gated_RC * _scale(gated_RC, D, eps) * weight_C[None, :], mask=there)


@_tokenwise
def _backward(
    x, z, weight_D, dy, dx, dz, dweight_GD, tokens, eps,
    D: tl.constexpr, R: tl.constexpr, C: tl.constexpr, X: tl.constexpr, Z: tl.constexpr,
):  # fmt: skip
    channel_C = tl.arange(0, C)
    weight_C = tl.load(weight_D + channel_C, mask=channel_C < D, other=0.0)
    dweight_C = tl.zeros([C], tl.float32)
    for block in range(tl.program_id(0), tl.cdiv(tokens, R), tl.num_programs(0)):
        at, there, x_RC, gate_RC, slope_RC = _tile(x, z, block, tokens, D, R, C, X, Z)
        dy_RC = tl.load(dy + at, mask=there, other=0.0).to(tl.float32)
        gated_RC = x_RC * gate_RC
        scale_R1 = _scale(gated_RC, D, eps)
        unit_RC = gated_RC * scale_R1
        dweight_C += tl.sum(dy_RC * unit_RC, 0)
        dunit_RC = dy_RC * weight_C[None, :]
        dgated_RC = scale_R1 * (dunit_RC - unit_RC * (tl.sum(dunit_RC * unit_RC, 1, keep_dims=True) / D))
        tl.store(dx + at, dgated_RC * gate_RC, mask=there)
        if z is not None:
            tl.store(dz + at, dgated_RC * x_RC * slope_RC, mask=there)
    tl.store(dweight_GD + tl.program_id(0).to(tl.int64) * D + channel_C, dweight_C, mask=channel_C < D)


def _flat(x: Tensor) -> tuple[Tensor, int]:
    """Return a tensor whose tokens are evenly spaced, and the distance between them."""
    if x.dim() != 3:
        return x.contiguous(), x.shape[-1]
    return strided(x)


def _sizes(x: Tensor, entries: int) -> tuple[int, dict[str, int]]:
    """Return the number of tokens, and the sizes of a tile of so many entries."""
    channels = triton.next_power_of_2(x.shape[-1])
    return x.numel() // x.shape[-1], {"D": x.shape[-1], "R": max(1, entries // channels), "C": channels}


@torch.library.custom_op(
    "tallystick::gated_norm",
    mutates_args=(),
    schema="(Tensor x, Tensor? z, Tensor weight_D, float eps, ScalarType dtype) -> Tensor",
)
def gated_norm(x: Tensor, z: Tensor | None, weight_D: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """Return the RMS norm of `silu(z) * x`, or of `x` if z is None, times the weight, in this dtype."""
    tokens, sizes = _sizes(x, TILE)
    (x, x_stride), (z, z_stride) = _flat(x), (None, 0) if z is None else _flat(z)
    y = torch.empty(x.shape, dtype=dtype, device=x.device)
    grid = (triton.cdiv(tokens, sizes["R"]),)
    _forward[grid](x, z, weight_D, y, tokens, eps, **sizes, X=x_stride, Z=z_stride)
    return y


@gated_norm.register_fake
def _(x: Tensor, z: Tensor | None, weight_D: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    return torch.empty(x.shape, dtype=dtype, device=x.device)


@torch.library.custom_op(
    "tallystick::gated_norm_backward",
    mutates_args=(),
    schema="(Tensor dy, Tensor x, Tensor? z, Tensor weight_D, float eps) -> (Tensor, Tensor, Tensor)",
)
def gated_norm_backward(
    dy: Tensor, x: Tensor, z: Tensor | None, weight_D: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, z (empty if z is None) and the weight."""
    tokens, sizes = _sizes(x, BACKWARD_TILE)
    dx = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    dz = torch.empty(x.shape if z is not None else (0,), dtype=x.dtype if z is None else z.dtype, device=x.device)
    (x, x_stride), (z, z_stride) = _flat(x), (None, 0) if z is None else _flat(z)
    grid = (min(PROGRAMS, triton.cdiv(tokens, sizes["R"])),)
    dweight_GD = weight_D.new_empty(grid[0], len(weight_D))
    given = x, z, weight_D, dy.contiguous(), dx, dz, dweight_GD
    _backward[grid](*given, tokens, eps, **sizes, X=x_stride, Z=z_stride)
    return dx, dz, dweight_GD.sum(0)


@gated_norm_backward.register_fake
def _(dy: Tensor, x: Tensor, z: Tensor | None, weight_D: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    dz = x.new_empty(0) if z is None else torch.empty(z.shape, dtype=z.dtype, device=z.device)
    return torch.empty(x.shape, dtype=x.dtype, device=x.device), dz, torch.empty_like(weight_D)


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.eps, _ = inputs
    ctx.save_for_backward(*tensors)


def _gradient(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    dx, dz, dweight_D = gated_norm_backward(dy, *ctx.saved_tensors, ctx.eps)
    return dx, None if ctx.saved_tensors[1] is None else dz, dweight_D, None, None


gated_norm.register_autograd(_gradient, setup_context=_keep_inputs)

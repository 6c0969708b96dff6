"""Mamba's selective scan: a linear recurrence at two levels, with a hand-written gradient.

Everything but the recurrence `h = a h + b` itself is computed for all tokens at once. The recurrence runs through the
Q tokens of all chunks at the same time, then over the chunks' ends: Q + L / Q sequential operations instead of L. Time
is the first dimension, so that a step is a contiguous slice.

Glossary: B batch, L length, E channels, N state size, Q tokens of a chunk, C chunks, l tokens that are processed at
once. The recurrence is elementwise, so the names of its tensors omit the dimensions after time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tallystick.kernels.precision import in_fp32

CHUNK = 64
"""Number of tokens of a chunk (Q)."""
MAX_ENTRIES = 2**18
"""Maximum number of state entries, over rows and tokens, processed at once, so that they fit into a CPU's cache."""


def _scan(a_L: Tensor, b_L: Tensor, first: Tensor) -> Tensor:
    """Return h_L with h[t] = a[t] h[t - 1] + b[t], from h[-1] = first."""
    whole = len(a_L) // CHUNK * CHUNK
    if whole < 2 * CHUNK:
        return _loop(a_L, b_L, first)
    a_QC, b_QC = (t[:whole].unflatten(0, (-1, CHUNK)).transpose(0, 1) for t in (a_L, b_L))
    inside_QC, kept_QC = _loop(a_QC, b_QC, torch.zeros_like(b_QC[0])), a_QC.cumprod(0)
    ends_C = _loop(kept_QC[-1], inside_QC[-1], first)
    entering_C = torch.cat([first[None], ends_C[:-1]])
    h_L = torch.addcmul(inside_QC, kept_QC, entering_C).transpose(0, 1).flatten(0, 1)
    return torch.cat([h_L, _loop(a_L[whole:], b_L[whole:], h_L[-1])])


def _loop(a_L: Tensor, b_L: Tensor, h: Tensor) -> Tensor:
    """Compute `_scan` one token after the other."""
    h_L = torch.empty_like(b_L, memory_format=torch.contiguous_format)
    for a, b, new in zip(a_L, b_L, h_L, strict=True):
        h = torch.addcmul(b, a, h, out=new)
    return h_L


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a_L: Tensor, b_L: Tensor, first: Tensor) -> Tensor:
        h_L = _scan(a_L, b_L, first)
        ctx.save_for_backward(a_L, first, h_L)
        return h_L

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dh_L: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a_L, first, h_L = ctx.saved_tensors
        next_a_L = torch.cat([a_L[1:], torch.zeros_like(a_L[:1])])
        db_L = _scan(next_a_L.flip(0), dh_L.flip(0), torch.zeros_like(first)).flip(0)
        return db_L * torch.cat([first[None], h_L[:-1]]), db_L, db_L[0] * a_L[0]


def linear_scan(a_L: Tensor, b_L: Tensor, first: Tensor) -> Tensor:
    """Return h_L with `h[t] = a[t] h[t - 1] + b[t]` elementwise, from `h[-1] = first`; differentiable in all three.

    a_L, b_L: [L, ...]; first: [...].
    """
    return _LinearScan.apply(a_L, b_L, first)


@in_fp32
def selective_scan_chunked(
    x_BLE: Tensor,
    dt_BLE: Tensor,
    A_EN: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    state_BEN: Tensor,
    reset_BL: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute `reference.selective_scan` in chunks; return `(y_BLE, state_BEN)`."""
    length, y_BlE = x_BLE.shape[1], []
    tokens = max(1, MAX_ENTRIES // state_BEN.numel()) if x_BLE.device.type == "cpu" else length
    for start in range(0, length, tokens):
        part = slice(start, start + tokens)
        tensors = x_BLE[:, part], dt_BLE[:, part], A_EN, B_BLN[:, part], C_BLN[:, part], state_BEN
        y, state_BEN = _scan_at_once(*tensors, None if reset_BL is None else reset_BL[:, part])
        y_BlE.append(y)
    return torch.cat(y_BlE, dim=1), state_BEN


def _scan_at_once(
    x_BlE: Tensor,
    dt_BlE: Tensor,
    A_EN: Tensor,
    B_BlN: Tensor,
    C_BlN: Tensor,
    state_BEN: Tensor,
    reset_Bl: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Scan tokens all of whose states are held in memory at once."""
    x_lBE, dt_lBE, B_lBN, C_lBN = (t.transpose(0, 1) for t in (x_BlE, dt_BlE, B_BlN, C_BlN))
    decay_lBEN = torch.exp(dt_lBE[..., None] * A_EN)
    if reset_Bl is not None:
        decay_lBEN = decay_lBEN.masked_fill(reset_Bl.t()[..., None, None], 0.0)
    h_lBEN = linear_scan(decay_lBEN, (dt_lBE * x_lBE)[..., None] * B_lBN[:, :, None], state_BEN)
    return (h_lBEN @ C_lBN[..., None])[..., 0].transpose(0, 1), h_lBEN[-1].clone()

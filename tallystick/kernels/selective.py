"""Mamba's scan: a linear recurrence in two levels, with its gradient written out.

All that is not the recurrence `h = a h + b` itself is done for all tokens at once.  The recurrence goes through Q
tokens of all chunks at the same time, then once over the chunks' ends: Q + L / Q operations one after the other
instead of L.  Time comes first, so that a step is a contiguous slice.

Glossary: B batch, L length, E channels, N state size, Q chunk, C chunks; other dimensions are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 64
CACHED = 2**18  # entries of a CPU's cache


def _scan(a_L: Tensor, b_L: Tensor, first: Tensor) -> Tensor:
    """h[t] = a[t] h[t - 1] + b[t] from h[-1] = first; all [L, ...]."""
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
    h_L = torch.empty_like(b_L, memory_format=torch.contiguous_format)
    for a, b, new in zip(a_L, b_L, h_L, strict=True):
        h = torch.addcmul(b, a, h, out=new)
    return h_L


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a_L, b_L, first):
        h_L = _scan(a_L, b_L, first)
        ctx.save_for_backward(a_L, first, h_L)
        return h_L

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dh_L):
        a_L, first, h_L = ctx.saved_tensors
        next_a_L = torch.cat([a_L[1:], torch.zeros_like(a_L[:1])])
        db_L = _scan(next_a_L.flip(0), dh_L.flip(0), torch.zeros_like(first)).flip(0)
        return db_L * torch.cat([first[None], h_L[:-1]]), db_L, db_L[0] * a_L[0]


def linear_scan(a_L: Tensor, b_L: Tensor, first: Tensor) -> Tensor:
    """`h[t] = a[t] h[t - 1] + b[t]` elementwise from `h[-1] = first`, [L, ...]; gradients to all three."""
    return _LinearScan.apply(a_L, b_L, first)


def selective_scan_chunked(x_BLE, dt_BLE, A_EN, B_BLN, C_BLN, state_BEN, reset_BL=None):
    """The same function as `reference.selective_scan`."""
    length, y_BLE = x_BLE.shape[1], []
    tokens = max(1, CACHED // state_BEN.numel()) if x_BLE.device.type == "cpu" else length
    for start in range(0, length, tokens):
        part = slice(start, start + tokens)
        tensors = x_BLE[:, part], dt_BLE[:, part], A_EN, B_BLN[:, part], C_BLN[:, part], state_BEN
        y_BlE, state_BEN = _at_once(*tensors, None if reset_BL is None else reset_BL[:, part])
        y_BLE.append(y_BlE)
    return torch.cat(y_BLE, dim=1), state_BEN


def _at_once(x_BLE, dt_BLE, A_EN, B_BLN, C_BLN, state_BEN, reset_BL):
    """For as many tokens as their states fit into memory, of a CPU into its cache."""
    x_LBE, dt_LBE, B_LBN, C_LBN = (t.transpose(0, 1) for t in (x_BLE, dt_BLE, B_BLN, C_BLN))
    decay_LBEN = torch.exp(dt_LBE[..., None] * A_EN)
    if reset_BL is not None:
        decay_LBEN = decay_LBEN.masked_fill(reset_BL.t()[..., None, None], 0.0)
    h_LBEN = linear_scan(decay_LBEN, (dt_LBE * x_LBE)[..., None] * B_LBN[:, :, None], state_BEN)
    return (h_LBEN @ C_LBN[..., None])[..., 0].transpose(0, 1), h_LBEN[-1].clone()

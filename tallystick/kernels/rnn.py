"""LSTM and GRU with few operations per token and hand-written gradients.

A loop over time cannot be avoided, but most work can be moved out of it. The gradient of every gate is that of the
state or the cell times a factor known from the forward pass. All factors are computed at once, and so is the gradient
of the weights. Time is the first dimension of all tensors, so that a step is a contiguous slice.

The loop itself is Python (`rnn_loops`), or on a GPU a single Triton kernel (`rnn_triton`) if Triton is installed and
supports the sizes (`KERNEL_UNITS`, `KERNEL_ROWS`).

Glossary: B batch, L length, H units, G gates of all units, C gates that feed the cell (f, g or f, i, g).
"""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from tallystick.kernels import rnn_loops
from tallystick.kernels.linear import linear
from tallystick.kernels.precision import in_fp32
from tallystick.kernels.rnn_loops import Keep

TRITON = find_spec("triton") is not None
KERNEL_UNITS = (32, 64, 128, 256)
"""Numbers of units that the Triton kernels support, in fp32."""
KERNEL_ROWS = 128
"""Maximum number of rows for the Triton kernels; with more, each step's matrix product keeps a GPU busy."""


def _on_gpu(tensor: Tensor) -> bool:
    return tensor.is_cuda


def _loops(x_LBG: Tensor, state_BH: Tensor) -> ModuleType:
    """Return the module with the fastest loops for these tensors."""
    rows, units = state_BH.shape
    fits = x_LBG.dtype == torch.float32 and units in KERNEL_UNITS and rows <= KERNEL_ROWS
    if not (TRITON and fits and _on_gpu(x_LBG)):
        return rnn_loops
    from tallystick.kernels import rnn_triton  # a late import, since it imports Triton

    return rnn_triton


def _keeps(reset_LB: Tensor | None, x_LBG: Tensor) -> Keep:
    if reset_LB is None:
        return [None] * len(x_LBG)
    keep_LB1 = (~reset_LB)[..., None].to(x_LBG.dtype)
    if _on_gpu(x_LBG):
        return keep_LB1
    return [keep_B1 if any_row else None for keep_B1, any_row in zip(keep_LB1, reset_LB.any(1).tolist(), strict=True)]


def _states_before(states_LBH: Tensor, first_BH: Tensor, keep: Keep) -> Tensor:
    """Return the state before each token, after resets."""
    before_LBH = torch.cat([first_BH[None], states_LBH[:-1]])
    if isinstance(keep, Tensor):
        return before_LBH * keep
    for t, keep_B1 in enumerate(keep):
        if keep_B1 is not None:
            before_LBH[t] *= keep_B1
    return before_LBH


def _weight_gradient(dgates_LBG: Tensor, before_LBH: Tensor) -> Tensor:
    return linear(dgates_LBG.flatten(0, 1).t(), before_LBH.flatten(0, 1).t())


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_LBG: Tensor, weight_GH: Tensor, state_BH: Tensor, cell_BH: Tensor, keep: Keep
    ) -> tuple[Tensor, Tensor, Tensor]:
        gates_LBG = x_LBG.new_empty(x_LBG.shape)
        states_LBH, cells_LBH = (x_LBG.new_empty(*x_LBG.shape[:2], state_BH.shape[1]) for _ in range(2))
        ctx.keep, ctx.loops = keep, _loops(x_LBG, state_BH)
        given = x_LBG, weight_GH.t().contiguous(), state_BH, cell_BH, keep
        ctx.loops.lstm_forward(*given, gates_LBG, states_LBH, cells_LBH)
        ctx.save_for_backward(weight_GH, state_BH, cell_BH, gates_LBG, states_LBH, cells_LBH)
        return states_LBH, states_LBH[-1].clone(), cells_LBH[-1].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dstates_LBH: Tensor, dstate_BH: Tensor, dcell_BH: Tensor) -> tuple[Tensor | None, ...]:
        weight_GH, state_BH, cell_BH, gates_LBG, states_LBH, cells_LBH = ctx.saved_tensors
        f, *i, g, o = gates_LBG.split(state_BH.shape[1], dim=-1)
        found_LBH, tanh_LBH = _states_before(cells_LBH, cell_BH, ctx.keep), cells_LBH.tanh()
        df, dg = f * (1 - f), 1 - g * g
        per_gate = [found_LBH * df, g * i[0] * (1 - i[0]), dg * i[0]] if i else [(found_LBH - g) * df, dg * (1 - f)]
        per_output_LBH, cell_per_state_LBH = tanh_LBH * o * (1 - o), o * (1 - tanh_LBH * tanh_LBH)
        factors = torch.stack(per_gate, dim=2), per_output_LBH, cell_per_state_LBH
        dgates_LBG = torch.empty_like(gates_LBG)
        given = dstates_LBH, dstate_BH, dcell_BH, factors, gates_LBG, weight_GH, ctx.keep
        dstate_BH, dcell_BH = ctx.loops.lstm_backward(*given, dgates_LBG)
        before_LBH = _states_before(states_LBH, state_BH, ctx.keep)
        return dgates_LBG, _weight_gradient(dgates_LBG, before_LBH), dstate_BH, dcell_BH, None


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_LBG: Tensor, weight_GH: Tensor, state_BH: Tensor, keep: Keep) -> tuple[Tensor, Tensor]:
        own_LBG, gates_LBG = (x_LBG.new_empty(x_LBG.shape) for _ in range(2))
        states_LBH = x_LBG.new_empty(*x_LBG.shape[:2], state_BH.shape[1])
        ctx.keep, ctx.loops = keep, _loops(x_LBG, state_BH)
        given = x_LBG, weight_GH.t().contiguous(), state_BH, keep
        ctx.loops.gru_forward(*given, own_LBG, gates_LBG, states_LBH)
        ctx.save_for_backward(weight_GH, state_BH, own_LBG, gates_LBG, states_LBH)
        return states_LBH, states_LBH[-1].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dstates_LBH: Tensor, dstate_BH: Tensor) -> tuple[Tensor | None, ...]:
        weight_GH, state_BH, own_LBG, gates_LBG, states_LBH = ctx.saved_tensors
        units = state_BH.shape[1]
        (r, z, n), own_n = gates_LBG.split(units, dim=-1), own_LBG[..., 2 * units :]
        before_LBH = _states_before(states_LBH, state_BH, ctx.keep)
        per_n_LBH = (1 - z) * (1 - n * n)
        per_own = [per_n_LBH * own_n * r * (1 - r), (before_LBH - n) * z * (1 - z), per_n_LBH * r]
        dall_LBH, downs_LBG = torch.empty_like(states_LBH), torch.empty_like(gates_LBG)
        given = dstates_LBH, dstate_BH, torch.stack(per_own, dim=2), gates_LBG, weight_GH, ctx.keep
        dstate_BH = ctx.loops.gru_backward(*given, dall_LBH, downs_LBG)
        dweight_GH = _weight_gradient(downs_LBG, before_LBH)
        downs_LBG[..., 2 * units :] = dall_LBH * per_n_LBH  # the input's part of n does not pass the reset gate
        return downs_LBG, dweight_GH, dstate_BH, None


@in_fp32
def lstm(
    x_LBG: Tensor, weight_GH: Tensor, state_BH: Tensor, cell_BH: Tensor, reset_LB: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `reference.lstm_recurrent` with time as the first dimension; return `(state_LBH, state_BH, cell_BH)`."""
    return _LSTM.apply(x_LBG, weight_GH, state_BH, cell_BH, _keeps(reset_LB, x_LBG))


@in_fp32
def gru(x_LBG: Tensor, weight_GH: Tensor, state_BH: Tensor, reset_LB: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Compute `reference.gru_recurrent` with time as the first dimension; return `(state_LBH, state_BH)`."""
    return _GRU.apply(x_LBG, weight_GH, state_BH, _keeps(reset_LB, x_LBG))

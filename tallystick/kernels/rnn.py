"""LSTM and GRU with few operations a token and the gradient written out; `reference.py` has the specification.

A loop over time cannot be avoided; what can be taken out of it is.  The gradient of every gate is a factor known
from the forward pass times that of the state or the cell, so the factors are worked out for all tokens at once, and
so is the gradient of the weights.  Time comes first in all tensors: a step is then a contiguous slice.

On a GPU the loop is one kernel (`rnn_gpu.py`) for fp32, 32, 64, 128 or 256 units and at most 128 rows; all else, and
where there is no Triton, takes the loop in Python there, too.

Glossary: B batch, L length, H units, G gates of all units, C gates that feed the cell (f, g or f, i, g).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch
from torch import Tensor

from tallystick.kernels.linear import linear

Keep = Tensor | Sequence[Tensor | None]
"""For each token [B, 1]: what the state before it is multiplied with; None where no row is reset.  Of a GPU, which does
not wait to know, one tensor."""
TRITON = find_spec("triton") is not None
KERNEL_UNITS, KERNEL_ROWS = (32, 64, 128, 256), 128
"""What `rnn_gpu` takes: units in whole tiles, and rows so few that a product of its own keeps no GPU busy."""


def _on_gpu(tensor: Tensor) -> bool:
    return tensor.is_cuda


def _in_kernel(x_LBG: Tensor, state_BH: Tensor) -> bool:
    rows, units = state_BH.shape
    return TRITON and _on_gpu(x_LBG) and x_LBG.dtype == torch.float32 and units in KERNEL_UNITS and rows <= KERNEL_ROWS


def _keeps(reset_LB: Tensor | None, x_LBG: Tensor) -> Keep:
    if reset_LB is None:
        return [None] * len(x_LBG)
    keep_LB1 = (~reset_LB)[..., None].to(x_LBG.dtype)
    if _on_gpu(x_LBG):
        return keep_LB1
    return [keep_B1 if any_row else None for keep_B1, any_row in zip(keep_LB1, reset_LB.any(1).tolist(), strict=True)]


def _before(states_LBH: Tensor, first_BH: Tensor, keep: Keep) -> Tensor:
    """The state that each token found, after resets."""
    before_LBH = torch.cat([first_BH[None], states_LBH[:-1]])
    if isinstance(keep, Tensor):
        return before_LBH * keep
    for t, keep_B1 in enumerate(keep):
        if keep_B1 is not None:
            before_LBH[t] *= keep_B1
    return before_LBH


def _weight_gradient(dgates_LBG: Tensor, before_LBH: Tensor) -> Tensor:
    return linear(dgates_LBG.flatten(0, 1).t(), before_LBH.flatten(0, 1).t())


def _lstm_forward(x_LBG, weight_HG, state_BH, cell_BH, keep, gates_LBG, states_LBH, cells_LBH):
    """Writes the last three."""
    units = state_BH.shape[1]
    parts = gates_LBG.split([x_LBG.shape[2] - 2 * units, units, units], dim=-1)
    forget_LBH, input_LBH = gates_LBG[..., :units], parts[0][..., units:]
    coupled = not input_LBH.shape[-1]
    h, c = state_BH, cell_BH
    steps = zip(x_LBG, gates_LBG, *parts, forget_LBH, input_LBH, states_LBH, cells_LBH, keep, strict=True)
    for x_BG, gates_BG, sigmoids, g, o, f, i, new_h, new_c, keep_B1 in steps:
        if keep_B1 is not None:
            h, c = h * keep_B1, c * keep_B1
        torch.addmm(x_BG, h, weight_HG, out=gates_BG)
        sigmoids.sigmoid_()
        g.tanh_()
        o.sigmoid_()
        if coupled:
            torch.lerp(g, c, f, out=new_c)
        else:
            torch.addcmul(f * c, i, g, out=new_c)
        h, c = torch.mul(new_c.tanh(), o, out=new_h), new_c


def _lstm_backward(dstates_LBH, dstate_BH, dcell_BH, factors, gates_LBG, weight_GH, keep, dgates_LBG):
    """Writes the last and returns the gradients of the first state and cell."""
    per_cell_LBCH, per_state_LBH, cell_per_state_LBH = factors
    dgates_LBCH = dgates_LBG.unflatten(-1, (-1, dstate_BH.shape[1]))
    parts = (dstates_LBH, dgates_LBG, dgates_LBCH[:, :, :-1], dgates_LBCH[:, :, -1], per_cell_LBCH, per_state_LBH)
    f_LBH = gates_LBG[..., : dstate_BH.shape[1]].contiguous()
    steps = list(zip(*parts, cell_per_state_LBH, f_LBH, keep, strict=True))
    for dout, dgates_BG, dcells_BCH, do, per_cell_BCH, per_state, cell_per_state, f, keep_B1 in reversed(steps):
        dstate_BH = dstate_BH + dout
        dcell_BH = torch.addcmul(dcell_BH, dstate_BH, cell_per_state)
        torch.mul(dcell_BH[:, None], per_cell_BCH, out=dcells_BCH)
        torch.mul(dstate_BH, per_state, out=do)
        dstate_BH, dcell_BH = dgates_BG @ weight_GH, dcell_BH * f
        if keep_B1 is not None:
            dstate_BH, dcell_BH = dstate_BH * keep_B1, dcell_BH * keep_B1
    return dstate_BH, dcell_BH


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_LBG, weight_GH, state_BH, cell_BH, keep):
        gates_LBG = x_LBG.new_empty(x_LBG.shape)
        states_LBH, cells_LBH = (x_LBG.new_empty(*x_LBG.shape[:2], state_BH.shape[1]) for _ in range(2))
        loop, ctx.backward_loop = _loops("lstm", x_LBG, state_BH)
        loop(x_LBG, weight_GH.t().contiguous(), state_BH, cell_BH, keep, gates_LBG, states_LBH, cells_LBH)
        ctx.keep = keep
        ctx.save_for_backward(weight_GH, state_BH, cell_BH, gates_LBG, states_LBH, cells_LBH)
        return states_LBH, states_LBH[-1].clone(), cells_LBH[-1].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dstates_LBH, dstate_BH, dcell_BH):
        weight_GH, state_BH, cell_BH, gates_LBG, states_LBH, cells_LBH = ctx.saved_tensors
        f, *i, g, o = gates_LBG.split(state_BH.shape[1], dim=-1)
        found_LBH, tanh_LBH = _before(cells_LBH, cell_BH, ctx.keep), cells_LBH.tanh()
        df, dg = f * (1 - f), 1 - g * g
        per_cell = [found_LBH * df, g * i[0] * (1 - i[0]), dg * i[0]] if i else [(found_LBH - g) * df, dg * (1 - f)]
        per_state_LBH, cell_per_state_LBH = tanh_LBH * o * (1 - o), o * (1 - tanh_LBH * tanh_LBH)
        factors = torch.stack(per_cell, dim=2), per_state_LBH, cell_per_state_LBH
        dgates_LBG = torch.empty_like(gates_LBG)
        given = dstates_LBH, dstate_BH, dcell_BH, factors, gates_LBG, weight_GH, ctx.keep
        dstate_BH, dcell_BH = ctx.backward_loop(*given, dgates_LBG)
        before_LBH = _before(states_LBH, state_BH, ctx.keep)
        return dgates_LBG, _weight_gradient(dgates_LBG, before_LBH), dstate_BH, dcell_BH, None


def lstm(x_LBG, weight_GH, state_BH, cell_BH, reset_LB=None):
    """The same function as `reference.lstm_recurrent`, time first; gradients to all.

    Returns `(state_LBH, state_BH, cell_BH)`.
    """
    return _LSTM.apply(x_LBG, weight_GH, state_BH, cell_BH, _keeps(reset_LB, x_LBG))


def _gru_forward(x_LBG, weight_HG, state_BH, keep, own_LBG, gates_LBG, states_LBH):
    """Writes the last three; of `own_LBG`, the state's part of the gates, n alone is to be relied on."""
    units, h = state_BH.shape[1], state_BH
    xs, owns, gates = (t.split([2 * units, units], dim=-1) for t in (x_LBG, own_LBG, gates_LBG))
    r_LBH, z_LBH = gates[0].chunk(2, dim=-1)
    steps = zip(own_LBG, *xs, *owns, *gates, r_LBH, z_LBH, states_LBH, keep, strict=True)
    for own_BG, x_rz, x_n, own_rz, own_n, rz, n, r, z, new_h, keep_B1 in steps:
        if keep_B1 is not None:
            h = h * keep_B1
        torch.mm(h, weight_HG, out=own_BG)
        torch.add(x_rz, own_rz, out=rz).sigmoid_()
        torch.addcmul(x_n, r, own_n, out=n).tanh_()
        h = torch.lerp(n, h, z, out=new_h)


def _gru_backward(dstates_LBH, dstate_BH, per_own_LBCH, gates_LBG, weight_GH, keep, dall_LBH, downs_LBG):
    """Writes the last two, of all states and of `own_LBG`; returns the gradient of the first state."""
    units = dstate_BH.shape[1]
    downs_LBCH, z_LBH = downs_LBG.unflatten(-1, (3, units)), gates_LBG[..., units : 2 * units].contiguous()
    parts = dstates_LBH, dall_LBH, downs_LBG, downs_LBCH, per_own_LBCH, z_LBH, keep
    for dout, dstate, downs_BG, downs_BCH, per_own_BCH, z, keep_B1 in reversed(list(zip(*parts, strict=True))):
        torch.add(dstate_BH, dout, out=dstate)
        torch.mul(dstate[:, None], per_own_BCH, out=downs_BCH)
        dstate_BH = torch.addmm(dstate * z, downs_BG, weight_GH)
        if keep_B1 is not None:
            dstate_BH = dstate_BH * keep_B1
    return dstate_BH


LOOPS = {"lstm": (_lstm_forward, _lstm_backward), "gru": (_gru_forward, _gru_backward)}
"""Forward and backward."""


def _loops(name: str, x_LBG: Tensor, state_BH: Tensor) -> tuple[Callable, Callable]:
    if not _in_kernel(x_LBG, state_BH):
        return LOOPS[name]
    from tallystick.kernels import rnn_gpu  # imports Triton

    return rnn_gpu.LOOPS[name]


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_LBG, weight_GH, state_BH, keep):
        own_LBG, gates_LBG = (x_LBG.new_empty(x_LBG.shape) for _ in range(2))
        states_LBH = x_LBG.new_empty(*x_LBG.shape[:2], state_BH.shape[1])
        loop, ctx.backward_loop = _loops("gru", x_LBG, state_BH)
        loop(x_LBG, weight_GH.t().contiguous(), state_BH, keep, own_LBG, gates_LBG, states_LBH)
        ctx.keep = keep
        ctx.save_for_backward(weight_GH, state_BH, own_LBG, gates_LBG, states_LBH)
        return states_LBH, states_LBH[-1].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dstates_LBH, dstate_BH):
        weight_GH, state_BH, own_LBG, gates_LBG, states_LBH = ctx.saved_tensors
        units = state_BH.shape[1]
        (r, z, n), own_n = gates_LBG.split(units, dim=-1), own_LBG[..., 2 * units :]
        before_LBH = _before(states_LBH, state_BH, ctx.keep)
        per_n_LBH = (1 - z) * (1 - n * n)
        per_own = [per_n_LBH * own_n * r * (1 - r), (before_LBH - n) * z * (1 - z), per_n_LBH * r]
        dall_LBH, downs_LBG = torch.empty_like(states_LBH), torch.empty_like(gates_LBG)
        given = dstates_LBH, dstate_BH, torch.stack(per_own, dim=2), gates_LBG, weight_GH, ctx.keep
        dstate_BH = ctx.backward_loop(*given, dall_LBH, downs_LBG)
        dweight_GH = _weight_gradient(downs_LBG, before_LBH)
        downs_LBG[..., 2 * units :] = dall_LBH * per_n_LBH  # the input's part of n is not behind the reset gate
        return downs_LBG, dweight_GH, dstate_BH, None


def gru(x_LBG, weight_GH, state_BH, reset_LB=None):
    """The same function as `reference.gru_recurrent`, time first, with gradients.  Returns `(state_LBH, state_BH)`."""
    return _GRU.apply(x_LBG, weight_GH, state_BH, _keeps(reset_LB, x_LBG))

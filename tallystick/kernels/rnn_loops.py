"""The loops over time of LSTM and GRU, forward and backward, in Python: a few in-place operations per token.

`rnn_triton` has the same four functions for a GPU. They are parts of the autograd functions in `rnn`, which computes
everything that is not a recurrence for all tokens at once.

Glossary: B batch, L length, H units, G gates of all units, C gates that feed the cell (f, g or f, i, g). A gradient's
name is its tensor's name with the prefix d; `per_x` is a factor, the gradient of x over that of the state or the cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Keep = Tensor | Sequence[Tensor | None]
"""Factor of the state before each token: 0 for rows that are reset there, else 1. It is [L, B, 1], or on a CPU a [B, 1]
per token, None where no row is reset; a GPU would have to wait to know where that is."""


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
    """Run `reference.lstm_recurrent`; fill the last three arguments."""
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
    """Fill the last argument; return the gradients of the initial state and the initial cell.

    factors: `(per_gate_LBCH, per_output_LBH, cell_per_state_LBH)`, the gradients of the gates that feed the cell over
    the cell's, of the output gate over the state's, and of the cell over the state's.
    """
    per_gate_LBCH, per_output_LBH, cell_per_state_LBH = factors
    dgates_LBCH = dgates_LBG.unflatten(-1, (-1, dstate_BH.shape[1]))
    parts = (dstates_LBH, dgates_LBG, dgates_LBCH[:, :, :-1], dgates_LBCH[:, :, -1], per_gate_LBCH, per_output_LBH)
    f_LBH = gates_LBG[..., : dstate_BH.shape[1]].contiguous()
    steps = list(zip(*parts, cell_per_state_LBH, f_LBH, keep, strict=True))
    for dout, dgates_BG, dfeeding_BCH, do, per_gate_BCH, per_output, cell_per_state, f, keep_B1 in reversed(steps):
        dstate_BH = dstate_BH + dout
        dcell_BH = torch.addcmul(dcell_BH, dstate_BH, cell_per_state)
        torch.mul(dcell_BH[:, None], per_gate_BCH, out=dfeeding_BCH)
        torch.mul(dstate_BH, per_output, out=do)
        dstate_BH, dcell_BH = dgates_BG @ weight_GH, dcell_BH * f
        if keep_B1 is not None:
            dstate_BH, dcell_BH = dstate_BH * keep_B1, dcell_BH * keep_B1
    return dstate_BH, dcell_BH


def gru_forward(
    x_LBG: Tensor,
    weight_HG: Tensor,
    state_BH: Tensor,
    keep: Keep,
    own_LBG: Tensor,
    gates_LBG: Tensor,
    states_LBH: Tensor,
) -> None:
    """Run `reference.gru_recurrent`; fill the last three arguments.

    own_LBG: the state's contribution to the gates; only that to n is guaranteed to be filled.
    """
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
    """Fill the last two arguments, the gradients of all states and of `own_LBG`; return that of the initial state.

    per_own_LBCH: the gradient of `own_LBG` over the state's, for r, z and n.
    """
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

"""Recurrences as plain loops over time: the specification that every faster kernel is tested against.

No function modifies its arguments; all are differentiable in every tensor but the masks.

In all functions, where `reset_BL` is true, the state is zeroed *before* that token; None means no reset.

Glossary: B batch, L length, H heads (in LSTM and GRU: units), P channels of a head, N state size (d_state), E channels,
G gates of all units.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tallystick.kernels.precision import in_fp32


@in_fp32
def ssd_recurrent(
    x_BLHP: Tensor,
    dt_BLH: Tensor,
    A_H: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    state_BHPN: Tensor,
    reset_BL: Tensor | None = None,
    D_H: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run Mamba-2's recurrence and return `(y_BLHP, state_BHPN)`.

    For each head `state = exp(dt A) state + dt x Bᵀ`, then `y = state C + D x`. A is negative; B and C are shared by
    all heads; D is zero if not given. A token with `dt == 0` leaves the state untouched.

    Source: Dao and Gu 2024, arXiv 2405.21060, equation 1.
    """
    decay_BLH11 = torch.exp(dt_BLH * A_H)[..., None, None]
    dtx_BLHP1 = (x_BLHP * dt_BLH[..., None])[..., None]
    B_BL11N, C_BL1N1 = B_BLN[:, :, None, None, :], C_BLN[:, :, None, :, None]
    y_BHP1 = []
    for t in range(x_BLHP.shape[1]):
        if reset_BL is not None:
            state_BHPN = state_BHPN.masked_fill(reset_BL[:, t, None, None, None], 0.0)
        state_BHPN = torch.addcmul(state_BHPN * decay_BLH11[:, t], dtx_BLHP1[:, t], B_BL11N[:, t])
        y_BHP1.append(state_BHPN @ C_BL1N1[:, t])
    y_BLHP = torch.stack(y_BHP1, dim=1).squeeze(-1)
    return (y_BLHP if D_H is None else torch.addcmul(y_BLHP, x_BLHP, D_H[:, None])), state_BHPN


@in_fp32
def selective_scan(
    x_BLE: Tensor,
    dt_BLE: Tensor,
    A_EN: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    state_BEN: Tensor,
    reset_BL: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run Mamba's recurrence and return `(y_BLE, state_BEN)`.

    For each channel `state = exp(dt A) state + dt x B`, then `y = state C`: each state entry has its own decay. A is
    negative; a token with `dt == 0` leaves the state untouched.

    Source: Gu and Dao 2023, arXiv 2312.00752, algorithm 2.
    """
    y_BE = []
    for t in range(x_BLE.shape[1]):
        if reset_BL is not None:
            state_BEN = state_BEN.masked_fill(reset_BL[:, t, None, None], 0.0)
        decay_BEN = torch.exp(dt_BLE[:, t, :, None] * A_EN)
        state_BEN = decay_BEN * state_BEN + (dt_BLE[:, t] * x_BLE[:, t])[..., None] * B_BLN[:, t, None]
        y_BE.append((state_BEN * C_BLN[:, t, None]).sum(-1))
    return torch.stack(y_BE, dim=1), state_BEN


@in_fp32
def gated_delta_recurrent(
    q_BLHN: Tensor,
    k_BLHN: Tensor,
    v_BLHP: Tensor,
    log_decay_BLH: Tensor,
    beta_BLH: Tensor,
    state_BHPN: Tensor,
    reset_BL: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the gated delta rule and return `(y_BLHP, state_BHPN)`.

    For each head `state = decay state (I - beta k kᵀ) + beta v kᵀ`, then `y = state q`: the value that the state holds
    under key k is replaced by v. A token with `log_decay == 0` and `beta == 0` leaves the state untouched.

    Source: Yang et al. 2024, arXiv 2412.06464, equation 10.
    """
    y_BHP = []
    for t in range(q_BLHN.shape[1]):
        if reset_BL is not None:
            state_BHPN = state_BHPN.masked_fill(reset_BL[:, t, None, None, None], 0.0)
        state_BHPN = state_BHPN * log_decay_BLH[:, t, :, None, None].exp()
        held_BHP = (state_BHPN @ k_BLHN[:, t, ..., None])[..., 0]
        written_BHP = beta_BLH[:, t, :, None] * (v_BLHP[:, t] - held_BHP)
        state_BHPN = state_BHPN + written_BHP[..., None] * k_BLHN[:, t, :, None]
        y_BHP.append((state_BHPN @ q_BLHN[:, t, ..., None])[..., 0])
    return torch.stack(y_BHP, dim=1), state_BHPN


@in_fp32
def lstm_recurrent(
    x_BLG: Tensor,
    weight_GH: Tensor,
    state_BH: Tensor,
    cell_BH: Tensor,
    reset_BL: Tensor | None = None,
    count_BL: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run an LSTM with a forget gate and return `(state_BLH, state_BH, cell_BH)`.

    For each token `cell = f cell + i g`, then `state = o tanh(cell)`. `x_BLG` is the input's contribution to the gates
    f, i, g and o, of H units each, in this order. With only three gates (G = 3 H), i is left out and is 1 - f.
    A token where `count_BL` is false leaves both state and cell untouched.

    Source: Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000; i = 1 - f: Greff et al. 2017, arXiv
    1503.04069, section 3.
    """
    states = []
    for t in range(x_BLG.shape[1]):
        if reset_BL is not None:
            state_BH, cell_BH = (s.masked_fill(reset_BL[:, t, None], 0.0) for s in (state_BH, cell_BH))
        f, *i, g, o = (x_BLG[:, t] + state_BH @ weight_GH.mT).split(state_BH.shape[1], dim=-1)
        new_cell_BH = f.sigmoid() * cell_BH + (i[0].sigmoid() if i else 1 - f.sigmoid()) * g.tanh()
        new_state_BH = o.sigmoid() * new_cell_BH.tanh()
        if count_BL is not None:
            new_cell_BH = torch.where(count_BL[:, t, None], new_cell_BH, cell_BH)
            new_state_BH = torch.where(count_BL[:, t, None], new_state_BH, state_BH)
        state_BH, cell_BH = new_state_BH, new_cell_BH
        states.append(state_BH)
    return torch.stack(states, dim=1), state_BH, cell_BH


@in_fp32
def gru_recurrent(
    x_BLG: Tensor,
    weight_GH: Tensor,
    state_BH: Tensor,
    reset_BL: Tensor | None = None,
    count_BL: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a GRU and return `(state_BLH, state_BH)`.

    For each token `n = tanh(x_n + r U_n state)`, then `state = (1 - z) n + z state`; the reset gate r acts after the
    product with U, as in cuDNN. `x_BLG` is the input's contribution to the gates r, z and n, of H units each, in this
    order. A token where `count_BL` is false leaves the state untouched.

    Source: Cho et al. 2014, arXiv 1406.1078.
    """
    states = []
    for t in range(x_BLG.shape[1]):
        if reset_BL is not None:
            state_BH = state_BH.masked_fill(reset_BL[:, t, None], 0.0)
        r, z, n = x_BLG[:, t].chunk(3, dim=-1)
        own_r, own_z, own_n = (state_BH @ weight_GH.mT).chunk(3, dim=-1)
        r, z = (r + own_r).sigmoid(), (z + own_z).sigmoid()
        new_BH = (1 - z) * (n + r * own_n).tanh() + z * state_BH
        state_BH = new_BH if count_BL is None else torch.where(count_BL[:, t, None], new_BH, state_BH)
        states.append(state_BH)
    return torch.stack(states, dim=1), state_BH

"""The recurrence as a plain loop over time: the specification that every faster kernel is tested against.

Glossary: B batch, L length, H heads (of LSTM and GRU: units), P head dim, N state size (d_state), G gates of all
units.
"""

from __future__ import annotations

import torch


def ssd_recurrent(x_BLHP, dt_BLH, A_H, B_BLN, C_BLN, state_BHPN, reset_BL=None, D_H=None):
    """Mamba-2's recurrence (Dao and Gu 2024, arXiv 2405.21060, eq. 1 with one decay a head).

    For each head `state = exp(dt A) state + dt x Bᵀ`, then `y = state C + D x` (D zero if not given).  Where
    `reset_BL` is true the state is zeroed *before* the token; `dt == 0` leaves it untouched.  A is negative; B
    and C are shared by all heads.  Returns `(y_BLHP, state_BHPN)`; changes no argument.
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


def lstm_recurrent(x_BLG, weight_GH, state_BH, cell_BH, reset_BL=None, count_BL=None):
    """LSTM (Hochreiter and Schmidhuber 1997) with a forget gate (Gers et al. 2000) or a coupled one.

    `x_BLG`: what the input adds to the gates, f, i, g, o of H each; without i, G = 3 H, it is 1 - f.  For each token
    `cell = f cell + i g`, `state = o tanh(cell)`.  `reset_BL` as in `ssd_recurrent`; a token that does not count by
    `count_BL` leaves both untouched.  Returns `(state_BLH, state_BH, cell_BH)`; changes no argument.
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


def gru_recurrent(x_BLG, weight_GH, state_BH, reset_BL=None, count_BL=None):
    """GRU (Cho et al. 2014, arXiv 1406.1078), the reset gate after the product as cuDNN has it.

    `x_BLG`: what the input adds to the gates, r, z, n of H each.  For each token `n = tanh(x_n + r U_n state)`,
    `state = (1 - z) n + z state`.  Masks as in `lstm_recurrent`.  Returns `(state_BLH, state_BH)`.
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


def selective_scan(x_BLE, dt_BLE, A_EN, B_BLN, C_BLN, state_BEN, reset_BL=None):
    """Mamba's recurrence (Gu and Dao 2023, arXiv 2312.00752, algorithm 2): a decay of its own for each entry.

    For each channel `state = exp(dt A) state + dt x B`, then `y = state C`.  A is negative; resets and `dt == 0` as in
    `ssd_recurrent`.  Returns `(y_BLE, state_BEN)`; changes no argument.
    """
    y_BE = []
    for t in range(x_BLE.shape[1]):
        if reset_BL is not None:
            state_BEN = state_BEN.masked_fill(reset_BL[:, t, None, None], 0.0)
        decay_BEN = torch.exp(dt_BLE[:, t, :, None] * A_EN)
        state_BEN = decay_BEN * state_BEN + (dt_BLE[:, t] * x_BLE[:, t])[..., None] * B_BLN[:, t, None]
        y_BE.append((state_BEN * C_BLN[:, t, None]).sum(-1))
    return torch.stack(y_BE, dim=1), state_BEN


def gated_delta_recurrent(q_BLHN, k_BLHN, v_BLHP, log_decay_BLH, beta_BLH, state_BHPN, reset_BL=None):
    """The gated delta rule (Yang et al. 2024, arXiv 2412.06464, eq. 10).

    For each head `state = decay state (I - beta k kᵀ) + beta v kᵀ`, then `y = state q`: what the state holds under k is
    replaced by v.  Resets as in `ssd_recurrent`; `log_decay == 0` and `beta == 0` leave the state untouched.  Returns
    `(y_BLHP, state_BHPN)`; changes no argument.
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

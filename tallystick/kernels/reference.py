"""The recurrence as a plain loop over time: the specification that every faster kernel is tested against.

Glossary: B batch, L length, H heads, P head dim, N state size (d_state).
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

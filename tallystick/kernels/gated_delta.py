"""The gated delta rule by matrix products over chunks of tokens, in plain PyTorch.

The value that a token writes, u = beta (v - decay state k), depends on the values written by the earlier tokens of its
chunk. That is a triangular system, solved for all chunks at once; between chunks only the state is carried.

Source: Yang et al. 2024, arXiv 2412.06464, section 3.3.

Glossary: B batch, L length, H heads, P entries of a value, N entries of a key, C chunks, Q tokens of a chunk (L = C Q);
G stands for (B, H, C), S for (B, 1, C).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tallystick.kernels.precision import in_fp32


def _chunks(t_BLH: Tensor, chunk: int) -> Tensor:
    """Cut [B, L, H, ...] into [B, H, C, Q, ...], padded with zeros: tokens that leave the state untouched."""
    pad = -t_BLH.shape[1] % chunk
    return F.pad(t_BLH, (0, 0) * (t_BLH.dim() - 2) + (0, pad)).transpose(1, 2).unflatten(2, (-1, chunk))


def _decays(log_decay_GQ: Tensor, reset_BL: Tensor | None, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the shares that are left after decay and resets.

    [G, Q, Q]: the share of token j's value left at token i, zero for j > i.
    [G, Q, 1]: the share of the chunk's initial state left at token i.
    [G, Q, 1]: the share of token i's value left in the chunk's final state.
    """
    log_GQ = log_decay_GQ.cumsum(-1)
    sees_SQQ = torch.ones(chunk, chunk, dtype=torch.bool, device=log_GQ.device).tril()
    decay_GQQ, entry_GQ = (log_GQ[..., None] - log_GQ[..., None, :]).clamp(max=0.0).exp(), log_GQ.exp()
    exit_GQ = (log_GQ[..., -1:] - log_GQ).exp()
    if reset_BL is not None:
        segment_SQ = _chunks(reset_BL[..., None], chunk).cumsum(-1)
        sees_SQQ = sees_SQQ & (segment_SQ[..., None] == segment_SQ[..., None, :])
        entry_GQ, exit_GQ = entry_GQ * (segment_SQ == 0), exit_GQ * (segment_SQ == segment_SQ[..., -1:])
    return decay_GQQ * sees_SQQ, entry_GQ[..., None], exit_GQ[..., None]


@in_fp32
def gated_delta_chunked(
    q_BLHN: Tensor,
    k_BLHN: Tensor,
    v_BLHP: Tensor,
    log_decay_BLH: Tensor,
    beta_BLH: Tensor,
    state_BHPN: Tensor,
    reset_BL: Tensor | None = None,
    chunk: int = 32,
) -> tuple[Tensor, Tensor]:
    """Compute `reference.gated_delta_recurrent`, `chunk` tokens at a time; return `(y_BLHP, state_BHPN)`.

    The length need not be a multiple of `chunk`.
    """
    length, chunk = q_BLHN.shape[1], min(chunk, q_BLHN.shape[1])
    tensors = (q_BLHN, k_BLHN, v_BLHP, log_decay_BLH, beta_BLH[..., None])
    q_GQN, k_GQN, v_GQP, log_decay_GQ, beta_GQ1 = (_chunks(t, chunk) for t in tensors)
    decay_GQQ, entry_GQ1, exit_GQ1 = _decays(log_decay_GQ, reset_BL, chunk)
    scores_GQQ, overlap_GQQ = decay_GQQ * (q_GQN @ k_GQN.mT), beta_GQ1 * decay_GQQ * (k_GQN @ k_GQN.mT)
    known = torch.cat([beta_GQ1 * v_GQP, beta_GQ1 * entry_GQ1 * k_GQN], dim=-1)
    # unitriangular: the diagonal is taken as 1, whatever its values
    solved = torch.linalg.solve_triangular(overlap_GQQ, known, upper=False, unitriangular=True)
    parts = *solved.split([v_GQP.shape[-1], k_GQN.shape[-1]], dim=-1), entry_GQ1 * q_GQN, scores_GQQ, exit_GQ1 * k_GQN
    y_BHQP = []
    for c, (fresh_QP, held_QN, q_QN, scores_QQ, k_QN) in enumerate(zip(*(p.unbind(2) for p in parts), strict=True)):
        written_QP = fresh_QP - held_QN @ state_BHPN.mT
        y_BHQP.append(q_QN @ state_BHPN.mT + scores_QQ @ written_QP)
        state_BHPN = entry_GQ1[:, :, c, -1:] * state_BHPN + written_QP.mT @ k_QN
    return torch.cat(y_BHQP, dim=2).transpose(1, 2)[:, :length], state_BHPN

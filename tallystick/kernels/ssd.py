"""Mamba-2's scan by matrix products over chunks of tokens, in plain PyTorch, with a hand-written gradient.

Within a chunk the scan is a masked attention matrix; between chunks only the states at the boundaries are carried.

Source: Dao and Gu 2024, arXiv 2405.21060, section 6 (state space duality).

Glossary: B batch, L length, H heads, P channels of a head, N state size, c chunks, Q tokens of a chunk (L = c Q);
G stands for (B, H, c), S for (B, 1, c): shared by all heads.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tallystick.kernels.precision import in_fp32

LOG2_E = math.log2(math.e)
MAX_LOOP = 16
"""Maximum number of chunks over which a GPU carries the state in a loop, launching a kernel for each step."""


class _Decays(NamedTuple):
    """Shares of inputs and states that are left after decay and resets."""

    decay_GQQ: Tensor
    """Share of token j's input left at token i, to be multiplied by `sees_SQQ`."""
    sees_SQQ: Tensor
    """1 where token i sees token j, j <= i without a reset in between; else 0."""
    entry_GQ: Tensor
    """Share of the chunk's initial state left at token i; 0 from the first reset on."""
    exit_GQ: Tensor
    """Share of token j's input left in the chunk's final state; 0 before the last reset."""


def _decays(dt_GQ: Tensor, A_H: Tensor, reset_BL: Tensor | None) -> _Decays:
    """Compute the decays; resets are masks, since large negative logarithms would destroy the sums' precision."""
    chunk = dt_GQ.shape[-1]
    log_GQ = (dt_GQ * (A_H * LOG2_E)[:, None, None]).cumsum(-1)
    decay_GQQ, exit_GQ = _exp2_(log_GQ[..., None] - log_GQ[..., None, :]), _exp2_(log_GQ[..., -1:] - log_GQ)
    entry_GQ = _exp2_(log_GQ)
    sees_SQQ = torch.ones(chunk, chunk, dtype=dt_GQ.dtype, device=dt_GQ.device).tril_()
    if reset_BL is not None:
        segment_SQ = reset_BL[:, None].unflatten(-1, (-1, chunk)).cumsum(-1, dtype=torch.int32)
        sees_SQQ = sees_SQQ * (segment_SQ[..., None] == segment_SQ[..., None, :])
        entry_GQ *= segment_SQ == 0
        exit_GQ *= segment_SQ == segment_SQ[..., -1:]
    return _Decays(decay_GQQ, sees_SQQ, entry_GQ, exit_GQ)


def _exp2_(log: Tensor) -> Tensor:
    """Compute `2 ** log` of the clamped argument in place; base 2 is four times faster than base e.

    Above the diagonal the argument is positive, and must not overflow before it is masked. Below -100 the result or
    its products could be denormal numbers, with which arithmetic is twenty times slower.
    """
    return log.clamp_(min=-100.0, max=0.0).exp2_()


def _bmm(a: Tensor, b: Tensor) -> Tensor:
    """Multiply batches of matrices; all dimensions before the last two must be equal."""
    return torch.bmm(a.flatten(0, -3), b.flatten(0, -3)).unflatten(0, a.shape[:-2])


def _add_bmm_(into: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Add `_bmm(a, b)` to `into`, in place, and return it."""
    into.view(-1, *into.shape[-2:]).baddbmm_(a.flatten(0, -3), b.flatten(0, -3))
    return into


def _carry(first_BHNP: Tensor, add_GNP: Tensor, keep_G: Tensor, reverse: bool = False) -> Tensor:
    """Return the states at the c + 1 chunk boundaries, [B, H, c + 1, N, P]: `s[c + 1] = keep[c] s[c] + add[c]`.

    reverse: from right to left instead, `s[c] = keep[c] s[c + 1] + add[c]`, with `first` as the last state.
    """
    many = add_GNP.is_cuda and add_GNP.shape[2] > MAX_LOOP
    return (_carry_doubling if many else _carry_loop)(first_BHNP, add_GNP, keep_G, reverse)


def _carry_doubling(first_BHNP: Tensor, add_GNP: Tensor, keep_G: Tensor, reverse: bool = False) -> Tensor:
    """Compute `_carry` in log2(c) passes over spans of doubling length: on a GPU a pass costs as much as a loop's step.

    `states[i]` is the contribution of the span that ends at boundary i, `keep[i]` the share of earlier states that it
    passes on.
    """
    if reverse:
        add_GNP, keep_G = add_GNP.flip(2), keep_G.flip(2)
    states_GNP = torch.cat([first_BHNP[:, :, None], add_GNP], 2)
    keep_G11 = F.pad(keep_G, (1, 0))[..., None, None]
    span = 1
    while span < states_GNP.shape[2]:
        through_GNP = torch.addcmul(states_GNP[:, :, span:], keep_G11[:, :, span:], states_GNP[:, :, :-span])
        states_GNP = torch.cat([states_GNP[:, :, :span], through_GNP], 2)
        keep_G11 = torch.cat([keep_G11[:, :, :span], keep_G11[:, :, span:] * keep_G11[:, :, :-span]], 2)
        span *= 2
    return states_GNP.flip(2) if reverse else states_GNP


def _carry_loop(first_BHNP: Tensor, add_GNP: Tensor, keep_G: Tensor, reverse: bool = False) -> Tensor:
    """Compute `_carry` in one step per chunk."""
    states_GNP = add_GNP.new_empty(*keep_G.shape[:2], keep_G.shape[2] + 1, *first_BHNP.shape[2:])
    steps = list(zip(add_GNP.unbind(2), keep_G[..., None, None].unbind(2), strict=True))
    places = list(states_GNP.unbind(2))
    if reverse:
        steps.reverse()
        places.reverse()
    places[0].copy_(first_BHNP)
    for (add_BHNP, keep_BH11), source, target in zip(steps, places[:-1], places[1:], strict=True):
        torch.addcmul(add_BHNP, keep_BH11, source, out=target)
    return states_GNP


class _SSD(torch.autograd.Function):
    """The scan of a length that is a multiple of the chunk; autograd's own backward makes three times the passes."""

    @staticmethod
    def forward(
        ctx: Any,
        x_BLHP: Tensor,
        dt_BLH: Tensor,
        A_H: Tensor,
        B_BLN: Tensor,
        C_BLN: Tensor,
        state_BHPN: Tensor,
        D_H: Tensor,
        reset_BL: Tensor | None,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        x_GQP, dt_GQ = (t.transpose(1, 2).unflatten(2, (-1, chunk)) for t in (x_BLHP, dt_BLH))
        B_SQN, C_SQN = (t[:, None].unflatten(2, (-1, chunk)) for t in (B_BLN, C_BLN))
        decays = _decays(dt_GQ, A_H, reset_BL)
        scores_GQQ = decays.decay_GQQ * _bmm(C_SQN, B_SQN.mT).mul_(decays.sees_SQQ)
        dtx_GQP = torch.mul(x_GQP, dt_GQ[..., None], out=x_BLHP.new_empty(x_GQP.shape))
        B_out_GQN, C_in_GQN = B_SQN * decays.exit_GQ[..., None], C_SQN * decays.entry_GQ[..., None]

        states_GNP = _carry(state_BHPN.mT, _bmm(B_out_GQN.mT, dtx_GQP), decays.entry_GQ[..., -1])
        y_GQP = _add_bmm_(_bmm(scores_GQQ, dtx_GQP), C_in_GQN, states_GNP[:, :, :-1])
        y_GQP.addcmul_(x_GQP, D_H[:, None, None, None])
        ctx.save_for_backward(
            x_GQP, dt_GQ, A_H, B_SQN, C_SQN, D_H, *decays, scores_GQQ, dtx_GQP, B_out_GQN, C_in_GQN, states_GNP, y_GQP
        )
        return y_GQP.flatten(2, 3).transpose(1, 2), states_GNP[:, :, -1].mT.contiguous()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy_BLHP: Tensor, dstate_BHPN: Tensor) -> tuple[Tensor | None, ...]:
        (
            x_GQP,
            dt_GQ,
            A_H,
            B_SQN,
            C_SQN,
            D_H,
            decay_GQQ,
            sees_SQQ,
            entry_GQ,
            exit_GQ,
            scores_GQQ,
            dtx_GQP,
            B_out_GQN,
            C_in_GQN,
            states_GNP,
            y_GQP,
        ) = ctx.saved_tensors
        dy_GQP = dy_BLHP.transpose(1, 2).contiguous().view(y_GQP.shape)
        dstates_GNP = _carry(dstate_BHPN.mT, _bmm(C_in_GQN.mT, dy_GQP), entry_GQ[..., -1], reverse=True)
        enter_GNP, leave_GNP, dleave_GNP = states_GNP[:, :, :-1], states_GNP[:, :, 1:], dstates_GNP[:, :, 1:]

        ddtx_GQP = _add_bmm_(_bmm(scores_GQQ.mT, dy_GQP), B_out_GQN, dleave_GNP)
        dCB_SQQ = _bmm(dy_GQP, dtx_GQP.mT).mul_(decay_GQQ).sum(1, keepdim=True).mul_(sees_SQQ)
        dC_SQN = (_bmm(dy_GQP, enter_GNP.mT) * entry_GQ[..., None]).sum(1, keepdim=True)
        dB_SQN = (_bmm(dtx_GQP, dleave_GNP.mT) * exit_GQ[..., None]).sum(1, keepdim=True)
        _add_bmm_(dC_SQN, dCB_SQQ, B_SQN)
        _add_bmm_(dB_SQN, dCB_SQQ.mT, C_SQN)

        # Each term of y at token i, of an input at token j, is scaled by exp(sum of dt A over j < t <= i). So the
        # gradient of dt A at t is the sum of the terms that end at or after t, minus those that also start there, plus
        # the contribution to the chunk's final state.
        ddt_GQ, skip_GQ = (ddtx_GQP * x_GQP).sum(-1), (x_GQP * dy_GQP).sum(-1)
        ends_GQ = (y_GQP * dy_GQP).sum(-1) - D_H[:, None, None] * skip_GQ - ddt_GQ * dt_GQ
        dlog_GQ = ends_GQ.flip(-1).cumsum(-1).flip(-1) + (leave_GNP * dleave_GNP).sum((-1, -2))[..., None]
        ddt_GQ += dlog_GQ * A_H[:, None, None]
        dx_GQP = ddtx_GQP.mul_(dt_GQ[..., None]).addcmul_(dy_GQP, D_H[:, None, None, None])
        return (
            dx_GQP.flatten(2, 3).transpose(1, 2),
            ddt_GQ.flatten(2).transpose(1, 2),
            (dlog_GQ * dt_GQ).sum((0, 2, 3)),
            dB_SQN.flatten(1, 3),
            dC_SQN.flatten(1, 3),
            dstates_GNP[:, :, 0].mT,
            skip_GQ.sum((0, 2, 3)),
            None,
            None,
        )


@in_fp32
def ssd_chunked(
    x_BLHP: Tensor,
    dt_BLH: Tensor,
    A_H: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    state_BHPN: Tensor,
    reset_BL: Tensor | None = None,
    D_H: Tensor | None = None,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute `reference.ssd_recurrent`, `chunk` tokens at a time; return `(y_BLHP, state_BHPN)`.

    The length need not be a multiple of `chunk`. chunk: by default 32 on a CPU; on a GPU at least 64 and at least the
    state size, so that the states kept between chunks do not outweigh the chunks.
    """
    length = x_BLHP.shape[1]
    chunk = chunk or (max(64, B_BLN.shape[-1]) if x_BLHP.is_cuda else 32)
    pad = -length % chunk
    if pad:  # padding has dt = 0, which leaves the state untouched
        x_BLHP, dt_BLH, B_BLN, C_BLN = (
            F.pad(t, (0, 0) * (t.dim() - 2) + (0, pad)) for t in (x_BLHP, dt_BLH, B_BLN, C_BLN)
        )
        reset_BL = None if reset_BL is None else F.pad(reset_BL, (0, pad))
    D_H = torch.zeros_like(A_H) if D_H is None else D_H
    y_BLHP, state_BHPN = _SSD.apply(x_BLHP, dt_BLH, A_H, B_BLN, C_BLN, state_BHPN, D_H, reset_BL, chunk)
    return (y_BLHP[:, :length] if pad else y_BLHP), state_BHPN

"""Norm and convolution with their gradients written out: autograd's own are several times slower on CPU.

Figures: 8192 tokens, one EPYC core, torch 2.13.

Glossary: B rows, L length, K convolution width, J = L + K - 1, F some tokens, D or X channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class _RMSNorm(torch.autograd.Function):
    """F.rms_norm; its backward takes 1300 ns a token at D = 128, this one 150."""

    @staticmethod
    def forward(ctx, x, weight_D, eps):
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        scale = mean_square.add_(eps).rsqrt_()
        unit = x * scale
        ctx.save_for_backward(unit, scale, weight_D)
        return unit * weight_D

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):
        unit, scale, weight_D = ctx.saved_tensors
        aligned = dy * unit
        along = (aligned @ weight_D)[..., None] / -len(weight_D)
        dx = (dy * weight_D).addcmul_(unit, along).mul_(scale)
        return dx, aligned.flatten(0, -2).sum(0), None


def rms_norm(x, weight_D, eps):
    """`x / sqrt(mean(x²) + eps) * weight` over the last dimension (Zhang, Sennrich 2019, arXiv 1910.07467)."""
    if not torch.is_grad_enabled():
        return F.rms_norm(x, weight_D.shape, weight_D, eps)
    return _RMSNorm.apply(x, weight_D, eps)


class Cuts(NamedTuple):
    """The F tokens whose convolution would reach back over a reset, and which of their K taps remain."""

    row_F1: Tensor
    tap_FK: Tensor  # positions in the row, counted with the K - 1 tokens that precede it
    keep_FK1: Tensor

    @property
    def at(self):
        """(row, position) of the F tokens, in rows without the preceding ones."""
        return self.row_F1[:, 0], self.tap_FK[:, 0]

    def taps(self, padded_BJX):
        """What the F tokens see."""
        return padded_BJX[self.row_F1, self.tap_FK] * self.keep_FK1

    def add_(self, padded_BJX, taps_FKX):
        """Scatter: the transpose of `taps`."""
        padded_BJX.index_put_((self.row_F1, self.tap_FK), taps_FKX * self.keep_FK1, accumulate=True)


class _ConvSilu(torch.autograd.Function):
    """A sum over taps: 80 ns a token at X = 160, conv1d 280 and more; its backward 400, conv1d's 2600.

    keep_KBL1: of cuts, as a mask over all tokens.
    """

    @staticmethod
    def forward(ctx, padded_BJX, weight_X1K, bias_X, cuts, keep_KBL1):
        weight_KX = weight_X1K[:, 0].t().contiguous()  # strided, each pass takes four times as long
        length = padded_BJX.shape[1] - len(weight_KX) + 1
        before_BLX = torch.addcmul(bias_X, _tap(padded_BJX, 0, length, keep_KBL1), weight_KX[0])
        for k in range(1, len(weight_KX)):
            before_BLX.addcmul_(_tap(padded_BJX, k, length, keep_KBL1), weight_KX[k])
        if cuts is not None:
            before_BLX[cuts.at] = (cuts.taps(padded_BJX) * weight_KX).sum(1) + bias_X
        ctx.cuts, ctx.keep_KBL1 = cuts, keep_KBL1
        ctx.save_for_backward(padded_BJX, weight_KX, before_BLX)
        return F.silu(before_BLX)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy_BLX):
        padded_BJX, weight_KX, before_BLX = ctx.saved_tensors
        d_BLX = torch.ops.aten.silu_backward(dy_BLX, before_BLX)
        dbias_X = d_BLX.flatten(0, 1).sum(0)
        if ctx.cuts is not None:
            d_F1X = d_BLX[ctx.cuts.at][:, None]
            d_BLX[ctx.cuts.at] = 0.0
        dpadded_BJX = torch.zeros_like(padded_BJX)
        dweights_X = []
        for k, weight_X in enumerate(weight_KX):
            seen = slice(k, k + d_BLX.shape[1])
            dtap_BLX = d_BLX if ctx.keep_KBL1 is None else d_BLX * ctx.keep_KBL1[k]
            dpadded_BJX[:, seen].addcmul_(dtap_BLX, weight_X)
            dweights_X.append((dtap_BLX * padded_BJX[:, seen]).flatten(0, 1).sum(0))
        dweight_KX = torch.stack(dweights_X)
        if ctx.cuts is not None:
            dweight_KX += (d_F1X * ctx.cuts.taps(padded_BJX)).sum(0)
            ctx.cuts.add_(dpadded_BJX, d_F1X * weight_KX)
        return dpadded_BJX, dweight_KX.t()[:, None], dbias_X, None, None


def _tap(padded_BJX, k: int, length: int, keep_KBL1):
    """What all tokens see through tap k."""
    seen_BLX = padded_BJX[:, k : k + length]
    return seen_BLX if keep_KBL1 is None else seen_BLX * keep_KBL1[k]


def conv_silu(padded_BJX, weight_X1K, bias_X, cuts: Cuts | Tensor | None = None):
    """silu of a causal depthwise convolution.

    `padded_BJX`: rows of L tokens, each behind the K - 1 that come before it; `cuts`: the tokens among the L to
    which a reset leaves fewer taps, or which taps it leaves to each, keep_KBL1 of 0 and 1; None: all.  Returns y_BLX.
    """
    few = isinstance(cuts, Cuts)
    return _ConvSilu.apply(padded_BJX, weight_X1K, bias_X, cuts if few else None, None if few else cuts)

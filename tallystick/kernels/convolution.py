"""silu of a causal depthwise convolution over packed rows, with its gradient written out.

A convolution must not reach back over a reset. A CPU convolves as if there were none, and then recomputes the few
tokens after each reset (`conv_silu` with `CutTokens`). On a GPU, where value-dependent shapes force a wait, every tap
of every token is masked instead (`conv_silu_masked`).

As a sum over taps, the forward pass takes 80 ns per token at X = 160 and the backward pass 400; torch's conv1d takes
280 and 2600 (8192 tokens, one EPYC core, torch 2.13).

Glossary: B batch, L length, K taps (width of the convolution), J = K - 1 + L tokens visible to a call, X channels,
F tokens that follow a reset closely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tallystick.kernels.precision import in_fp32


@dataclass(frozen=True)
class CutTokens:
    """The F tokens whose convolution would reach back over a reset, and the taps that each may use."""

    row_F1: Tensor
    """Row of each token, int64."""
    place_FK: Tensor
    """Places of each token's taps among the row's J tokens, int64."""
    keep_FK1: Tensor
    """Whether each place lies on the token's side of the reset, bool."""

    @property
    def index(self) -> tuple[Tensor, Tensor]:
        """Row and position of the F tokens, as an index into [B, L]."""
        return self.row_F1[:, 0], self.place_FK[:, 0]

    def seen(self, padded_BJX: Tensor) -> Tensor:
        """Gather the taps' inputs, [F, K, X]; zero beyond a reset."""
        return padded_BJX[self.row_F1, self.place_FK] * self.keep_FK1

    def add_to(self, padded_BJX: Tensor, seen_FKX: Tensor) -> None:
        """Scatter-add the taps' values to their places, in place: the transpose of `seen`."""
        padded_BJX.index_put_((self.row_F1, self.place_FK), seen_FKX * self.keep_FK1, accumulate=True)


class _ConvSilu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, padded_BJX: Tensor, weight_X1K: Tensor, bias_X: Tensor, cut: CutTokens | None) -> Tensor:
        weight_KX = _taps_first(weight_X1K)
        length = padded_BJX.shape[1] - len(weight_KX) + 1
        before_BLX = torch.addcmul(bias_X, padded_BJX[:, :length], weight_KX[0])
        for k in range(1, len(weight_KX)):
            before_BLX.addcmul_(padded_BJX[:, k : k + length], weight_KX[k])
        if cut is not None:
            before_BLX[cut.index] = (cut.seen(padded_BJX) * weight_KX).sum(1) + bias_X
        ctx.cut = cut
        ctx.save_for_backward(padded_BJX, weight_KX, before_BLX)
        return F.silu(before_BLX)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy_BLX: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        padded_BJX, weight_KX, before_BLX = ctx.saved_tensors
        cut: CutTokens | None = ctx.cut
        d_BLX = torch.ops.aten.silu_backward(dy_BLX, before_BLX)
        dbias_X = d_BLX.flatten(0, 1).sum(0)
        if cut is None:
            dpadded_BJX, dweight_KX = _convolution_gradients(d_BLX, padded_BJX, weight_KX)
        else:
            d_F1X = d_BLX[cut.index][:, None]
            d_BLX[cut.index] = 0.0
            dpadded_BJX, dweight_KX = _convolution_gradients(d_BLX, padded_BJX, weight_KX)
            dweight_KX += (d_F1X * cut.seen(padded_BJX)).sum(0)
            cut.add_to(dpadded_BJX, d_F1X * weight_KX)
        return dpadded_BJX, dweight_KX.t()[:, None], dbias_X, None


class _ConvSiluMasked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, padded_BJX: Tensor, weight_X1K: Tensor, bias_X: Tensor, keep_KBL1: Tensor) -> Tensor:
        weight_KX = _taps_first(weight_X1K)
        length = keep_KBL1.shape[2]
        before_BLX = torch.addcmul(bias_X, padded_BJX[:, :length] * keep_KBL1[0], weight_KX[0])
        for k in range(1, len(weight_KX)):
            before_BLX.addcmul_(padded_BJX[:, k : k + length] * keep_KBL1[k], weight_KX[k])
        ctx.save_for_backward(padded_BJX, weight_KX, before_BLX, keep_KBL1)
        return F.silu(before_BLX)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy_BLX: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        padded_BJX, weight_KX, before_BLX, keep_KBL1 = ctx.saved_tensors
        d_BLX = torch.ops.aten.silu_backward(dy_BLX, before_BLX)
        dbias_X = d_BLX.flatten(0, 1).sum(0)
        dpadded_BJX, dweight_KX = _convolution_gradients(d_BLX, padded_BJX, weight_KX, keep_KBL1)
        return dpadded_BJX, dweight_KX.t()[:, None], dbias_X, None


def _taps_first(weight_X1K: Tensor) -> Tensor:
    """Return the weights as a contiguous [K, X]; with strided taps each pass would take four times as long."""
    return weight_X1K[:, 0].t().contiguous()


def _convolution_gradients(
    d_BLX: Tensor, padded_BJX: Tensor, weight_KX: Tensor, keep_KBL1: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the gradients of a convolution's input and weights, given that of its output."""
    dpadded_BJX = torch.zeros_like(padded_BJX)
    dweights_X = []
    for k, weight_X in enumerate(weight_KX):
        seen = slice(k, k + d_BLX.shape[1])
        dtap_BLX = d_BLX if keep_KBL1 is None else d_BLX * keep_KBL1[k]
        dpadded_BJX[:, seen].addcmul_(dtap_BLX, weight_X)
        dweights_X.append((dtap_BLX * padded_BJX[:, seen]).flatten(0, 1).sum(0))
    return dpadded_BJX, torch.stack(dweights_X)


@in_fp32
def conv_silu(padded_BJX: Tensor, weight_X1K: Tensor, bias_X: Tensor, cut: CutTokens | None = None) -> Tensor:
    """Return silu of a causal depthwise convolution, y_BLX.

    padded_BJX: rows of L tokens, preceded by the K - 1 earlier tokens.
    cut: the tokens that follow a reset closely; None if there is no reset.
    """
    return _ConvSilu.apply(padded_BJX, weight_X1K, bias_X, cut)


@in_fp32
def conv_silu_masked(padded_BJX: Tensor, weight_X1K: Tensor, bias_X: Tensor, keep_KBL1: Tensor) -> Tensor:
    """Return silu of a causal depthwise convolution, y_BLX, with only the taps where `keep_KBL1` (bool) is true."""
    return _ConvSiluMasked.apply(padded_BJX, weight_X1K, bias_X, keep_KBL1)

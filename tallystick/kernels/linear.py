"""`x @ W.T` by the faster of torch's two matrix libraries.

On CPU torch multiplies fp32 matrices by MKL, which is slow on AMD.  oneDNN, which torch carries too, gives the
same numbers 2.5 times as fast there (8192 x 64 by 64 x 292, one EPYC core: 190 ns a row against 540).

Glossary: D inputs, E outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FEWEST_ROWS = 128  # oneDNN takes 10 microseconds to start
# Not a public function of torch, though there since 2.0: its absence costs speed, no more.
ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _product(x: Tensor, weight_ED: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight_ED, None, "none", [], "")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight_ED):
        ctx.save_for_backward(x, weight_ED)
        return _product(x, weight_ED)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):
        x, weight_ED = ctx.saved_tensors
        # Tokens times tokens MKL is the faster: oneDNN copies both to turn them.
        return _product(dy, weight_ED.t()), dy.flatten(0, -2).t() @ x.flatten(0, -2)


def linear(x: Tensor, weight_ED: Tensor) -> Tensor:
    """`F.linear` without bias: `x` [..., D] -> [..., E]."""
    long = x.numel() >= FEWEST_ROWS * x.shape[-1]
    if long and ONEDNN and x.device.type == "cpu" and x.dtype == weight_ED.dtype == torch.float32:
        return _Linear.apply(x, weight_ED)
    return F.linear(x, weight_ED)

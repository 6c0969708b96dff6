"""`x @ W.T` by oneDNN, the faster of torch's two matrix libraries on many CPUs.

On a CPU torch multiplies fp32 matrices by MKL, which is slow on AMD. oneDNN, which torch also contains, gives the same
numbers 2.5 times as fast there (8192 x 64 by 64 x 292, one EPYC core: 190 ns per row against 540).

Glossary: D inputs, E outputs; `x` and its gradient are [..., D], `dy` is [..., E].
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

MIN_ROWS = 128
"""Minimum number of rows for oneDNN, a call of which costs 10 microseconds more."""
ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""Whether torch has oneDNN's product. It has existed since 2.0 but is not public, so `F.linear` is the fallback."""


def _product(x: Tensor, weight_ED: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight_ED, None, "none", [], "")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_ED: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight_ED)
        return _product(x, weight_ED)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
        x, weight_ED = ctx.saved_tensors
        # MKL computes the weights' gradient, since oneDNN would copy both matrices to transpose them
        return _product(dy, weight_ED.t()), dy.flatten(0, -2).t() @ x.flatten(0, -2)


def linear(x: Tensor, weight_ED: Tensor) -> Tensor:
    """Return `x @ weight.T`, like `F.linear` without bias: [..., D] -> [..., E]."""
    fp32 = x.dtype == weight_ED.dtype == torch.float32 and not torch.is_autocast_enabled(x.device.type)
    long = x.numel() >= MIN_ROWS * x.shape[-1]
    if long and ONEDNN and x.device.type == "cpu" and fp32:
        return _Linear.apply(x, weight_ED)
    return F.linear(x, weight_ED)

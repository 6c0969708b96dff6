"""A stack of gated causal convolutions: a Mamba without its scan, which sees a fixed number of last tokens.

Sources: Dauphin et al. 2017, arXiv 1612.08083 (gated convolutions); Yu and Wang 2024, arXiv 2405.07992 (MambaOut, whose
block is Mamba's without the scan).

Glossary: B batch, L length, D model width, E inner width (expand * D), K convolution width - 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from tallystick.kernels.linear import linear
from tallystick.kernels.rms_norm import EPS, rms_norm
from tallystick.models.config import FACTORS, ShortConvolutionConfig
from tallystick.models.state_space import ConvolutionModel, PackedRows
from tallystick.ranges import ranged


class Conv(ConvolutionModel):
    """Gated causal convolutions, which see the last 1 + n_layer (d_conv - 1) tokens; constant state.

    State, for block i: `conv.i` [B, K, E], the convolution's inputs at the last K tokens.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(ShortConvolutionConfig):
        """Sizes of the blocks."""

        expand: int = ranged(2, *FACTORS)
        """Ratio of the inner width to d_model."""

        @property
        def d_inner(self) -> int:
            """Inner width of a block."""
            return self.expand * self.d_model

        @property
        def field(self) -> int:
            """Number of last tokens that decide what the model says."""
            return 1 + self.n_layer * (self.d_conv - 1)

    config: Config
    PRESETS = {
        "tiny": {"n_layer": 2, "d_model": 64},
        "small": {"n_layer": 4, "d_model": 128},
    }
    verify_chunk = 8192

    def __init__(self, config: Config):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.RMSNorm(config.d_model, eps=EPS)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)


class Block(nn.Module):
    """A block that computes x + out_proj(silu(conv(in_proj(norm(x)))) * silu(z))."""

    def __init__(self, config: Conv.Config):
        super().__init__()
        inner = config.d_inner
        self.norm = nn.RMSNorm(config.d_model, eps=EPS)
        self.in_proj = nn.Linear(config.d_model, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, config.d_conv, groups=inner)
        self.out_proj = nn.Linear(inner, config.d_model, bias=False)
        self.out_proj.weight.data /= math.sqrt(config.n_layer)

    def init_state(self, batch: int) -> tuple[Tensor]:
        """Return the convolution's inputs before the first token, [B, K, E]."""
        return (self.norm.weight.new_zeros(batch, self.conv.kernel_size[0] - 1, self.conv.in_channels),)

    def forward(self, x_BLD: Tensor, tail_BKE: Tensor, rows: PackedRows) -> tuple[Tensor, Tensor]:
        x_BLE, z_BLE = linear(rms_norm(x_BLD, self.norm.weight), self.in_proj.weight).chunk(2, dim=-1)
        x_BLE, tail_BKE = rows.convolve(tail_BKE, x_BLE, self.conv)
        return x_BLD + linear(x_BLE * F.silu(z_BLE), self.out_proj.weight), tail_BKE

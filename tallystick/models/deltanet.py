"""Gated DeltaNet (Yang et al. 2024, arXiv 2412.06464): a matrix state that decays and overwrites by key.

Glossary: B batch, L length, D model width, H heads, N entries of a key and P of a value (both D / H), X convolved
channels (3 D: queries, keys and values), K convolution width - 1, J = K + L tokens visible to a call's convolution,
M outputs of in_proj (4 D + 2 H: qkv, z, dt, beta).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tallystick.kernels.gated_delta import gated_delta_chunked
from tallystick.kernels.linear import linear
from tallystick.kernels.rms_norm import EPS, rms_norm
from tallystick.models.config import COUNTS, FACTORS, ConvolutionConfig, HeadsConfig
from tallystick.models.state_space import PackedRows, StateSpaceBlock, StateSpaceModel, initial_dt_bias
from tallystick.models.transformer import GatedMLP, initialise
from tallystick.ranges import ranged


class GatedDeltaNet(StateSpaceModel):
    """Gated DeltaNet, whose matrix state decays and overwrites by key; constant state.

    State, for block i: `conv.i` [B, K, X] and `delta.i` [B, H, P, N].
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(ConvolutionConfig, HeadsConfig):
        """Sizes of the blocks; a head's state has (d_model / n_head)^2 entries."""

        n_head: int = ranged(4, *COUNTS)
        mlp_ratio: int = ranged(2, *FACTORS)

    config: Config
    PRESETS = {
        "tiny": {"n_layer": 2, "d_model": 64, "n_head": 4},
        "small": {"n_layer": 2, "d_model": 128, "n_head": 4},
        "paper": {"n_layer": 24, "d_model": 768, "n_head": 6, "dt_min": 0.001, "dt_max": 0.1},
    }
    TRAINING = {"lr": 3e-3}
    verify_chunk = 2048

    def __init__(self, config: Config):
        super().__init__(config, Block, recurrence="delta")
        initialise(self, config.n_layer)


class Block(StateSpaceBlock):
    """A block that computes mlp(x + delta_out(norm(rule(conv(qkv(norm(x))))) * silu(z)))."""

    def __init__(self, config: GatedDeltaNet.Config):
        super().__init__()
        width, heads = config.d_model, config.n_head
        self.sizes = (3 * width, width, heads, heads)  # of qkv, z, dt, beta
        self.norm = nn.RMSNorm(width, eps=EPS)
        self.in_proj = nn.Linear(width, sum(self.sizes), bias=False)
        self.conv = nn.Conv1d(3 * width, 3 * width, config.d_conv, groups=3 * width)
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.dt_bias = nn.Parameter(initial_dt_bias(heads, config.dt_min, config.dt_max))
        self.gate_norm = nn.RMSNorm(width // heads, eps=EPS)
        self.delta_out = nn.Linear(width, width, bias=False)
        self.mlp = GatedMLP(width, config.mlp_ratio * width)
        for parameter in (self.A_log, self.dt_bias):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]

    def forward(
        self, x_BLD: Tensor, tail_BKX: Tensor, state_BHPN: Tensor, rows: PackedRows
    ) -> tuple[Tensor, Tensor, Tensor]:
        mixed_BLM = linear(rms_norm(x_BLD, self.norm.weight), self.in_proj.weight)
        qkv_BLX, z_BLD, dt_BLH, beta_BLH = mixed_BLM.split(self.sizes, dim=-1)
        qkv_BLX, tail_BKX = rows.convolve(tail_BKX, qkv_BLX, self.conv)
        q_BLHN, k_BLHN, v_BLHP = qkv_BLX.unflatten(-1, (3, len(self.A_log), -1)).unbind(2)
        q_BLHN, k_BLHN = F.normalize(q_BLHN, dim=-1), F.normalize(k_BLHN, dim=-1)
        log_decay_BLH = rows.zero_uncounted(-F.softplus(dt_BLH + self.dt_bias) * self.A_log.exp())
        beta_BLH = rows.zero_uncounted(beta_BLH.sigmoid())
        y_BLHP, state_BHPN = gated_delta_chunked(
            q_BLHN, k_BLHN, v_BLHP, log_decay_BLH, beta_BLH, state_BHPN, rows.reset_BL
        )
        y_BLD = rms_norm(y_BLHP, self.gate_norm.weight).flatten(2) * F.silu(z_BLD)
        return self.mlp(x_BLD + linear(y_BLD, self.delta_out.weight)), tail_BKX, state_BHPN

    def init_state(self, batch: int) -> tuple[Tensor, Tensor]:
        (heads,), size = self.A_log.shape, len(self.gate_norm.weight)
        conv_BKX = self.A_log.new_zeros(batch, self.conv.kernel_size[0] - 1, self.sizes[0])
        return conv_BKX, self.A_log.new_zeros(batch, heads, size, size)

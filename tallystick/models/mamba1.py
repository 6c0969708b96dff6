"""Mamba (Gu and Dao 2023, arXiv 2312.00752): every channel has its own decays, and the step size depends on the input.

Glossary: B batch, L length, D model width, E inner width (expand * D), N state size (d_state), M = 2 N: B and C
side by side, R rank of the step size's projection, K convolution width - 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tallystick.kernels import gpu
from tallystick.kernels.linear import linear
from tallystick.kernels.rms_norm import EPS, rms_norm
from tallystick.kernels.selective_scan import selective_scan_chunked
from tallystick.models.config import MambaConfig
from tallystick.models.state_space import (
    PackedRows,
    StateSpaceBlock,
    StateSpaceModel,
    decay_rate,
    initial_dt_bias,
    step_size,
)

MAX_KERNEL_STATE = 32
"""Maximum number of state entries of a channel for which a GPU's registers have room."""


class Mamba1(StateSpaceModel):
    """Mamba-1, whose channels have separate decays; constant state.

    Initialised as in mamba_ssm. State, for block i: `conv.i` [B, K, E] and `ssm.i` [B, E, N].
    """

    Config = MambaConfig
    config: MambaConfig

    PRESETS = {
        "tiny": {"n_layer": 2, "d_model": 64, "d_state": 16},
        "small": {"n_layer": 2, "d_model": 128, "d_state": 16},
        "paper": {"n_layer": 24, "d_model": 768, "d_state": 16, "dt_min": 0.001, "dt_max": 0.1},
    }
    TRAINING = {"batch_size": 32, "seq_len": 64}
    verify_batch_size, verify_chunk = 8, 128

    def __init__(self, config: MambaConfig):
        super().__init__(config, Block, recurrence="ssm")
        nn.init.normal_(self.embedding.weight, std=0.02)
        if config.tied:
            self.head.weight = self.embedding.weight


class Block(StateSpaceBlock):
    """A block that computes x + out_proj(scan(conv(in_proj(norm(x)))) * silu(z))."""

    def __init__(self, config: MambaConfig):
        super().__init__()
        inner, rank = config.d_inner, math.ceil(config.d_model / 16)
        self.sizes = (rank, config.d_state, config.d_state)  # of dt, B, C
        self.dt_floor = config.dt_floor
        self.norm = nn.RMSNorm(config.d_model, eps=EPS)
        self.in_proj = nn.Linear(config.d_model, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, config.d_conv, groups=inner)
        self.x_proj = nn.Linear(inner, sum(self.sizes), bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        self.dt_proj.bias.data = initial_dt_bias(inner, config.dt_min, config.dt_max)
        self.A_log = nn.Parameter(torch.arange(1.0, config.d_state + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, config.d_model, bias=False)
        self.out_proj.weight.data /= math.sqrt(config.n_layer)
        for parameter in (self.A_log, self.D):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]

    def forward(
        self, x_BLD: Tensor, tail_BKE: Tensor, state_BEN: Tensor, rows: PackedRows
    ) -> tuple[Tensor, Tensor, Tensor]:
        x_BLE, z_BLE = linear(rms_norm(x_BLD, self.norm.weight), self.in_proj.weight).chunk(2, dim=-1)
        x_BLE, tail_BKE = rows.convolve(tail_BKE, x_BLE, self.conv)
        y_BLE, state_BEN = self._scan(x_BLE, z_BLE, state_BEN, rows)
        return x_BLD + linear(y_BLE, self.out_proj.weight), tail_BKE, state_BEN

    def _scan(self, x_BLE: Tensor, z_BLE: Tensor, state_BEN: Tensor, rows: PackedRows) -> tuple[Tensor, Tensor]:
        """Return scan(x) * silu(z), and the new state."""
        A_EN, (rank, entries, _) = decay_rate(self.A_log, self.dt_floor), self.sizes
        dt_BLR, BC_BLM = linear(x_BLE, self.x_proj.weight).split((rank, 2 * entries), dim=-1)
        kernels = gpu.load("scan_triton", x_BLE) if entries <= MAX_KERNEL_STATE else None
        if kernels is not None:
            raw_dt_BLE, masks = linear(dt_BLR, self.dt_proj.weight), (rows.reset_BL, rows.length_B, self.dt_floor)
            scan = raw_dt_BLE, self.dt_proj.bias, A_EN, BC_BLM, self.D, state_BEN
            return kernels.gated_scan(x_BLE, z_BLE, *scan, *masks)
        B_BLN, C_BLN = BC_BLM.chunk(2, dim=-1)
        dt_BLE = rows.zero_uncounted(step_size(self.dt_proj(dt_BLR), self.dt_floor))
        y_BLE, state_BEN = selective_scan_chunked(x_BLE, dt_BLE, A_EN, B_BLN, C_BLN, state_BEN, rows.reset_BL)
        return (y_BLE + x_BLE * self.D) * F.silu(z_BLE), state_BEN

    def init_state(self, batch: int) -> tuple[Tensor, Tensor]:
        inner, states = self.A_log.shape
        return self.D.new_zeros(batch, self.conv.kernel_size[0] - 1, inner), self.D.new_zeros(batch, inner, states)

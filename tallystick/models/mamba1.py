"""Mamba (Gu and Dao 2023, arXiv 2312.00752): every channel has its own decays, the input chooses the step size.

Glossary: B batch, L length, V vocabulary, D model width, E inner width (expand * D), N state size (d_state),
R rank of the step size's projection, K convolution width - 1, J = K + L tokens that a call's convolution sees.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tallystick.kernels.fused import conv_silu, rms_norm
from tallystick.kernels.linear import linear
from tallystick.kernels.selective import selective_scan_chunked
from tallystick.models.base import Model, State
from tallystick.models.config import MambaConfig
from tallystick.models.mamba2 import Spans, initial_dt_bias


class Mamba1(Model):
    """The first Mamba: each channel has decays of its own; constant state. Initialised as mamba_ssm does.

    State, for each layer: `conv.i`, the last tokens before the convolution, and `ssm.i`, the scan's state.
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
    capturable = True

    def __init__(self, config: MambaConfig):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.RMSNorm(config.d_model, eps=1e-5)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.02)
        if config.tied:
            self.head.weight = self.embedding.weight

    def forward(self, ids_BL, state=None, *, reset_BL=None, length_B=None):
        state = self.init_state(len(ids_BL)) if state is None else state
        spans = Spans(ids_BL, reset_BL, length_B, self.config.d_conv - 1)
        x_BLD, new = self.embedding(ids_BL), {}
        for i, layer in enumerate(self.layers):
            x_BLD, new[f"conv.{i}"], new[f"ssm.{i}"] = layer(x_BLD, state[f"conv.{i}"], state[f"ssm.{i}"], spans)
        return linear(rms_norm(x_BLD, self.norm.weight, self.norm.eps), self.head.weight), new

    def init_state(self, batch: int) -> State:
        config, state = self.config, {}
        inner = config.expand * config.d_model
        for i in range(config.n_layer):
            state[f"conv.{i}"] = self.embedding.weight.new_zeros(batch, config.d_conv - 1, inner)
            state[f"ssm.{i}"] = self.embedding.weight.new_zeros(batch, inner, config.d_state)
        return state

    def state_bytes(self, length: int) -> int:
        return sum(tensor.nbytes for tensor in self.init_state(1).values())


class Block(nn.Module):
    """x + out_proj(scan(conv(in_proj(norm(x)))) * silu(z))."""

    def __init__(self, config: MambaConfig):
        super().__init__()
        inner, rank = config.expand * config.d_model, math.ceil(config.d_model / 16)
        self.sizes = (rank, config.d_state, config.d_state)  # of dt, B, C
        self.norm = nn.RMSNorm(config.d_model, eps=1e-5)
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

    def forward(self, x_BLD: Tensor, tail_BKE: Tensor, state_BEN: Tensor, spans: Spans):
        x_BLE, z_BLE = linear(rms_norm(x_BLD, self.norm.weight, self.norm.eps), self.in_proj.weight).chunk(2, dim=-1)
        padded_BJE = torch.cat([tail_BKE, x_BLE], dim=1)
        x_BLE = conv_silu(padded_BJE, self.conv.weight, self.conv.bias, spans.cuts)
        dt_BLR, B_BLN, C_BLN = linear(x_BLE, self.x_proj.weight).split(self.sizes, dim=-1)
        dt_BLE = F.softplus(self.dt_proj(dt_BLR))
        if spans.count_BL is not None:
            dt_BLE = dt_BLE * spans.count_BL[..., None]
        A_EN = -self.A_log.exp()
        y_BLE, state_BEN = selective_scan_chunked(x_BLE, dt_BLE, A_EN, B_BLN, C_BLN, state_BEN, spans.reset_BL)
        y_BLE = (y_BLE + x_BLE * self.D) * F.silu(z_BLE)
        return x_BLD + linear(y_BLE, self.out_proj.weight), spans.tail(padded_BJE), state_BEN

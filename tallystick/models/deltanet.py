"""Gated DeltaNet (Yang et al. 2024, arXiv 2412.06464): a state that forgets by a decay and overwrites by key.

Glossary: B batch, L length, V vocabulary, D model width, H heads, N entries of a key and P of a value (both D / H),
X convolved channels (3 D: queries, keys and values), K convolution width - 1, J = K + L.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tallystick.kernels.delta import gated_delta_chunked
from tallystick.kernels.fused import conv_silu, rms_norm
from tallystick.kernels.linear import linear
from tallystick.models.base import Model, State
from tallystick.models.config import COUNTS, FACTORS, ConvolutionConfig, HeadsConfig, ranged
from tallystick.models.mamba2 import Spans, initial_dt_bias
from tallystick.models.transformer import GatedMLP, initialise


class GatedDeltaNet(Model):
    """A matrix as state that forgets by a decay and overwrites by key; constant state.

    State, for each layer: `conv.i`, the last tokens before the convolution, and `delta.i`, values by keys.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(ConvolutionConfig, HeadsConfig):
        """Sizes: a head's state has (d_model / n_head)^2 entries."""

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
    capturable = True

    def __init__(self, config: Config):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.RMSNorm(config.d_model, eps=1e-5)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        initialise(self, config.n_layer)

    def forward(self, ids_BL, state=None, *, reset_BL=None, length_B=None):
        state = self.init_state(len(ids_BL)) if state is None else state
        spans = Spans(ids_BL, reset_BL, length_B, self.config.d_conv - 1)
        x_BLD, new = self.embedding(ids_BL), {}
        for i, layer in enumerate(self.layers):
            x_BLD, new[f"conv.{i}"], new[f"delta.{i}"] = layer(x_BLD, state[f"conv.{i}"], state[f"delta.{i}"], spans)
        return linear(rms_norm(x_BLD, self.norm.weight, self.norm.eps), self.head.weight), new

    def init_state(self, batch: int) -> State:
        config, state = self.config, {}
        size = config.d_model // config.n_head
        for i in range(config.n_layer):
            state[f"conv.{i}"] = self.embedding.weight.new_zeros(batch, config.d_conv - 1, 3 * config.d_model)
            state[f"delta.{i}"] = self.embedding.weight.new_zeros(batch, config.n_head, size, size)
        return state

    def state_bytes(self, length: int) -> int:
        return sum(tensor.nbytes for tensor in self.init_state(1).values())


class Block(nn.Module):
    """mlp(x + delta_out(norm(rule(conv(qkv(norm(x))))) * silu(z)))."""

    def __init__(self, config: GatedDeltaNet.Config):
        super().__init__()
        width, heads = config.d_model, config.n_head
        self.sizes = (3 * width, width, heads, heads)  # qkv, z, dt, beta
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.in_proj = nn.Linear(width, sum(self.sizes), bias=False)
        self.conv = nn.Conv1d(3 * width, 3 * width, config.d_conv, groups=3 * width)
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.dt_bias = nn.Parameter(initial_dt_bias(heads, config.dt_min, config.dt_max))
        self.gate_norm = nn.RMSNorm(width // heads, eps=1e-5)
        self.delta_out = nn.Linear(width, width, bias=False)
        self.mlp = GatedMLP(width, config.mlp_ratio * width)
        for parameter in (self.A_log, self.dt_bias):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]

    def forward(self, x_BLD: Tensor, tail_BKX: Tensor, state_BHPN: Tensor, spans: Spans):
        mixed_BLC = linear(rms_norm(x_BLD, self.norm.weight, self.norm.eps), self.in_proj.weight)
        qkv_BLX, z_BLD, dt_BLH, beta_BLH = mixed_BLC.split(self.sizes, dim=-1)
        padded_BJX = torch.cat([tail_BKX, qkv_BLX], dim=1)
        qkv_BLX = conv_silu(padded_BJX, self.conv.weight, self.conv.bias, spans.cuts)
        q_BLHN, k_BLHN, v_BLHP = qkv_BLX.unflatten(-1, (3, len(self.A_log), -1)).unbind(2)
        q_BLHN, k_BLHN = F.normalize(q_BLHN, dim=-1), F.normalize(k_BLHN, dim=-1)
        log_decay_BLH, beta_BLH = -F.softplus(dt_BLH + self.dt_bias) * self.A_log.exp(), beta_BLH.sigmoid()
        if spans.count_BL is not None:
            log_decay_BLH, beta_BLH = (t * spans.count_BL[..., None] for t in (log_decay_BLH, beta_BLH))
        y_BLHP, state_BHPN = gated_delta_chunked(
            q_BLHN, k_BLHN, v_BLHP, log_decay_BLH, beta_BLH, state_BHPN, spans.reset_BL
        )
        y_BLD = rms_norm(y_BLHP, self.gate_norm.weight, self.gate_norm.eps).flatten(2) * F.silu(z_BLD)
        return self.mlp(x_BLD + linear(y_BLD, self.delta_out.weight)), spans.tail(padded_BJX), state_BHPN

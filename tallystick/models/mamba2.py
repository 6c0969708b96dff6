"""Mamba-2 (Dao and Gu 2024, arXiv 2405.21060): blocks of convolution, state space scan and gate.

Glossary: B batch, L length, V vocabulary, D model width, E inner width (expand * D), H heads, P head dim
(E = H * P), N state size (d_state), X convolved channels (E + 2 N: x, B and C), K convolution width - 1,
J = K + L tokens that a call's convolution sees, F some tokens, M all that in_proj makes (E + X + H: z, xBC, dt).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tallystick.kernels.fused import Cuts, conv_silu, rms_norm
from tallystick.kernels.linear import linear
from tallystick.kernels.reference import ssd_recurrent
from tallystick.kernels.ssd import ssd_chunked
from tallystick.models.base import Model, State
from tallystick.models.config import WIDTHS, MambaConfig, check_divides, ranged

NUMBA = find_spec("numba") is not None
LARGEST_STATE = 2**15  # entries of a row; larger ones leave a core's cache, and chunks are as fast as machine code
LONGEST_LOOP = 8  # tokens; from here on the chunked scan is faster than the loop (1 to 64 rows, tiny, one core)


class Mamba2(Model):
    """Constant state, linear time; initialised as mamba_ssm does.

    State, for each layer: `conv.i`, the last tokens before the convolution, and `ssm.i`, the scan's state.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MambaConfig):
        """Sizes."""

        head_dim: int = ranged(32, *WIDTHS)
        """Channels that share one decay; divides expand * d_model."""

        def __post_init__(self) -> None:
            super().__post_init__()
            check_divides(self, "head_dim", "d_inner")

    config: Config
    PRESETS = {
        "tiny": {"n_layer": 2, "d_model": 64, "d_state": 16},
        "small": {"n_layer": 2, "d_model": 128, "d_state": 16},
        "paper": {"n_layer": 24, "d_model": 768, "d_state": 128, "head_dim": 64, "dt_min": 0.001, "dt_max": 0.1},
    }
    verify_chunk = 8192
    capturable = True

    def __init__(self, config: Config):
        super().__init__(config)
        self.verify_chunk_gpu = 2**23 // config.d_model  # tiny: 131,072 tokens, and about a gigabyte for any width
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
        state = {}
        for i in range(self.config.n_layer):
            state[f"conv.{i}"], state[f"ssm.{i}"] = empty(self.config, batch, self.embedding.weight)
        return state

    def state_bytes(self, length: int) -> int:
        return sum(tensor.nbytes for tensor in self.init_state(1).values())


def empty(config: Mamba2.Config, batch: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """A block's state before the first token: the convolution's, the scan's."""
    inner = config.expand * config.d_model
    conv = like.new_zeros(batch, config.d_conv - 1, inner + 2 * config.d_state)
    return conv, like.new_zeros(batch, inner // config.head_dim, config.head_dim, config.d_state)


class Spans:
    """Which tokens count and where sequences start; worked out once for all layers.

    `length_B`, `count_BL`: the tokens that count; None: all.  `reset_BL`: resets among them; None: none.  `cuts`:
    which convolutions are cut by a reset, as `conv_silu` wants it; on a GPU a mask of all, for its shape is known
    before its values.  `end_BK`, `gone_BK1`: each row's last K tokens, counted with the K of
    the previous call before the row, and which of them a reset has made forget; None: simply the last, and none.
    """

    def __init__(self, ids_BL: Tensor, reset_BL: Tensor | None, length_B: Tensor | None, reach: int):
        (batch, length), device = ids_BL.shape, ids_BL.device
        self.reach, self.reset_BL, self.length_B = reach, reset_BL, length_B
        self.count_BL = self.cuts = self.end_BK = self.gone_BK1 = None
        if length_B is not None:
            self.count_BL = torch.arange(length, device=device) < length_B[:, None]
            self.reset_BL = None if reset_BL is None else reset_BL & self.count_BL
            self.end_BK = length_B[:, None] + torch.arange(reach, device=device)
        if self.reset_BL is not None:
            if self.end_BK is None:
                self.end_BK = torch.arange(length, length + reach, device=device).expand(batch, -1)
            self._find_cuts(self.reset_BL, self.end_BK)

    def _find_cuts(self, reset_BL: Tensor, end_BK: Tensor):
        position_L = torch.arange(self.reach, self.reach + reset_BL.shape[1], device=reset_BL.device)
        start_BL = torch.where(reset_BL, position_L, 0).cummax(1).values
        self.gone_BK1 = (end_BK < start_BL[:, -1:])[..., None]
        if reset_BL.is_cuda:
            tap_K11 = torch.arange(-self.reach, 1, device=reset_BL.device)[:, None, None]
            self.cuts = (position_L + tap_K11 >= start_BL)[..., None]
            return
        row_F, token_F = ((position_L - start_BL < self.reach) & (start_BL > 0)).nonzero(as_tuple=True)
        tap_FK = token_F[:, None] + torch.arange(self.reach + 1, device=row_F.device)
        self.cuts = Cuts(row_F[:, None], tap_FK, (tap_FK >= start_BL[row_F, token_F][:, None])[..., None])

    def tail(self, padded_BJX: Tensor) -> Tensor:
        """The K tokens that the next call's convolution reaches back to; zero before a reset."""
        if self.end_BK is None:
            return padded_BJX[:, -self.reach :].clone()
        row_B1 = torch.arange(len(padded_BJX), device=padded_BJX.device)[:, None]
        tail_BKX = padded_BJX[row_B1, self.end_BK]
        return tail_BKX if self.gone_BK1 is None else tail_BKX.masked_fill(self.gone_BK1, 0.0)


class Block(nn.Module):
    """x + out_proj(norm(scan(conv(in_proj(norm(x)))) * silu(z)))."""

    def __init__(self, config: Mamba2.Config):
        super().__init__()
        inner = config.expand * config.d_model
        self.sizes = (inner, inner + 2 * config.d_state, inner // config.head_dim)  # z, xBC, dt
        self.heads, self.d_state = inner // config.head_dim, config.d_state
        self.norm = nn.RMSNorm(config.d_model, eps=1e-5)
        self.in_proj = nn.Linear(config.d_model, sum(self.sizes), bias=False)
        self.conv = nn.Conv1d(self.sizes[1], self.sizes[1], config.d_conv, groups=self.sizes[1])
        self.A_log = nn.Parameter(torch.empty(self.heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(self.heads))
        self.dt_bias = nn.Parameter(initial_dt_bias(self.heads, config.dt_min, config.dt_max))
        self.gate_norm = nn.RMSNorm(inner, eps=1e-5)
        self.out_proj = nn.Linear(inner, config.d_model, bias=False)
        self.out_proj.weight.data /= math.sqrt(config.n_layer)
        for parameter in (self.A_log, self.D, self.dt_bias):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]

    def forward(self, x_BLD: Tensor, tail_BKX: Tensor, state_BHPN: Tensor, spans: Spans):
        mixed_BLM = linear(rms_norm(x_BLD, self.norm.weight, self.norm.eps), self.in_proj.weight)
        mix = self.mix_compiled if self.compiles(mixed_BLM) else self.mix
        y_BLE, tail_BKX, state_BHPN = mix(mixed_BLM, tail_BKX, state_BHPN, spans)
        return x_BLD + linear(y_BLE, self.out_proj.weight), tail_BKX, state_BHPN

    def compiles(self, mixed_BLM: Tensor) -> bool:
        """Whether `mix_compiled` can take it and is the faster."""
        fits = self.d_state % 2 == 0 and self.sizes[0] * self.d_state <= LARGEST_STATE
        return NUMBA and fits and mixed_BLM.device.type == "cpu" and mixed_BLM.dtype == torch.float32

    def mix_compiled(self, mixed_BLM, tail_BKX, state_BHPN, spans):
        """The same function as `mix`."""
        from tallystick.kernels.cpu import mamba2_mix  # here, because numba takes half a second to import

        convolution, scan = (self.conv.weight, self.conv.bias), (-self.A_log.exp(), self.D, self.dt_bias)
        norm, which = (self.gate_norm.weight, self.gate_norm.eps), (spans.reset_BL, spans.length_B)
        return mamba2_mix(mixed_BLM, tail_BKX, state_BHPN, *convolution, *scan, *norm, *which)

    def mix(self, mixed_BLM, tail_BKX, state_BHPN, spans):
        """What is between the projections: norm(scan(conv(xBC), dt) * silu(z)), and the states behind it."""
        z_BLE, xBC_BLX, dt_BLH = mixed_BLM.split(self.sizes, dim=-1)
        padded_BJX = torch.cat([tail_BKX, xBC_BLX], dim=1)
        xBC_BLX = conv_silu(padded_BJX, self.conv.weight, self.conv.bias, spans.cuts)
        dt_BLH = F.softplus(dt_BLH + self.dt_bias)
        if spans.count_BL is not None:
            dt_BLH = dt_BLH * spans.count_BL[..., None]
        y_BLHP, state_BHPN = self.scan(xBC_BLX, dt_BLH, state_BHPN, spans.reset_BL)
        # silu first: the product then takes its memory layout, which is the one that the norm needs.
        gated_BLE = (F.silu(z_BLE).view(y_BLHP.shape) * y_BLHP).flatten(2)
        y_BLE = rms_norm(gated_BLE, self.gate_norm.weight, self.gate_norm.eps)
        return y_BLE, spans.tail(padded_BJX), state_BHPN

    def scan(self, xBC_BLX, dt_BLH, state_BHPN, reset_BL):
        """The state space recurrence, by the faster of its two forms."""
        x_BLE, B_BLN, C_BLN = xBC_BLX.split((self.sizes[0], self.d_state, self.d_state), dim=-1)
        x_BLHP = x_BLE.unflatten(-1, (self.heads, -1))
        form = ssd_recurrent if xBC_BLX.shape[1] <= LONGEST_LOOP else ssd_chunked
        return form(x_BLHP, dt_BLH, -self.A_log.exp(), B_BLN, C_BLN, state_BHPN, reset_BL, self.D)


def initial_dt_bias(heads: int, least: float, most: float) -> Tensor:
    """softplus of it is log-uniform in [least, most]."""
    dt_H = torch.empty(heads).uniform_(math.log(least), math.log(most)).exp()
    return dt_H + torch.log(-torch.expm1(-dt_H))

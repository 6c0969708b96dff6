"""Mamba-2 (Dao and Gu 2024, arXiv 2405.21060): blocks of convolution, state space scan and gate.

Glossary: B batch, L length, D model width, E inner width (expand * D), H heads, P channels of a head (E = H * P),
N state size (d_state), X convolved channels (E + 2 N: x, B and C), K convolution width - 1, J = K + L tokens visible
to a call's convolution, M outputs of in_proj (E + X + H: z, xBC, dt).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from tallystick.kernels import gpu, numba_jit
from tallystick.kernels.linear import linear
from tallystick.kernels.reference import ssd_recurrent
from tallystick.kernels.rms_norm import EPS, gated_rms_norm, rms_norm
from tallystick.kernels.ssd import ssd_chunked
from tallystick.models.config import WIDTHS, MambaConfig, check_divides
from tallystick.models.state_space import (
    PackedRows,
    StateSpaceBlock,
    StateSpaceModel,
    decay_rate,
    initial_dt_bias,
    step_size,
)
from tallystick.ranges import ranged

MAX_COMPILED_STATE = 2**15
"""Maximum number of state entries of a sequence for which compiled loops are used; a larger state does not fit into a
core's cache, and matrix products over chunks are as fast."""
MAX_LOOP = 8
"""Maximum number of tokens for which the plain recurrence is faster than the chunked scan (tiny, batch size 1 to 64,
one core)."""
MAX_KERNEL_SIZE = 128
"""Maximum number of channels of a head, and of state entries of a channel, for which a GPU's kernels have room."""


class Mamba2(StateSpaceModel):
    """Mamba-2, whose heads share one decay among their channels; constant state.

    Initialised as in mamba_ssm. State, for block i: `conv.i` [B, K, X] and `ssm.i` [B, H, P, N].
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MambaConfig):
        """Sizes of the blocks."""

        head_dim: int = ranged(32, *WIDTHS)
        """Number of channels that share one decay; must divide expand * d_model."""
        A_max: float = ranged(16.0, 1.0, 1e3)
        """Largest initial A of a head, drawn uniformly from 1 on. With dt_floor=2 a head of A = 8 keeps less than a
        millionth of a token for the next, too little for training to find a use for it; with A_max=1 each head begins
        with the longest memory that the floor allows."""

        def __post_init__(self) -> None:
            super().__post_init__()
            check_divides(self, "head_dim", "d_inner")

    config: Config
    PRESETS = {
        "tiny": {"n_layer": 2, "d_model": 64, "d_state": 16},
        "small": {"n_layer": 2, "d_model": 128, "d_state": 16},
        "paper": {"n_layer": 24, "d_model": 768, "d_state": 128, "head_dim": 64, "dt_min": 0.001, "dt_max": 0.1},
    }
    verify_chunk, verify_rows_gpu = 8192, 8

    def __init__(self, config: Config):
        super().__init__(config, Block, recurrence="ssm")
        self.verify_chunk_gpu = 2**23 // config.d_model  # tiny: 131,072 tokens; about a gigabyte at any width
        nn.init.normal_(self.embedding.weight, std=0.02)
        if config.tied:
            self.head.weight = self.embedding.weight


class Block(StateSpaceBlock):
    """A block that computes x + out_proj(norm(scan(conv(in_proj(norm(x)))) * silu(z)))."""

    def __init__(self, config: Mamba2.Config):
        super().__init__()
        inner = config.d_inner
        self.sizes = (inner, inner + 2 * config.d_state, inner // config.head_dim)  # of z, xBC, dt
        self.heads, self.d_state, self.dt_floor = inner // config.head_dim, config.d_state, config.dt_floor
        self.norm = nn.RMSNorm(config.d_model, eps=EPS)
        self.in_proj = nn.Linear(config.d_model, sum(self.sizes), bias=False)
        self.conv = nn.Conv1d(self.sizes[1], self.sizes[1], config.d_conv, groups=self.sizes[1])
        self.A_log = nn.Parameter(torch.empty(self.heads).uniform_(1, config.A_max).log())
        self.D = nn.Parameter(torch.ones(self.heads))
        self.dt_bias = nn.Parameter(initial_dt_bias(self.heads, config.dt_min, config.dt_max))
        self.gate_norm = nn.RMSNorm(inner, eps=EPS)
        self.out_proj = nn.Linear(inner, config.d_model, bias=False)
        self.out_proj.weight.data /= math.sqrt(config.n_layer)
        for parameter in (self.A_log, self.D, self.dt_bias):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]

    def forward(
        self, x_BLD: Tensor, tail_BKX: Tensor, state_BHPN: Tensor, rows: PackedRows
    ) -> tuple[Tensor, Tensor, Tensor]:
        mixed_BLM = linear(rms_norm(x_BLD, self.norm.weight), self.in_proj.weight)
        mix = self.mix_compiled if self._can_compile(mixed_BLM) else self.mix
        y_BLE, tail_BKX, state_BHPN = mix(mixed_BLM, tail_BKX, state_BHPN, rows)
        return x_BLD + linear(y_BLE, self.out_proj.weight), tail_BKX, state_BHPN

    def init_state(self, batch: int) -> tuple[Tensor, Tensor]:
        inner, convolved, heads = self.sizes
        conv_BKX = self.D.new_zeros(batch, self.conv.kernel_size[0] - 1, convolved)
        return conv_BKX, self.D.new_zeros(batch, heads, inner // heads, self.d_state)

    def _A(self) -> Tensor:
        return decay_rate(self.A_log, self.dt_floor)

    def _can_compile(self, mixed_BLM: Tensor) -> bool:
        """Return whether `mix_compiled` supports this input and is faster than `mix`."""
        fits = self.d_state % 2 == 0 and self.sizes[0] * self.d_state <= MAX_COMPILED_STATE
        known = mixed_BLM.device.type == "cpu" and mixed_BLM.dtype == torch.float32
        return fits and known and load_compiled() is not None

    def mix_compiled(
        self, mixed_BLM: Tensor, tail_BKX: Tensor, state_BHPN: Tensor, rows: PackedRows
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute `mix` with compiled loops."""
        compiled = load_compiled()
        assert compiled is not None
        convolution, scan = (self.conv.weight, self.conv.bias), (self._A(), self.D, self.dt_bias)
        norm, masks = (self.gate_norm.weight, EPS), (rows.reset_BL, rows.length_B)
        return compiled(mixed_BLM, tail_BKX, state_BHPN, *convolution, *scan, *norm, *masks, self.dt_floor)

    def mix(
        self, mixed_BLM: Tensor, tail_BKX: Tensor, state_BHPN: Tensor, rows: PackedRows
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the part between the projections, norm(scan(conv(xBC), dt) * silu(z)), and the new states."""
        z_BLE, xBC_BLX, dt_BLH = mixed_BLM.split(self.sizes, dim=-1)
        xBC_BLX, tail_BKX = rows.convolve(tail_BKX, xBC_BLX, self.conv)
        y_BLHP, state_BHPN = self._scan(xBC_BLX, dt_BLH, state_BHPN, rows)
        return gated_rms_norm(y_BLHP, z_BLE, self.gate_norm.weight), tail_BKX, state_BHPN

    def _scan(self, xBC_BLX: Tensor, raw_dt_BLH: Tensor, state_BHPN: Tensor, rows: PackedRows) -> tuple[Tensor, Tensor]:
        """Run the scan in the fastest of its forms."""
        short, sizes = xBC_BLX.shape[1] <= MAX_LOOP, state_BHPN.shape[2:]
        kernels = None if short or max(sizes) > MAX_KERNEL_SIZE else gpu.load("ssd_triton", xBC_BLX)
        if kernels is not None:
            scan = self.dt_bias, self._A(), self.D, state_BHPN, rows.reset_BL, rows.length_B, self.dt_floor
            y_BLE, state_BHPN = kernels.ssd(xBC_BLX, raw_dt_BLH, *scan)
            return y_BLE.unflatten(-1, (self.heads, -1)), state_BHPN
        dt_BLH = rows.zero_uncounted(step_size(raw_dt_BLH + self.dt_bias, self.dt_floor))
        x_BLE, B_BLN, C_BLN = xBC_BLX.split((self.sizes[0], self.d_state, self.d_state), dim=-1)
        x_BLHP = x_BLE.unflatten(-1, (self.heads, -1))
        form = ssd_recurrent if short else ssd_chunked
        return form(x_BLHP, dt_BLH, self._A(), B_BLN, C_BLN, state_BHPN, rows.reset_BL, self.D)


@cache
def load_compiled() -> Callable[..., tuple[Tensor, Tensor, Tensor]] | None:
    """Import `mamba2_mix`; return None without numba, or, with one warning, if numba does not work."""
    compiled = numba_jit.load("tallystick.kernels.mamba2_numba")
    return compiled and compiled.mamba2_mix

"""The common parts of Mamba, Mamba-2, Gated DeltaNet and conv: the stack of blocks, convolutions over packed rows.

Glossary: B batch, L length, V vocabulary, D model width, H heads, X convolved channels, K convolution width - 1,
J = K + L tokens visible to a call's convolution, F tokens that follow a reset closely.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tallystick.kernels import gpu
from tallystick.kernels.convolution import CutTokens, conv_silu, conv_silu_masked
from tallystick.kernels.linear import linear
from tallystick.kernels.precision import in_fp32
from tallystick.kernels.rms_norm import EPS, rms_norm
from tallystick.models.base import Model, State
from tallystick.models.config import ConvolutionConfig, ShortConvolutionConfig


class PackedRows:
    """The valid tokens and the resets of a call's rows, computed once for all layers.

    length_B: number of valid tokens of each row; None means all.
    reset_BL: whether the state is zeroed before a token; None means never.
    """

    def __init__(
        self, ids_BL: Tensor, reset_BL: Tensor | None, length_B: Tensor | None, config: ShortConvolutionConfig
    ):
        self.length, self.reach, self.device = ids_BL.shape[1], config.d_conv - 1, ids_BL.device
        self.length_B, self.count_BL, self.reset_BL = length_B, None, reset_BL
        if length_B is not None:
            self.count_BL = torch.arange(self.length, device=self.device) < length_B[:, None]
            self.reset_BL = None if reset_BL is None else reset_BL & self.count_BL

    def zero_uncounted(self, t_BLH: Tensor) -> Tensor:
        """Zero the invalid tokens."""
        return t_BLH if self.count_BL is None else t_BLH * self.count_BL[..., None]

    def convolve(self, tail_BKX: Tensor, x_BLX: Tensor, conv: nn.Conv1d) -> tuple[Tensor, Tensor]:
        """Return silu of the causal convolution of the carried tail and x, [B, L, X], and the new tail.

        No token sees past a reset.
        """
        kernels = gpu.load("conv_triton", x_BLX)
        if kernels is None:
            padded_BJX = torch.cat([tail_BKX, x_BLX], dim=1)
            return self._convolve(padded_BJX, conv), self._tail(padded_BJX)
        y_BLX = kernels.conv_silu(x_BLX, tail_BKX, conv.weight, conv.bias, self.reset_BL)
        last_BLX = x_BLX[:, -self.reach :] if self.length_B is None else x_BLX
        return y_BLX, self._tail(torch.cat([tail_BKX, last_BLX], dim=1))

    def _convolve(self, padded_BJX: Tensor, conv: nn.Conv1d) -> Tensor:
        assert conv.bias is not None
        if self.reset_BL is None:
            return conv_silu(padded_BJX, conv.weight, conv.bias)
        if self.reset_BL.is_cuda:
            return conv_silu_masked(padded_BJX, conv.weight, conv.bias, self._keep_KBL1)
        return conv_silu(padded_BJX, conv.weight, conv.bias, self._cut_tokens)

    def _tail(self, padded_BJX: Tensor) -> Tensor:
        """Return the last K valid tokens, [B, K, X], for the next call's convolution; zero before a reset."""
        if self.length_B is None:
            tail_BKX = padded_BJX[:, -self.reach :].clone()
        else:
            row_B1 = torch.arange(len(padded_BJX), device=self.device)[:, None]
            tail_BKX = padded_BJX[row_B1, self._tail_place_BK]
        if self.reset_BL is None:
            return tail_BKX
        return tail_BKX.masked_fill((self._tail_place_BK < self._start_BL[:, -1:])[..., None], 0.0)

    # A place is a position among a row's J tokens: token t of the call is at place K + t.

    @cached_property
    def _place_L(self) -> Tensor:
        return torch.arange(self.reach, self.reach + self.length, device=self.device)

    @cached_property
    def _start_BL(self) -> Tensor:
        """Place of each token's last reset, [B, L]; 0 if it lies before the call."""
        assert self.reset_BL is not None
        return torch.where(self.reset_BL, self._place_L, 0).cummax(1).values

    @cached_property
    def _tail_place_BK(self) -> Tensor:
        """Places of the last K valid tokens, [B, K], or [1, K] if all tokens are valid."""
        if self.length_B is None:
            return torch.arange(self.length, self.length + self.reach, device=self.device)[None]
        return self.length_B[:, None] + torch.arange(self.reach, device=self.device)

    @cached_property
    def _keep_KBL1(self) -> Tensor:
        """Whether each tap of each token lies on the token's side of the reset, bool [K + 1, B, L, 1]."""
        tap_K11 = torch.arange(-self.reach, 1, device=self.device)[:, None, None]
        return (self._place_L + tap_K11 >= self._start_BL)[..., None]

    @cached_property
    def _cut_tokens(self) -> CutTokens:
        start_BL = self._start_BL
        row_F, token_F = ((self._place_L - start_BL < self.reach) & (start_BL > 0)).nonzero(as_tuple=True)
        place_FK = token_F[:, None] + torch.arange(self.reach + 1, device=self.device)
        return CutTokens(row_F[:, None], place_FK, (place_FK >= start_BL[row_F, token_F][:, None])[..., None])


class ConvolutionModel(Model):
    """A stack of blocks over packed rows, each with a short convolution; constant state.

    A block computes `block(x_BLD, *states, rows)` and returns new x_BLD and states; its `init_state(batch)` returns the
    states before the first token. The state of block i is called `name.i` for each name in `states`.
    """

    config: ShortConvolutionConfig
    states: tuple[str, ...] = ("conv",)
    """Names of a block's states: `conv`, the convolution's inputs at the last K tokens, comes first."""
    embedding: nn.Embedding
    layers: nn.ModuleList
    norm: nn.RMSNorm
    head: nn.Linear
    capturable = True

    def forward(
        self,
        ids_BL: Tensor,
        state: State | None = None,
        *,
        reset_BL: Tensor | None = None,
        length_B: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        state = self.init_state(len(ids_BL)) if state is None else state
        rows = PackedRows(ids_BL, reset_BL, length_B, self.config)
        x_BLD, new = self.embedding(ids_BL), {}
        for i, layer in enumerate(self.layers):
            names = [f"{name}.{i}" for name in self.states]
            x_BLD, *after = layer(x_BLD, *(state[name] for name in names), rows)
            new |= zip(names, after, strict=True)
        return linear(rms_norm(x_BLD, self.norm.weight), self.head.weight), new

    def init_state(self, batch: int) -> State:
        return {
            f"{name}.{i}": tensor
            for i, layer in enumerate(self.layers)
            for name, tensor in zip(self.states, layer.init_state(batch), strict=True)  # type: ignore[operator]
        }


class StateSpaceBlock(nn.Module):
    """A block of a `StateSpaceModel`: `block(x_BLD, tail_BKX, state, rows)` returns new x_BLD, tail_BKX and state."""

    def init_state(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return the block's state before the first token: the convolution's [B, K, X] and the recurrence's."""
        raise NotImplementedError


class StateSpaceModel(ConvolutionModel):
    """A stack of blocks, each with a short convolution and a recurrence, whose state stands beside `conv.i`."""

    config: ConvolutionConfig

    def __init__(self, config: ConvolutionConfig, block: Callable[..., StateSpaceBlock], recurrence: str):
        """Build the model from blocks made by `block(config)`; recurrence: the name of the recurrence's state."""
        super().__init__(config)
        self.states = ("conv", recurrence)
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(block(config) for _ in range(config.n_layer))
        self.norm = nn.RMSNorm(config.d_model, eps=EPS)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)


@in_fp32
def step_size(raw: Tensor, floor: float) -> Tensor:
    """Return the step size dt = softplus(raw) + floor."""
    dt = F.softplus(raw)
    return dt + floor if floor else dt


def decay_rate(A_log: Tensor, floor: float) -> Tensor:
    """Return A = -exp(A_log); if the step size has a floor, at most -1, so that every state decays by exp(-floor)."""
    A = A_log.exp()
    return -(A.clamp(min=1.0) if floor else A)


def initial_dt_bias(size: int, least: float, most: float) -> Tensor:
    """Draw a bias [size] whose softplus, the step size at zero input, is log-uniform in [least, most]."""
    dt = torch.empty(size).uniform_(math.log(least), math.log(most)).exp()
    return dt + torch.log(-torch.expm1(-dt))

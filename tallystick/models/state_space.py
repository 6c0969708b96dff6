"""The stack of blocks of Mamba, Mamba-2 and Gated DeltaNet, and their convolutions over packed and ragged rows.

Glossary: B batch, L length, V vocabulary, D model width, H heads, X convolved channels, K convolution width - 1,
J = K + L tokens that a call's convolution sees, F tokens behind a reset.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn

from tallystick.kernels.convolution import CutTokens, conv_silu, conv_silu_masked
from tallystick.kernels.linear import linear
from tallystick.kernels.rms_norm import EPS, rms_norm
from tallystick.models.base import Model, State
from tallystick.models.config import ConvolutionConfig


class PackedRows:
    """Which tokens of a call count and where sequences begin in its rows; computed once for all layers.

    length_B: how many tokens of each row count; None means all.
    reset_BL: the tokens among them before which the state is zeroed; None means none.
    """

    def __init__(self, ids_BL: Tensor, reset_BL: Tensor | None, length_B: Tensor | None, config: ConvolutionConfig):
        self.length, self.reach, self.device = ids_BL.shape[1], config.d_conv - 1, ids_BL.device
        self.length_B, self.count_BL, self.reset_BL = length_B, None, reset_BL
        if length_B is not None:
            self.count_BL = torch.arange(self.length, device=self.device) < length_B[:, None]
            self.reset_BL = None if reset_BL is None else reset_BL & self.count_BL

    def zero_uncounted(self, t_BLH: Tensor) -> Tensor:
        """Zero the tokens that do not count."""
        return t_BLH if self.count_BL is None else t_BLH * self.count_BL[..., None]

    def convolve(self, padded_BJX: Tensor, conv: nn.Conv1d) -> Tensor:
        """Return silu of the causal convolution, [B, L, X]; no token sees what is behind a reset."""
        assert conv.bias is not None
        if self.reset_BL is None:
            return conv_silu(padded_BJX, conv.weight, conv.bias)
        if self.reset_BL.is_cuda:
            return conv_silu_masked(padded_BJX, conv.weight, conv.bias, self._keep_KBL1)
        return conv_silu(padded_BJX, conv.weight, conv.bias, self._cut_tokens)

    def tail(self, padded_BJX: Tensor) -> Tensor:
        """Return the last K tokens that count, [B, K, X], for the next call's convolution; zero behind a reset."""
        if self.length_B is None:
            tail_BKX = padded_BJX[:, -self.reach :].clone()
        else:
            row_B1 = torch.arange(len(padded_BJX), device=self.device)[:, None]
            tail_BKX = padded_BJX[row_B1, self._tail_place_BK]
        if self.reset_BL is None:
            return tail_BKX
        return tail_BKX.masked_fill((self._tail_place_BK < self._start_BL[:, -1:])[..., None], 0.0)

    # Places are positions in a row of J: token t of the call is at place K + t.

    @cached_property
    def _place_L(self) -> Tensor:
        return torch.arange(self.reach, self.reach + self.length, device=self.device)

    @cached_property
    def _start_BL(self) -> Tensor:
        """Place where each token's sequence begins; 0 if that is before the call."""
        assert self.reset_BL is not None
        return torch.where(self.reset_BL, self._place_L, 0).cummax(1).values

    @cached_property
    def _tail_place_BK(self) -> Tensor:
        """Places of the last K tokens that count; one row for all where every token counts."""
        if self.length_B is None:
            return torch.arange(self.length, self.length + self.reach, device=self.device)[None]
        return self.length_B[:, None] + torch.arange(self.reach, device=self.device)

    @cached_property
    def _keep_KBL1(self) -> Tensor:
        """Whether each tap of each token is on its side of the reset."""
        tap_K11 = torch.arange(-self.reach, 1, device=self.device)[:, None, None]
        return (self._place_L + tap_K11 >= self._start_BL)[..., None]

    @cached_property
    def _cut_tokens(self) -> CutTokens:
        start_BL = self._start_BL
        row_F, token_F = ((self._place_L - start_BL < self.reach) & (start_BL > 0)).nonzero(as_tuple=True)
        place_FK = token_F[:, None] + torch.arange(self.reach + 1, device=self.device)
        return CutTokens(row_F[:, None], place_FK, (place_FK >= start_BL[row_F, token_F][:, None])[..., None])


class StateSpaceBlock(nn.Module):
    """A block of a `StateSpaceModel`: `block(x_BLD, tail_BKX, state, rows)` returns all but `rows` anew."""

    def init_state(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return the block's state before the first token: the convolution's [B, K, X] and the recurrence's."""
        raise NotImplementedError


class StateSpaceModel(Model):
    """A stack of blocks with a short convolution and a recurrence each; constant state.

    State, for block i: `conv.i`, the convolution's input at the last K tokens, and a second tensor, the recurrence's
    state.
    """

    config: ConvolutionConfig
    capturable = True

    def __init__(self, config: ConvolutionConfig, block: Callable[..., StateSpaceBlock], recurrence: str):
        """Build the model from blocks that `block(config)` makes; recurrence: the name of their second state."""
        super().__init__(config)
        self.recurrence = recurrence
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(block(config) for _ in range(config.n_layer))
        self.norm = nn.RMSNorm(config.d_model, eps=EPS)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)

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
            conv, own = f"conv.{i}", f"{self.recurrence}.{i}"
            x_BLD, new[conv], new[own] = layer(x_BLD, state[conv], state[own], rows)
        return linear(rms_norm(x_BLD, self.norm.weight), self.head.weight), new

    def init_state(self, batch: int) -> State:
        state = {}
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, StateSpaceBlock)
            state[f"conv.{i}"], state[f"{self.recurrence}.{i}"] = layer.init_state(batch)
        return state


def initial_dt_bias(size: int, least: float, most: float) -> Tensor:
    """Draw a bias [size] whose softplus, the step size at zero input, is log-uniform in [least, most]."""
    dt = torch.empty(size).uniform_(math.log(least), math.log(most)).exp()
    return dt + torch.log(-torch.expm1(-dt))

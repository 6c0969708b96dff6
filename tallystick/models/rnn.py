"""Stacked LSTM (Hochreiter and Schmidhuber 1997) and GRU (Cho et al. 2014, arXiv 1406.1078).

Glossary: B batch, L length, V vocabulary, D units of a layer (and width of the embedding), G gates of all units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tallystick.kernels.linear import linear
from tallystick.kernels.reference import gru_recurrent, lstm_recurrent
from tallystick.kernels.rnn import gru, lstm
from tallystick.models.base import Model, State
from tallystick.models.config import COUNTS, WIDTHS, StackConfig
from tallystick.ranges import ranged

BIASES = (-100.0, 100.0)
"""Range of a gate's initial bias."""


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig(StackConfig):
    """Sizes of a stack of layers, each as wide as the embedding."""

    d_model: int = ranged(128, *WIDTHS)
    """Number of units of a layer."""
    n_layer: int = ranged(1, *COUNTS)
    """Number of layers."""


class Recurrent(Model):
    """A stack of gated recurrent layers; constant state.

    State, for layer i: `h.i` [B, D], and in an LSTM `c.i` [B, D].
    """

    PRESETS = {
        "tiny": {"n_layer": 1, "d_model": 128},
        "small": {"n_layer": 1, "d_model": 256},
        "paper": {"n_layer": 4, "d_model": 1536},
    }
    # many short sequences make the loop over time cheap; 64 tokens are too short to learn 1,000 digits (dev/LOG.md)
    TRAINING = {"batch_size": 16, "seq_len": 128}
    verify_batch_size, verify_chunk = 32, 256
    capturable = True
    config: RecurrentConfig
    parts: str = "h"
    """Names of the tensors of a layer's state, one letter each."""
    forms: tuple[Callable[..., tuple[Tensor, ...]], Callable[..., tuple[Tensor, ...]]]
    """The recurrence in its fast form, and its reference."""

    def __init__(self, config: RecurrentConfig, gates: int, keep_gate: int, keep_bias: float):
        """Build the model; keep_gate: index of the gate that keeps the state; keep_bias: initial bias of that gate."""
        super().__init__(config)
        width = config.d_model
        self.embedding = nn.Embedding(config.vocab_size, width)
        self.layers = nn.ModuleList(Layer(width, gates, self.forms) for _ in range(config.n_layer))
        self.head = nn.Linear(width, config.vocab_size, bias=False)
        for name, parameter in self.named_parameters():
            if name.endswith("input.bias"):
                nn.init.constant_(parameter.data[keep_gate * width : (keep_gate + 1) * width], keep_bias)

    def forward(
        self,
        ids_BL: Tensor,
        state: State | None = None,
        *,
        reset_BL: Tensor | None = None,
        length_B: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        state = self.init_state(len(ids_BL)) if state is None else state
        count_BL = None
        if length_B is not None:
            count_BL = torch.arange(ids_BL.shape[1], device=ids_BL.device) < length_B[:, None]
            reset_BL = None if reset_BL is None else reset_BL & count_BL
        x, chosen_LB, new = self.embedding.weight, ids_BL.t(), {}
        for i, layer in enumerate(self.layers):
            before = [state[f"{part}.{i}"] for part in self.parts]
            x, *after = layer(x, chosen_LB, before, reset_BL, count_BL)
            chosen_LB = None
            new |= {f"{part}.{i}": tensor for part, tensor in zip(self.parts, after, strict=True)}
        return linear(x, self.head.weight).transpose(0, 1), new

    def init_state(self, batch: int) -> State:
        shape = (batch, self.config.d_model)
        names = [f"{part}.{i}" for i in range(self.config.n_layer) for part in self.parts]
        return {name: self.embedding.weight.new_zeros(shape) for name in names}


class Layer(nn.Module):
    """One layer, with weights for its input and weights for its own state."""

    def __init__(self, width: int, gates: int, forms: tuple[Callable, Callable]):
        super().__init__()
        self.forms = forms
        self.input = nn.Linear(width, gates * width)
        self.own = nn.Linear(width, gates * width, bias=False)
        nn.init.zeros_(self.input.bias)

    def forward(
        self,
        x: Tensor,
        chosen_LB: Tensor | None,
        before: list[Tensor],
        reset_BL: Tensor | None,
        count_BL: Tensor | None,
    ) -> tuple[Tensor, ...]:
        """Return the states after each token, [L, B, D], and the tensors of the final state.

        x: the inputs [L, B, D]; or, if `chosen_LB` is given, the embedding [V, D] from which it selects them, since a
        product with all symbols is smaller than one with all tokens.
        count_BL: whether each token is valid; None means all. Otherwise the reference is used, which is rare.
        """
        x_LBG = linear(x, self.input.weight) + self.input.bias
        if chosen_LB is not None:
            x_LBG = F.embedding(chosen_LB, x_LBG)
        fast, reference = self.forms
        if count_BL is None:
            return fast(x_LBG, self.own.weight, *before, None if reset_BL is None else reset_BL.t())
        h_BLD, *after = reference(x_LBG.transpose(0, 1), self.own.weight, *before, reset_BL, count_BL)
        return h_BLD.transpose(0, 1), *after


class LSTM(Recurrent):
    """LSTM whose input gate is 1 - the forget gate, unless `coupled=false`; constant state."""

    @dataclass(frozen=True, kw_only=True)
    class Config(RecurrentConfig):
        """Sizes of the layers, and the gates."""

        coupled: bool = True
        """Whether the input gate is 1 - the forget gate: the cell is then a weighted mean of its inputs, at any length
        (Greff et al. 2017, arXiv 1503.04069, section 3)."""
        forget_bias: float = ranged(-1.0, *BIASES)
        """Initial bias of the forget gate; its sigmoid is the share of a cell that a token keeps. With the usual 1, a
        thousand equal digits lead to states far from any that training reaches."""

    config: Config
    parts = "hc"
    forms = lstm, lstm_recurrent

    def __init__(self, config: Config):
        super().__init__(config, gates=3 if config.coupled else 4, keep_gate=0, keep_bias=config.forget_bias)


class GRU(Recurrent):
    """GRU, with two gates and no cell; constant state."""

    @dataclass(frozen=True, kw_only=True)
    class Config(RecurrentConfig):
        """Sizes of the layers, and the gates."""

        update_bias: float = ranged(-1.0, *BIASES)
        """Initial bias of the gate z; its sigmoid is the share of a state that a token keeps."""

    config: Config
    forms = gru, gru_recurrent

    def __init__(self, config: Config):
        super().__init__(config, gates=3, keep_gate=1, keep_bias=config.update_bias)

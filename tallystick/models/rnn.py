"""LSTM (Hochreiter and Schmidhuber 1997) and GRU (Cho et al. 2014, arXiv 1406.1078), stacked.

Glossary: B batch, L length, V vocabulary, D units of a layer (and width of the embedding), G gates of all units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from tallystick.kernels.linear import linear
from tallystick.kernels.reference import gru_recurrent, lstm_recurrent
from tallystick.kernels.rnn import gru, lstm
from tallystick.models.base import Model, State
from tallystick.models.config import COUNTS, WIDTHS, StackConfig, ranged

BIASES = (-100.0, 100.0)


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig(StackConfig):
    """Sizes of a stack of layers, each as wide as the embedding."""

    d_model: int = ranged(128, *WIDTHS)
    """Units of a layer."""
    n_layer: int = ranged(1, *COUNTS)
    """Number of layers."""


class Recurrent(Model):
    """What LSTM and GRU share: layers of gates, one on the other.  State, for each layer: `h.i`, of an LSTM `c.i`."""

    PRESETS = {
        "tiny": {"n_layer": 1, "d_model": 128},
        "small": {"n_layer": 1, "d_model": 256},
        "paper": {"n_layer": 4, "d_model": 1536},
    }
    # many short rows make the loop over time cheap; of 64 tokens, they are too short for 1,000 digits (dev/LOG.md)
    TRAINING = {"batch_size": 16, "seq_len": 128}
    verify_batch_size, verify_chunk = 32, 256
    capturable = True
    config: RecurrentConfig
    parts: str = "h"
    """The tensors of a layer's state, one letter each."""
    forms: tuple[Callable, Callable]
    """The recurrence, and its plain loop."""

    def __init__(self, config, gates: int, lasting: int, bias: float):
        """lasting: which gate says what is left of the state; bias: its first one."""
        super().__init__(config)
        width = config.d_model
        self.embedding = nn.Embedding(config.vocab_size, width)
        self.layers = nn.ModuleList(Layer(width, gates, self.forms) for _ in range(config.n_layer))
        self.head = nn.Linear(width, config.vocab_size, bias=False)
        for name, parameter in self.named_parameters():
            if name.endswith("input.bias"):
                nn.init.constant_(parameter.data[lasting * width : (lasting + 1) * width], bias)

    def forward(self, ids_BL, state=None, *, reset_BL=None, length_B=None):
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

    def state_bytes(self, length: int) -> int:
        return sum(tensor.nbytes for tensor in self.init_state(1).values())


class Layer(nn.Module):
    """The weights of one layer."""

    def __init__(self, width: int, gates: int, forms: tuple[Callable, Callable]):
        super().__init__()
        self.forms = forms
        self.input = nn.Linear(width, gates * width)
        self.own = nn.Linear(width, gates * width, bias=False)
        nn.init.zeros_(self.input.bias)

    def forward(self, x, chosen_LB, before, reset_BL, count_BL):
        """x: the inputs [L, B, D], or the embedding [V, D] of which `chosen_LB` are the inputs.

        A product with the embedding is smaller than one with every token.  Ragged rows, which are rare, take the plain
        loop.
        """
        x_LBG = linear(x, self.input.weight) + self.input.bias
        if chosen_LB is not None:
            x_LBG = F.embedding(chosen_LB, x_LBG)
        fast, plain = self.forms
        if count_BL is None:
            return fast(x_LBG, self.own.weight, *before, None if reset_BL is None else reset_BL.t())
        h_BLD, *after = plain(x_LBG.transpose(0, 1), self.own.weight, *before, reset_BL, count_BL)
        return h_BLD.transpose(0, 1), *after


class LSTM(Recurrent):
    """LSTM whose one gate both forgets and lets in, unless `coupled=false`; constant state."""

    @dataclass(frozen=True, kw_only=True)
    class Config(RecurrentConfig):
        """Sizes, and the start."""

        coupled: bool = True
        """The input gate is 1 - the forget gate: the cell is a mean of what came in, whatever the length (Greff et al.
        2017, arXiv 1503.04069, section 3)."""
        forget_bias: float = ranged(-1.0, *BIASES)
        """Of the forget gate at first: a cell starts with sigmoid of it left after a token. With the usual 1, a
        thousand equal digits lead to states that the few of training never come near."""

    config: Config
    parts = "hc"
    forms = lstm, lstm_recurrent

    def __init__(self, config: Config):
        super().__init__(config, gates=3 if config.coupled else 4, lasting=0, bias=config.forget_bias)


class GRU(Recurrent):
    """Two gates and no cell; constant state."""

    @dataclass(frozen=True, kw_only=True)
    class Config(RecurrentConfig):
        """Sizes, and the start."""

        update_bias: float = ranged(-1.0, *BIASES)
        """Of the gate z at first: sigmoid of it is left of a state after a token, as of an LSTM's."""

    config: Config
    forms = gru, gru_recurrent

    def __init__(self, config: Config):
        super().__init__(config, gates=3, lasting=1, bias=config.update_bias)

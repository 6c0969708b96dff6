"""Mamba-2 in which some blocks are full attention, as in Jamba (Lieber et al. 2024, arXiv 2403.19887).

Glossary: B batch, L length, D model width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from tallystick.kernels.linear import linear
from tallystick.kernels.rms_norm import EPS, rms_norm
from tallystick.models import mamba2, transformer
from tallystick.models.attention import Cache, empty
from tallystick.models.base import Model, State
from tallystick.models.config import COUNTS, HeadsConfig
from tallystick.models.state_space import PackedRows
from tallystick.ranges import ranged


class Hybrid(Model):
    """Mamba-2 in which some blocks are full attention; the state grows with the length.

    The attention has no positions, since the Mamba blocks encode them. State: that of `Mamba2` for its blocks, that of
    `Cache` for the others.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(mamba2.Mamba2.Config, HeadsConfig):
        """Sizes of the Mamba-2 blocks and of the attention."""

        n_layer: int = ranged(3, *COUNTS)
        attention_every: int = ranged(3, *COUNTS)
        """Period of the attention: the middle block of so many attends; at most n_layer."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.attention_every > self.n_layer:
                raise ValueError(f"attention_every={self.attention_every} must not exceed n_layer={self.n_layer}")

    config: Config
    PRESETS = {
        "tiny": {"n_layer": 3, "d_model": 64, "d_state": 16, "n_head": 2},
        "small": {"n_layer": 3, "d_model": 128, "d_state": 16, "n_head": 4},
        "paper": {**mamba2.Mamba2.PRESETS["paper"], "attention_every": 8, "n_head": 8, "mlp_ratio": 2},
    }
    TRAINING = {"lr": 3e-3}
    fixed_state = False
    verify_chunk = 512

    def __init__(self, config: Config):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(
            transformer.ParallelBlock(config) if self._attends(i) else mamba2.Block(config)
            for i in range(config.n_layer)
        )
        for layer in self.layers:
            if isinstance(layer, transformer.ParallelBlock):
                transformer.initialise(layer, config.n_layer)
        self.norm = nn.RMSNorm(config.d_model, eps=EPS)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        # with a std of 0.02 the norms would magnify rounding errors
        nn.init.normal_(self.embedding.weight, std=config.d_model**-0.5)
        if config.tied:
            self.head.weight = self.embedding.weight

    def _attends(self, i: int) -> bool:
        every = self.config.attention_every
        return i % every == every // 2

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
        cached = state[f"k.{self.config.attention_every // 2}"].shape[1]
        cache = Cache(state["length"], cached, ids_BL, reset_BL, length_B, rotated=0)
        x_BLD, new = self.embedding(ids_BL), {"length": cache.length_B}
        for i, layer in enumerate(self.layers):
            first, second = (f"{part}.{i}" for part in (("k", "v") if self._attends(i) else ("conv", "ssm")))
            view = cache if self._attends(i) else rows
            x_BLD, new[first], new[second] = layer(x_BLD, state[first], state[second], view)
        return linear(rms_norm(x_BLD, self.norm.weight), self.head.weight), new

    def init_state(self, batch: int) -> State:
        config, weight = self.config, self.embedding.weight
        attending = [i for i in range(config.n_layer) if self._attends(i)]
        state = empty(attending, batch, 0, config.n_head, config.head_width, weight)
        for i, layer in enumerate(self.layers):
            if isinstance(layer, mamba2.Block):
                state[f"conv.{i}"], state[f"ssm.{i}"] = layer.init_state(batch)
        return state

    def state_bytes(self, length: int) -> int:
        attending = sum(self._attends(i) for i in range(self.config.n_layer))
        keys_and_values = 2 * attending * self.config.d_model * length * self.embedding.weight.element_size()
        return super().state_bytes(0) + keys_and_values

"""Recurrent memory Transformer (Bulatov, Kuratov and Burtsev 2022, arXiv 2207.06881).

A Transformer reads the sequence in segments and hands on nothing but a few memory vectors: they stand before the
segment's tokens, and once more behind them, where what comes out is the memory of the next segment.

Glossary: B batch, L length, V vocabulary, D model width, S tokens of a segment, m memory vectors, T cached tokens,
W waves: parts of the call's rows that lie in one segment each and are worked on together; w tokens of a wave, n of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tallystick.models.attention import Cache, empty
from tallystick.models.base import Model, State
from tallystick.models.config import RotaryConfig, ranged
from tallystick.models.transformer import ParallelBlock, initialise


class RMT(Model):
    """A Transformer over segments that hands on a few memory vectors; constant state.

    Segments are counted from the last reset, so that any chunking is the same pass.
    State: `memory`, as what was added to its learned start, and the segment's cache (`attention.Cache`) with room for a
    whole one; `length` counts the memory before the segment, and is 0 between two.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(RotaryConfig):
        """Sizes; positions count within the segment."""

        segment: int = ranged(32, 1, 2**20)
        """Tokens of a segment."""
        memory: int = ranged(4, 1, 2**16)
        """Vectors handed from segment to segment."""

    config: Config
    PRESETS = {
        "tiny": {"n_layer": 2, "d_model": 64, "n_head": 2, "segment": 32, "memory": 4},
        "small": {"n_layer": 4, "d_model": 128, "n_head": 4, "segment": 64, "memory": 4},
        "paper": {"n_layer": 24, "d_model": 768, "n_head": 8, "mlp_ratio": 2, "segment": 512, "memory": 16},
    }
    TRAINING = {"lr": 3e-3}
    verify_batch_size, verify_chunk = 16, 256

    def __init__(self, config: Config):
        super().__init__(config)
        self.rotated = config.rotated
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.memory = nn.Embedding(config.memory, config.d_model)
        self.layers = nn.ModuleList(ParallelBlock(config) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        initialise(self, config.n_layer)

    def forward(self, ids_BL, state=None, *, reset_BL=None, length_B=None):
        state = dict(self.init_state(len(ids_BL)) if state is None else state)
        waves = Waves(state["length"], ids_BL, reset_BL, length_B, self.config)
        x_BLD, out = self.embedding(ids_BL), []
        for w, (width, some_begin, some_end) in enumerate(waves.plan):
            count_B, begins_B, ends_B = waves.count_BW[:, w], waves.begins_BW[:, w], waves.ends_BW[:, w]
            if some_begin:
                _forget(state, waves.resets_BW[:, w])
                state = self._pass(state, self._memory(state), begins_B * self.config.memory)[1]
            x_BwD, state = self._pass(state, _columns(x_BLD, waves.start_BW[:, w], width), count_B)
            out.append(x_BwD)
            if some_end:
                written_BmD, _ = self._pass(state, self._memory(state), ends_B * self.config.memory)
                _forget(state, ends_B)
                added_BmD = written_BmD - self.memory.weight
                state["memory"] = torch.where(ends_B[:, None, None], added_BmD, state["memory"])
        room = self.config.memory + self.config.segment
        for name, tensor in state.items():
            if name[:2] in ("k.", "v."):
                state[name] = F.pad(tensor, (0, 0, 0, 0, 0, room - tensor.shape[1]))
        return self.head(waves.gather(torch.cat(out, dim=1))), state

    def _memory(self, state: State) -> Tensor:
        return state["memory"] + self.memory.weight

    def _pass(self, state: State, x_BLD: Tensor, count_B: Tensor) -> tuple[Tensor, State]:
        """The first `count_B` of some vectors through all layers, behind what the segment's cache holds."""
        cache = Cache(state["length"], state["k.0"].shape[1], x_BLD[..., 0], None, count_B, self.rotated)
        new = state | {"length": cache.length_B}
        for i, layer in enumerate(self.layers):
            x_BLD, new[f"k.{i}"], new[f"v.{i}"] = layer(x_BLD, state[f"k.{i}"], state[f"v.{i}"], cache)
        return self.norm(x_BLD), new

    def init_state(self, batch: int) -> State:
        config, weight = self.config, self.embedding.weight
        room = config.memory + config.segment
        state = empty(range(config.n_layer), batch, room, config.n_head, config.d_model // config.n_head, weight)
        return {"memory": weight.new_zeros(batch, config.memory, config.d_model), **state}

    def state_bytes(self, length: int) -> int:
        return sum(tensor.nbytes for tensor in self.init_state(1).values())


class Waves:
    """How a call's rows fall into segments: the w-th parts of all rows are worked on together.

    `start_BW`, `count_BW`: each part's tokens; `begins_BW`, `ends_BW`: whether it is the segment's beginning, its end;
    `resets_BW`: whether a sequence begins with it.  `plan`: each wave's width, whether a part begins, and ends.
    """

    def __init__(
        self, held_B: Tensor, ids_BL: Tensor, reset_BL: Tensor | None, length_B: Tensor | None, config: RMT.Config
    ):
        (batch, length), device = ids_BL.shape, ids_BL.device
        own_L = torch.arange(length, device=device)
        count_BL = own_L < (own_L.new_full((batch,), length) if length_B is None else length_B)[:, None]
        reset_BL = torch.zeros_like(count_BL) if reset_BL is None else reset_BL & count_BL
        start_BL = torch.where(reset_BL, own_L, -1).cummax(1).values
        filled_B1 = (held_B - config.memory).clamp(min=0)[:, None]
        place_BL = torch.where(start_BL >= 0, own_L - start_BL, own_L + filled_B1) % config.segment
        first_BL = place_BL == 0
        self.wave_BL = first_BL.cumsum(1) - first_BL[:, :1].long()
        waves = int(self.wave_BL.max()) + 1

        def per_wave(value_BL: Tensor) -> Tensor:
            return ids_BL.new_zeros(batch, waves).scatter_add_(1, self.wave_BL, (value_BL & count_BL).long())

        self.count_BW = per_wave(count_BL)
        self.start_BW = (self.count_BW.cumsum(1) - self.count_BW).clamp(max=length - 1)
        self.begins_BW, self.resets_BW = per_wave(first_BL).bool(), per_wave(reset_BL).bool()
        self.ends_BW = per_wave(place_BL == config.segment - 1).bool()
        columns = (self.count_BW.amax(0), self.begins_BW.any(0), self.ends_BW.any(0))
        self.plan = [(max(w, 1), bool(b), bool(e)) for w, b, e in torch.stack([c.long() for c in columns], 1).tolist()]
        offset_W = torch.tensor([0, *(w for w, _, _ in self.plan[:-1])], device=device).cumsum(0)
        in_wave_BL = own_L - self.start_BW.gather(1, self.wave_BL)
        self.source_BL = torch.where(count_BL, offset_W[self.wave_BL] + in_wave_BL, 0)

    def gather(self, out_BnD: Tensor) -> Tensor:
        """The waves' outputs, one behind the other, as tokens of the call."""
        return out_BnD.gather(1, self.source_BL[..., None].expand(-1, -1, out_BnD.shape[-1]))


def _columns(x_BLD: Tensor, start_B: Tensor, width: int) -> Tensor:
    """`width` tokens of each row from `start_B` on; the last one again where the row has no more."""
    index_Bw = (start_B[:, None] + torch.arange(width, device=x_BLD.device)).clamp(max=x_BLD.shape[1] - 1)
    return x_BLD.gather(1, index_Bw[..., None].expand(-1, -1, x_BLD.shape[-1]))


def _forget(state: State, chosen_B: Tensor) -> None:
    """Zero the chosen rows' state, in new tensors."""
    for name, tensor in state.items():
        state[name] = tensor.masked_fill(chosen_B.view(-1, *[1] * (tensor.dim() - 1)), 0)

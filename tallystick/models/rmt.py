"""Recurrent memory Transformer (Bulatov, Kuratov and Burtsev 2022, arXiv 2207.06881).

A Transformer reads the sequence in segments and passes only a few memory vectors from one segment to the next. They
are read before the segment's tokens and again after them; the second outputs are the next segment's memory.

Glossary: B batch, L length, V vocabulary, D model width, m memory vectors, w tokens of a part, the tokens of a row
that lie in one segment. One part of each row is read at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tallystick.models.attention import Cache, empty
from tallystick.models.base import Model, State
from tallystick.models.config import RotaryConfig
from tallystick.models.transformer import ParallelBlock, initialise
from tallystick.ranges import ranged


class RMT(Model):
    """A Transformer over segments that passes on a few memory vectors; constant state.


    State: `memory` [B, m, D], as the difference from its learned start, and the segment's cache (`attention.Cache`),
    with room for the memory and a whole segment; its `length` counts both, and is 0 between two segments.
    Segments are counted from the last reset, so that every chunking gives the same result.

    State: `memory` [B, m, D], as the difference from its learned initial value, and the segment's cache
    (`attention.Cache`), with room for the memory and a whole segment; its `length` counts both, and is 0 between two
    segments.

    State: `memory` [B, m, D], as the difference from its learned start, and the segment's cache (`attention.Cache`),
    with room for the memory and a whole segment; its `length` counts both, and is 0 between two segments.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(RotaryConfig):
        """Sizes of the blocks and segments; positions count within a segment."""

        segment: int = ranged(32, 1, 2**20)
        """Number of tokens of a segment."""
        memory: int = ranged(4, 1, 2**16)
        """Number of vectors passed from segment to segment."""

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
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.memory = nn.Embedding(config.memory, config.d_model)
        self.layers = nn.ModuleList(ParallelBlock(config) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        initialise(self, config.n_layer)

    def forward(
        self,
        ids_BL: Tensor,
        state: State | None = None,
        *,
        reset_BL: Tensor | None = None,
        length_B: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        state = dict(self.init_state(len(ids_BL)) if state is None else state)
        rows = self._cut(ids_BL, state["length"], reset_BL, length_B)
        x_BLD, out, before = self.embedding(ids_BL), [], 0
        source_BL = [[0] * ids_BL.shape[1] for _ in rows]
        for parts in zip_longest(*rows, fillvalue=Part(ids_BL.shape[1], 0)):
            x_BwD, state = self._read(state, x_BLD, parts)
            out.append(x_BwD)
            for source_L, part in zip(source_BL, parts, strict=True):
                source_L[part.start : part.start + part.count] = range(before, before + part.count)
            before += x_BwD.shape[1]
        source_BLD = torch.tensor(source_BL, device=ids_BL.device)[..., None].expand_as(x_BLD)
        return self.head(torch.cat(out, dim=1).gather(1, source_BLD)), self._with_room(state)

    def _cut(
        self, ids_BL: Tensor, held_B: Tensor, reset_BL: Tensor | None, length_B: Tensor | None
    ) -> list[list[Part]]:
        """Cut each row where a segment ends or the state is reset; a row without tokens has one empty part."""
        (batch, length), config = ids_BL.shape, self.config
        lengths = [length] * batch if length_B is None else length_B.tolist()
        resets = [[] for _ in range(batch)] if reset_BL is None else [row.nonzero()[:, 0].tolist() for row in reset_BL]
        filled = (held_B - config.memory).clamp(min=0).tolist()
        rows = zip(lengths, resets, filled, strict=True)
        return [list(cut(*row, config.segment)) or [Part(0, 0)] for row in rows]

    def _read(self, state: State, x_BLD: Tensor, parts: Sequence[Part]) -> tuple[Tensor, State]:
        """Read one part of each row; return its outputs [B, w, D] and the state.

        The memory is read before a part that begins a segment, and again after one that ends it; the latter's outputs
        are the next segment's memory.
        """
        start_B, count_B, begins_B, ends_B, resets_B = torch.tensor(parts, device=x_BLD.device).unbind(1)
        memory, width = self.config.memory, max(part.count for part in parts) or 1
        if any(part.begins for part in parts):
            state = _forget(state, resets_B)
            state = self._pass(state, self._memory(state), begins_B * memory)[1]
        x_BwD, state = self._pass(state, _columns(x_BLD, start_B, width), count_B)
        if any(part.ends for part in parts):
            written_BmD, _ = self._pass(state, self._memory(state), ends_B * memory)
            state = _forget(state, ends_B)
            added_BmD = written_BmD - self.memory.weight
            state["memory"] = torch.where(ends_B.bool()[:, None, None], added_BmD, state["memory"])
        return x_BwD, state

    def _memory(self, state: State) -> Tensor:
        return state["memory"] + self.memory.weight

    def _pass(self, state: State, x_BLD: Tensor, count_B: Tensor) -> tuple[Tensor, State]:
        """Pass the first `count_B` of these vectors through all layers, after those in the segment's cache."""
        cache = Cache(state["length"], state["k.0"].shape[1], x_BLD[..., 0], None, count_B, self.config.rotated)
        new = state | {"length": cache.length_B}
        for i, layer in enumerate(self.layers):
            x_BLD, new[f"k.{i}"], new[f"v.{i}"] = layer(x_BLD, state[f"k.{i}"], state[f"v.{i}"], cache)
        return self.norm(x_BLD), new

    def _with_room(self, state: State) -> State:
        """Pad the caches to the size of the memory and a whole segment."""
        room = self.config.memory + self.config.segment
        return {
            name: F.pad(tensor, (0, 0, 0, 0, 0, room - tensor.shape[1])) if name[:2] in ("k.", "v.") else tensor
            for name, tensor in state.items()
        }

    def init_state(self, batch: int) -> State:
        config, weight = self.config, self.embedding.weight
        room = config.memory + config.segment
        state = empty(range(config.n_layer), batch, room, config.n_head, config.head_width, weight)
        return {"memory": weight.new_zeros(batch, config.memory, config.d_model), **state}


class Part(NamedTuple):
    """The tokens of a row that lie in one segment."""

    start: int
    count: int
    begins: bool = False
    """Whether the part begins a segment."""
    ends: bool = False
    """Whether the part ends a segment."""
    resets: bool = False
    """Whether the state is reset before the part."""


def cut(length: int, resets: Sequence[int], filled: int, segment: int) -> Iterator[Part]:
    """Cut the first `length` tokens of a row into parts; filled: number of earlier tokens in its current segment."""
    start = 0
    while start < length:
        if start in resets:
            filled = 0
        end = min(start + segment - filled, length, *(place for place in resets if place > start))
        count = end - start
        yield Part(start, count, filled == 0, filled + count == segment, start in resets)
        start, filled = end, (filled + count) % segment


def _columns(x_BLD: Tensor, start_B: Tensor, width: int) -> Tensor:
    """Return `width` tokens of each row from `start_B` on, [B, w, D]; shorter rows repeat their last token."""
    index_Bw = (start_B[:, None] + torch.arange(width, device=x_BLD.device)).clamp(max=x_BLD.shape[1] - 1)
    return x_BLD.gather(1, index_Bw[..., None].expand(-1, -1, x_BLD.shape[-1]))


def _forget(state: State, chosen_B: Tensor) -> State:
    """Return the state with the chosen rows zeroed; chosen_B: bool, or 0 and 1."""
    chosen_B = chosen_B.bool()
    return {name: tensor.masked_fill(chosen_B.view(-1, *[1] * (tensor.dim() - 1)), 0) for name, tensor in state.items()}

"""The string-matching learner of Theorem 2.2 (paper, section 1), with contexts of variable length.

It remembers, for each context of its training examples, the shortest suffix that decided the next token, and replays
that token. What it solves needs no generalisation over contents; a trained model is compared with it.

Glossary: B batch (rows), L length, V vocabulary, T reach (tokens of state), E edges of the tree of suffixes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tallystick import suffix
from tallystick.models.base import Model, State
from tallystick.models.config import Config as BaseConfig
from tallystick.models.config import ranged

SURE = 10.0
"""The logit of the token that it says; all others are 0."""


class Lookup(Model):
    """Says the token that always followed the shortest unambiguous suffix; abstains (all logits equal) without one."""

    @dataclass(frozen=True, kw_only=True)
    class Config(BaseConfig):
        """Sizes."""

        reach: int = ranged(64, 1, 2**16)
        """The longest suffix that it looks at, in tokens."""
        examples: int = ranged(4000, 1, 10**9)
        """Training examples that `train` fits it to."""

    config: Config
    PRESETS = {"tiny": {}}
    verify_chunk = verify_chunk_gpu = 65_536
    keys_E: Tensor
    values_E: Tensor

    def __init__(self, config: Config):
        super().__init__(config)
        self.register_buffer("keys_E", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("values_E", torch.zeros(0, dtype=torch.int32))

    def fit(self, stream: Iterable[tuple[np.ndarray, np.ndarray]]) -> Lookup:
        """Remember examples: (ids uint16 [length], loss_mask bool [length]) of each. Returns itself."""
        contexts = suffix.Contexts.of(list(stream), self.config.vocab_size)
        tree = suffix.build(contexts, self.config.reach)
        self.keys_E, self.values_E = torch.from_numpy(tree.keys), torch.from_numpy(tree.values)
        return self

    def forward(self, ids_BL, state=None, *, reset_BL=None, length_B=None):
        state = self.init_state(len(ids_BL)) if state is None else state
        batch, length = ids_BL.shape
        position_L = torch.arange(length, device=ids_BL.device)
        counts_BL = position_L < (position_L.new_full((batch,), length) if length_B is None else length_B)[:, None]
        reset_BL = counts_BL & (torch.zeros_like(counts_BL) if reset_BL is None else reset_BL)
        start_BL = torch.where(reset_BL, position_L, -self.config.reach).cummax(1).values
        seen_BM = torch.cat([state["tail"], ids_BL], dim=1)
        return self._logits(seen_BM, start_BL), {"tail": self._tail(seen_BM, start_BL, counts_BL.sum(1))}

    def _logits(self, seen_BM: Tensor, start_BL: Tensor) -> Tensor:
        """Walk the tree from each token backwards until a leaf says the next one."""
        reach = self.config.reach
        row, position = torch.ones_like(start_BL, dtype=torch.bool).nonzero(as_tuple=True)
        found_BL = torch.full_like(start_BL, suffix.UNSEEN)
        node = torch.zeros_like(row)
        for back in range(min(reach, seen_BM.shape[1])):
            token = seen_BM[row, position + reach - back]
            token = torch.where(position - back < start_BL[row, position], self.config.vocab_size, token)
            node = self._step(node, token)
            found_BL[row, position] = node
            inner = node >= 0
            row, position, node = row[inner], position[inner], node[inner]
            if not len(row):
                break
        logits_BLV = torch.zeros(*start_BL.shape, self.config.vocab_size, device=start_BL.device)
        row, position = (found_BL < suffix.UNSEEN).nonzero(as_tuple=True)
        logits_BLV[row, position, -2 - found_BL[row, position]] = SURE
        return logits_BLV

    def _step(self, node: Tensor, token: Tensor) -> Tensor:
        """Follow the tree's edges: inner nodes, leaves, or UNSEEN where there is none (`suffix.SuffixTree.step`)."""
        if not len(self.keys_E):
            return torch.full_like(node, suffix.UNSEEN)
        key = node * (self.config.vocab_size + 1) + token
        at = torch.searchsorted(self.keys_E, key).clamp_(max=len(self.keys_E) - 1)
        return torch.where(self.keys_E[at] == key, self.values_E[at].long(), suffix.UNSEEN)

    def _tail(self, seen_BM: Tensor, start_BL: Tensor, length_B: Tensor) -> Tensor:
        reach = self.config.reach
        index_BT = length_B[:, None] + torch.arange(reach, device=length_B.device)
        before_BT = index_BT - reach < start_BL[:, -1:]
        return seen_BM.gather(1, index_BT).masked_fill(before_BT, self.config.vocab_size)

    def init_state(self, batch: int) -> State:
        shape = (batch, self.config.reach)
        return {"tail": torch.full(shape, self.config.vocab_size, dtype=torch.int64, device=self.keys_E.device)}

    def state_bytes(self, length: int) -> int:
        return self.config.reach * 8

    def _load_from_state_dict(self, state_dict, prefix, *arguments):
        """The number of remembered contexts is not in the config."""
        self.keys_E, self.values_E = state_dict[prefix + "keys_E"].clone(), state_dict[prefix + "values_E"].clone()
        super()._load_from_state_dict(state_dict, prefix, *arguments)

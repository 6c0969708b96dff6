"""The string-matching learner of Theorem 2.2 in arXiv 2510.14826, with contexts of variable length.

For each context of its training examples it stores the shortest suffix that decides the next token, and replays that
token. It is the baseline for trained models: whatever it solves needs no generalisation over contents.

Glossary: B batch, L length, V vocabulary, T reach (tokens of state), M = T + L tokens visible to a call, E edges of
the tree of suffixes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tallystick import suffix
from tallystick.models.base import Model, State
from tallystick.models.config import Config as BaseConfig
from tallystick.ranges import ranged

SURE = 10.0
"""Logit of the predicted token; all others are 0."""


class Lookup(Model):
    """A table of the shortest suffixes that were unambiguous in training; constant state.

    It predicts the token that always followed, and abstains, with all logits equal, where there is no such suffix.

    State: `tail` [B, T], int64: the last tokens, oldest first; V stands for positions before the sequence.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(BaseConfig):
        """Limits of the table."""

        reach: int = ranged(64, 1, 2**16)
        """Maximum length of a suffix, in tokens."""
        examples: int = ranged(4000, 1, 10**9)
        """Number of training examples that `train` fits the table to."""

    config: Config
    PRESETS = {"tiny": {}}
    verify_chunk = verify_chunk_gpu = 65_536
    keys_E: Tensor
    """Keys of the tree's edges, ascending: node * (V + 1) + token."""
    values_E: Tensor
    """Target of each edge: an inner node (>= 0), or a leaf, encoded as -2 - next token."""

    def __init__(self, config: Config):
        super().__init__(config)
        self.register_buffer("keys_E", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("values_E", torch.zeros(0, dtype=torch.int32))

    def fit(self, stream: Iterable[tuple[np.ndarray, np.ndarray]]) -> Lookup:
        """Remember examples, each as (ids ID_DTYPE [length], loss mask bool [length]); return the model itself."""
        contexts = suffix.Contexts.of(list(stream), self.config.vocab_size)
        tree = suffix.build(contexts, self.config.reach)
        self.keys_E, self.values_E = torch.from_numpy(tree.keys), torch.from_numpy(tree.values)
        return self

    def forward(
        self,
        ids_BL: Tensor,
        state: State | None = None,
        *,
        reset_BL: Tensor | None = None,
        length_B: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        state = self.init_state(len(ids_BL)) if state is None else state
        batch, length = ids_BL.shape
        position_L = torch.arange(length, device=ids_BL.device)
        counts_BL = position_L < (position_L.new_full((batch,), length) if length_B is None else length_B)[:, None]
        reset_BL = counts_BL & (torch.zeros_like(counts_BL) if reset_BL is None else reset_BL)
        start_BL = torch.where(reset_BL, position_L, -self.config.reach).cummax(1).values
        seen_BM = torch.cat([state["tail"], ids_BL], dim=1)
        return self._logits(seen_BM, start_BL), {"tail": self._tail(seen_BM, start_BL, counts_BL.sum(1))}

    def _logits(self, seen_BM: Tensor, start_BL: Tensor) -> Tensor:
        """Walk the tree backwards from each token to a leaf, which predicts the next token; return logits [B, L, V]."""
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
        """Follow an edge from each node; return inner nodes, leaves, or UNSEEN where there is no such edge."""
        if not len(self.keys_E):
            return torch.full_like(node, suffix.UNSEEN)
        key = node * (self.config.vocab_size + 1) + token
        at = torch.searchsorted(self.keys_E, key).clamp_(max=len(self.keys_E) - 1)
        return torch.where(self.keys_E[at] == key, self.values_E[at].long(), suffix.UNSEEN)

    def _tail(self, seen_BM: Tensor, start_BL: Tensor, length_B: Tensor) -> Tensor:
        """Return the last T valid tokens, without those before the last reset."""
        reach = self.config.reach
        index_BT = length_B[:, None] + torch.arange(reach, device=length_B.device)
        before_BT = index_BT - reach < start_BL[:, -1:]
        return seen_BM.gather(1, index_BT).masked_fill(before_BT, self.config.vocab_size)

    def init_state(self, batch: int) -> State:
        shape = (batch, self.config.reach)
        return {"tail": torch.full(shape, self.config.vocab_size, dtype=torch.int64, device=self.keys_E.device)}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Load the tree whatever its size, which is known only from the weights."""
        self.keys_E, self.values_E = state_dict[prefix + "keys_E"].clone(), state_dict[prefix + "values_E"].clone()
        super()._load_from_state_dict(state_dict, prefix, *arguments)

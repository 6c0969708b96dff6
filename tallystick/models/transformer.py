"""Transformers with a cache: Pythia (GPT-NeoX; Biderman et al. 2023, arXiv 2304.01373).

Glossary: B batch, L length, V vocabulary, D model width, H heads, P head dim, R rotated part of P,
T cached tokens, M = T + L tokens that a call can see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tallystick.models.base import Model, State


class Pythia(Model):
    """Rotary positions, attention and MLP in parallel, untied output.

    Positions count from the last reset, where the cache starts anew.  State: `length` (tokens since then) and for
    each layer the rotated keys `k.i` and values `v.i`, first token first, as long as the longest row, zeros behind.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Sizes."""

        vocab_size: int
        """Number of symbols."""
        d_model: int = 64
        """Width of the residual stream."""
        n_layer: int = 2
        """Number of blocks."""
        n_head: int = 2
        """Attention heads; divides d_model."""
        mlp_ratio: int = 4
        """Width of the MLP over d_model."""
        rotary_fraction: float = 0.25
        """Part of each head that is rotated by position."""

    PRESETS = {
        "tiny": {"n_layer": 2, "d_model": 64, "n_head": 2},
        "small": {"n_layer": 4, "d_model": 128, "n_head": 4},
        "paper": {"n_layer": 24, "d_model": 768, "n_head": 8, "mlp_ratio": 2},
    }
    TRAINING = {"lr": 3e-3}  # at 6e-3 it did not learn addition of 5 digits
    chunk = 512

    def __init__(self, config: Config):
        super().__init__(config)
        if config.d_model % config.n_head:
            raise ValueError(f"n_head={config.n_head} does not divide d_model={config.d_model}")
        self.rotated = int(config.d_model // config.n_head * config.rotary_fraction) // 2 * 2
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.apply(_initialise)
        for name, parameter in self.named_parameters():
            if name.endswith("_out.weight"):  # two sums into the residual stream a layer (GPT-2)
                parameter.data /= math.sqrt(2 * config.n_layer)

    def forward(self, ids_BL, state=None, *, reset_BL=None, length_B=None):
        state = self.init_state(len(ids_BL)) if state is None else state
        cache = Cache(state, ids_BL, reset_BL, length_B)
        rotation = _rotation(cache.position_BL, self.rotated)
        x_BLD, new = self.embedding(ids_BL), {"length": cache.new_length_B}
        for i, layer in enumerate(self.layers):
            x_BLD, key_BMHP, value_BMHP = layer(x_BLD, state[f"k.{i}"], state[f"v.{i}"], cache.mask_B1LM, rotation)
            new[f"k.{i}"], new[f"v.{i}"] = cache.keep(key_BMHP), cache.keep(value_BMHP)
        return self.head(self.norm(x_BLD)), new

    def init_state(self, batch: int) -> State:
        weight = self.embedding.weight
        shape = (batch, 0, self.config.n_head, self.config.d_model // self.config.n_head)
        names = [f"{kind}.{i}" for i in range(self.config.n_layer) for kind in "kv"]
        length_B = torch.zeros(batch, dtype=torch.int64, device=weight.device)
        return {"length": length_B, **{name: weight.new_zeros(shape) for name in names}}

    def state_bytes(self, length: int) -> int:
        entries = 2 * self.config.n_layer * self.config.d_model * length
        return self.embedding.weight.element_size() * entries + 8  # and the length itself


def _initialise(module: nn.Module):
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


class Cache:
    """One call's view of the cache: positions, who sees whom, and what is kept; worked out once for all layers.

    The tokens that a call sees are the T cached ones and then its own L: M = T + L.
    """

    def __init__(self, state: State, ids_BL: Tensor, reset_BL: Tensor | None, length_B: Tensor | None):
        (batch, length), device = ids_BL.shape, ids_BL.device
        old_B1, cached = state["length"][:, None], state["k.0"].shape[1]
        own_L = torch.arange(length, device=device)
        count_B = own_L.new_full((batch,), length) if length_B is None else length_B
        start_BL = own_L.new_full((batch, length), -1)  # of the token's sequence; -1: before this call
        if reset_BL is not None:
            start_BL = torch.where(reset_BL & (own_L < count_B[:, None]), own_L, -1).cummax(1).values
        fresh_BL = start_BL >= 0
        self.position_BL = torch.where(fresh_BL, own_L - start_BL, old_B1 + own_L)

        sees_old_BLT = ~fresh_BL[..., None] & (torch.arange(cached, device=device) < old_B1)[:, None]
        sees_own_BLL = (own_L <= own_L[:, None]) & (own_L >= start_BL[..., None])
        self.mask_B1LM = torch.cat([sees_old_BLT, sees_own_BLL], dim=-1)[:, None]

        # The row's new cache: the old tokens and the counted ones; after a reset, only those since the last one.
        last_B, none_B = start_BL[:, -1], count_B.new_zeros(batch)
        kept_old_B = torch.where(last_B >= 0, none_B, state["length"])
        self.new_length_B = kept_old_B + count_B - last_B.clamp(min=0)
        slot_T = torch.arange(int(self.new_length_B.max()), device=device)
        own_BT = cached + last_B.clamp(min=0)[:, None] + slot_T - kept_old_B[:, None]
        self.source_BT = torch.where(slot_T < kept_old_B[:, None], slot_T, own_BT).clamp(max=cached + length - 1)
        self.empty_BT = slot_T >= self.new_length_B[:, None]
        self.keeps_all = len(slot_T) == cached + length and not bool(self.empty_BT.any())

    def keep(self, seen_BMHP: Tensor) -> Tensor:
        """The new cache, from all tokens that the call saw."""
        if self.keeps_all:
            return seen_BMHP
        row_B1 = torch.arange(len(seen_BMHP), device=seen_BMHP.device)[:, None]
        return seen_BMHP[row_B1, self.source_BT].masked_fill(self.empty_BT[..., None, None], 0.0)


def _rotation(position_BL: Tensor, rotated: int) -> tuple[Tensor, Tensor]:
    """cos and sin of the angles position * 10000^(-2 r / R) (Su et al. 2021, arXiv 2104.09864), the half R twice."""
    exponent_R = torch.arange(0, rotated, 2, device=position_BL.device).repeat(2) / max(rotated, 1)
    angle_BL1R = position_BL[..., None, None] * 10000.0**-exponent_R
    return angle_BL1R.cos(), angle_BL1R.sin()


def _rotate(x_BLHP: Tensor, cos_BL1R: Tensor, sin_BL1R: Tensor) -> Tensor:
    """Rotates the first R entries of each head, pairing entry r with r + R / 2 (GPT-NeoX)."""
    turned, rest = x_BLHP.split((cos_BL1R.shape[-1], x_BLHP.shape[-1] - cos_BL1R.shape[-1]), dim=-1)
    first, second = turned.chunk(2, dim=-1)
    return torch.cat([turned * cos_BL1R + torch.cat([-second, first], dim=-1) * sin_BL1R, rest], dim=-1)


class Block(nn.Module):
    """x + attention(norm(x)) + mlp(norm(x)), side by side."""

    def __init__(self, config: Pythia.Config):
        super().__init__()
        width, inner = config.d_model, config.mlp_ratio * config.d_model
        self.heads, self.head_dim = config.n_head, width // config.n_head
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.attention_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp_in, self.mlp_out = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x_BLD, old_key_BTHP, old_value_BTHP, mask_B1LM, rotation):
        qkv_BLHP = self.qkv(self.attention_norm(x_BLD)).unflatten(-1, (3, self.heads, self.head_dim)).unbind(2)
        query_BLHP, key_BLHP = _rotate(qkv_BLHP[0], *rotation), _rotate(qkv_BLHP[1], *rotation)
        key_BMHP = torch.cat([old_key_BTHP, key_BLHP], dim=1)
        value_BMHP = torch.cat([old_value_BTHP, qkv_BLHP[2]], dim=1)
        seen_BHLP = F.scaled_dot_product_attention(
            query_BLHP.transpose(1, 2), key_BMHP.transpose(1, 2), value_BMHP.transpose(1, 2), attn_mask=mask_B1LM
        )
        attended_BLD = self.attention_out(seen_BHLP.transpose(1, 2).flatten(2))
        mlp_BLD = self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x_BLD))))
        return x_BLD + attended_BLD + mlp_BLD, key_BMHP, value_BMHP

"""Attention with a state: over everything since the last reset, or over a window of fixed size.

A cache object is one call's view of the state, computed once for all layers: the attention mask, and the choice of
keys and values to keep.

Glossary: B batch, L length, D all channels (H * P), H heads, P channels of a head, R rotated channels of P, T cached
tokens, M = T + L tokens visible to a call, N blocks of queries, S queries of a block, J = S + T keys visible to a
block, C = B * N.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from tallystick.models.base import State


class Cache:
    """The cache of full attention; positions count from the last reset, which also empties the cache.

    State: `length` [B], the number of tokens since then, and for each layer the rotated keys `k.i` and the values
    `v.i`, [B, T, H, P], oldest token first, padded at the end with zeros to the longest row.
    """

    def __init__(
        self,
        length_B: Tensor,
        cached: int,
        ids_BL: Tensor,
        reset_BL: Tensor | None,
        count_B: Tensor | None,
        rotated: int,
    ):
        """Prepare a call; length_B and cached (T) describe the state; count_B: number of valid tokens of each row."""
        (batch, length), device = ids_BL.shape, ids_BL.device
        own_L = torch.arange(length, device=device)
        count_B = own_L.new_full((batch,), length) if count_B is None else count_B
        start_BL = _starts(own_L, reset_BL, count_B)
        fresh_BL = start_BL >= 0
        position_BL = torch.where(fresh_BL, own_L - start_BL, length_B[:, None] + own_L)
        self.rotation = _rotation(position_BL, rotated)

        sees_old_BLT = ~fresh_BL[..., None] & (torch.arange(cached, device=device) < length_B[:, None])[:, None]
        sees_own_BLL = (own_L <= own_L[:, None]) & (own_L >= start_BL[..., None])
        self.mask_B1LM = torch.cat([sees_old_BLT, sees_own_BLL], dim=-1)[:, None]

        # A row's new cache has the old tokens and the valid new ones, or only those since the last reset.
        last_B, none_B = start_BL[:, -1], count_B.new_zeros(batch)
        kept_old_B = torch.where(last_B >= 0, none_B, length_B)
        self.length_B = kept_old_B + count_B - last_B.clamp(min=0)
        slot_T = torch.arange(int(self.length_B.max()), device=device)
        own_BT = cached + last_B.clamp(min=0)[:, None] + slot_T - kept_old_B[:, None]
        self.source_BT = torch.where(slot_T < kept_old_B[:, None], slot_T, own_BT).clamp(max=cached + length - 1)
        self.empty_BT = slot_T >= self.length_B[:, None]
        self.keeps_all = len(slot_T) == cached + length and not bool(self.empty_BT.any())

    @staticmethod
    def entries(length: int, window: int) -> int:
        """Return the number of keys in a state after `length` tokens."""
        return length

    def attend(
        self, query_BLHP: Tensor, key_BLHP: Tensor, value_BLHP: Tensor, old_key_BTHP: Tensor, old_value_BTHP: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the attention's result [B, L, D], and the layer's new keys and values."""
        key_BMHP = torch.cat([old_key_BTHP, _rotate(key_BLHP, *self.rotation)], dim=1)
        value_BMHP = torch.cat([old_value_BTHP, value_BLHP], dim=1)
        seen_BHLP = F.scaled_dot_product_attention(
            _rotate(query_BLHP, *self.rotation).transpose(1, 2),
            key_BMHP.transpose(1, 2),
            value_BMHP.transpose(1, 2),
            attn_mask=self.mask_B1LM,
        )
        return seen_BHLP.transpose(1, 2).flatten(2), self._keep(key_BMHP), self._keep(value_BMHP)

    def _keep(self, seen_BMHP: Tensor) -> Tensor:
        """Return the new cache [B, T, H, P] of the tokens that the call saw."""
        if self.keeps_all:
            return seen_BMHP
        row_B1 = torch.arange(len(seen_BMHP), device=seen_BMHP.device)[:, None]
        return seen_BMHP[row_B1, self.source_BT].masked_fill(self.empty_BT[..., None, None], 0.0)


class WindowCache:
    """The cache of attention over the last W tokens, including the current one, in time linear in the length.

    State: `length` [B], the number of filled slots among T = W - 1, and for each layer the keys `k.i`, not rotated, and
    the values `v.i`, [B, T, H, P], newest token last. Rotary attention depends on distances only, so that positions can
    count from the oldest slot.
    """

    def __init__(
        self,
        length_B: Tensor,
        cached: int,
        ids_BL: Tensor,
        reset_BL: Tensor | None,
        count_B: Tensor | None,
        rotated: int,
    ):
        """Prepare a call; the arguments are those of `Cache`."""
        (batch, length), device = ids_BL.shape, ids_BL.device
        own_L = torch.arange(length, device=device)
        count_B = own_L.new_full((batch,), length) if count_B is None else count_B
        start_BL = _starts(own_L, reset_BL, count_B)
        first_BL = torch.where(start_BL >= 0, cached + start_BL, cached - length_B[:, None])

        self.block = min(length, cached + 1)
        self.pad = -length % self.block
        self.rotation = _rotation(torch.arange(cached + length, device=device)[None], rotated)
        key_J = torch.arange(self.block + cached, device=device)
        query_S1 = key_J[: self.block, None]
        band_SJ = (key_J >= query_S1) & (key_J <= query_S1 + cached)
        offset_N11 = torch.arange(0, length, self.block, device=device)[:, None, None]
        first_BNS1 = F.pad(first_BL, (0, self.pad)).unflatten(1, (-1, self.block))[..., None]
        self.mask_C1SJ = (band_SJ & (key_J + offset_N11 >= first_BNS1)).flatten(0, 1)[:, None]

        last_B = start_BL[:, -1]
        held_B = torch.where(last_B >= 0, count_B - last_B, length_B + count_B)
        self.length_B = held_B.clamp(max=cached)
        slot_T = torch.arange(cached, device=device)
        self.source_BT = count_B[:, None] + slot_T
        self.empty_BT = slot_T < cached - self.length_B[:, None]

    @staticmethod
    def entries(length: int, window: int) -> int:
        """Return the number of keys in a state, whatever the number of tokens."""
        return window - 1

    def attend(
        self, query_BLHP: Tensor, key_BLHP: Tensor, value_BLHP: Tensor, old_key_BTHP: Tensor, old_value_BTHP: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the attention's result [B, L, D], and the layer's new keys and values."""
        length = query_BLHP.shape[1]
        key_BMHP, value_BMHP = torch.cat([old_key_BTHP, key_BLHP], 1), torch.cat([old_value_BTHP, value_BLHP], 1)
        cos_BL1R, sin_BL1R = (angle[:, -length:] for angle in self.rotation)
        query_BLHP = F.pad(_rotate(query_BLHP, cos_BL1R, sin_BL1R), (0, 0, 0, 0, 0, self.pad))
        seen_CHSP = F.scaled_dot_product_attention(
            query_BLHP.unflatten(1, (-1, self.block)).flatten(0, 1).transpose(1, 2),
            self._blocks(_rotate(key_BMHP, *self.rotation)),
            self._blocks(value_BMHP),
            attn_mask=self.mask_C1SJ,
        )
        seen_BLD = seen_CHSP.transpose(1, 2).reshape(len(query_BLHP), length + self.pad, -1)[:, :length]
        return seen_BLD, self._keep(key_BMHP), self._keep(value_BMHP)

    def _blocks(self, seen_BMHP: Tensor) -> Tensor:
        """Return the keys or values visible to each block of queries, [C, H, J, P]."""
        padded = F.pad(seen_BMHP, (0, 0, 0, 0, 0, self.pad))
        return padded.unfold(1, self.mask_C1SJ.shape[-1], self.block).flatten(0, 1).transpose(-1, -2)

    def _keep(self, seen_BMHP: Tensor) -> Tensor:
        """Return the new cache [B, T, H, P] of the tokens that the call saw."""
        row_B1 = torch.arange(len(seen_BMHP), device=seen_BMHP.device)[:, None]
        return seen_BMHP[row_B1, self.source_BT].masked_fill(self.empty_BT[..., None, None], 0.0)


def empty(layers: Iterable[int], batch: int, entries: int, heads: int, head_width: int, like: Tensor) -> State:
    """Return the caches `k.i` and `v.i` of the given layers before the first token, and their common `length`."""
    shape, length_B = (batch, entries, heads, head_width), torch.zeros(batch, dtype=torch.int64, device=like.device)
    return {"length": length_B, **{f"{kind}.{i}": like.new_zeros(shape) for i in layers for kind in "kv"}}


def _starts(own_L: Tensor, reset_BL: Tensor | None, count_B: Tensor) -> Tensor:
    """Return the position in this call of each token's last reset, [B, L]; -1 if it lies before the call."""
    if reset_BL is None:
        return own_L.new_full((len(count_B), len(own_L)), -1)
    return torch.where(reset_BL & (own_L < count_B[:, None]), own_L, -1).cummax(1).values


def _rotation(position_BL: Tensor, rotated: int) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of each position's angles, [B, L, 1, R].

    The angles are position * 10000^(-2 r / R) for r < R / 2, twice (Su et al. 2021, arXiv 2104.09864), computed in
    double precision: in single precision, those of far positions would depend on where the call begins.
    """
    exponent_R = torch.arange(0, rotated, 2, device=position_BL.device).repeat(2).double() / max(rotated, 1)
    angle_BL1R = position_BL[..., None, None] * 10000.0**-exponent_R
    return angle_BL1R.cos().float(), angle_BL1R.sin().float()


def _rotate(x_BLHP: Tensor, cos_BL1R: Tensor, sin_BL1R: Tensor) -> Tensor:
    """Rotate the first R channels of each head, pairing channel r with r + R / 2 as GPT-NeoX does; none if R = 0."""
    if not cos_BL1R.shape[-1]:
        return x_BLHP
    turned, rest = x_BLHP.split((cos_BL1R.shape[-1], x_BLHP.shape[-1] - cos_BL1R.shape[-1]), dim=-1)
    first, second = turned.chunk(2, dim=-1)
    return torch.cat([turned * cos_BL1R + torch.cat([-second, first], dim=-1) * sin_BL1R, rest], dim=-1)

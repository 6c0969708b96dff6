"""A recurrent network whose whole state is so many bits: the finite set S of Theorem 2.1 (paper, section 1), literally.

Glossary: B batch, L length, V vocabulary, W width, N bits of the state, Y its bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tallystick.models.base import Model, State
from tallystick.models.config import WIDTHS, ranged
from tallystick.models.config import Config as BaseConfig


class Bits(Model):
    """A gated recurrent cell, its state rounded to bits after every token.

    Between tokens there is nothing else: the state is handed out packed, eight bits a byte, and what is said is read
    from it alone. So after a prompt it can give at most 2^N different answers, whatever the weights. A step has no
    gradient: that of the value before it is rounded is taken (straight through; Bengio et al. 2013, arXiv 1308.3432).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(BaseConfig):
        """Sizes."""

        bits: int = ranged(32, 8, 2**16)
        """Size of the state, a multiple of 8."""
        width: int = ranged(512, *WIDTHS)
        """Hidden units of the update and of the output."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.bits % 8:
                raise ValueError(f"bits={self.bits} must be a multiple of 8")

    config: Config
    PRESETS = {"tiny": {"bits": 32}, "16": {"bits": 16}, "32": {"bits": 32}, "64": {"bits": 64}}
    verify_chunk = 1024
    capturable = True

    def __init__(self, config: Config):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.hidden = nn.Linear(config.bits, config.width)
        self.update = nn.Linear(config.width, 2 * config.bits)
        self.out = nn.Linear(config.bits, config.width)
        self.head = nn.Linear(config.width, config.vocab_size)

    def forward(self, ids_BL, state=None, *, reset_BL=None, length_B=None):
        state = self.init_state(len(ids_BL)) if state is None else state
        x_BLW, s_BN = self.embedding(ids_BL), unpack(state["bits"])
        states = []
        for i in range(ids_BL.shape[1]):
            if reset_BL is not None:
                s_BN = torch.where(self._counts(reset_BL[:, i], length_B, i), -1.0, s_BN)
            new_BN = self._step(s_BN, x_BLW[:, i])
            s_BN = new_BN if length_B is None else torch.where((i < length_B)[:, None], new_BN, s_BN)
            states.append(s_BN)
        logits_BLV = self.head(F.relu(self.out(torch.stack(states, 1))))
        return logits_BLV, {"bits": pack(s_BN)}

    def _counts(self, reset_B: Tensor, length_B: Tensor | None, i: int) -> Tensor:
        return (reset_B if length_B is None else reset_B & (i < length_B))[:, None]

    def _step(self, s_BN: Tensor, x_BW: Tensor) -> Tensor:
        """Each bit keeps its value or takes a new one."""
        gate_BN, new_BN = self.update(F.relu(self.hidden(s_BN) + x_BW)).chunk(2, dim=-1)
        soft_BN = torch.lerp(new_BN.tanh(), s_BN, gate_BN.sigmoid())
        return torch.where(soft_BN > 0, 1.0, -1.0) + (soft_BN - soft_BN.detach())

    def init_state(self, batch: int) -> State:
        shape = (batch, self.config.bits // 8)
        return {"bits": torch.zeros(shape, dtype=torch.uint8, device=self.embedding.weight.device)}

    def state_bytes(self, length: int) -> int:
        return self.config.bits // 8


def unpack(bits_BY: Tensor) -> Tensor:
    """Bytes as 1 and -1, float [B, N]."""
    return torch.where((bits_BY[..., None] & _weights(bits_BY)) > 0, 1.0, -1.0).flatten(1)


def pack(s_BN: Tensor) -> Tensor:
    """1 and -1 as bytes, uint8 [B, Y]."""
    return ((s_BN.unflatten(1, (-1, 8)) > 0) * _weights(s_BN)).sum(-1, dtype=torch.uint8)


def _weights(like: Tensor) -> Tensor:
    """Of a byte's bits; made on the device, for a step that is captured may copy nothing there."""
    return 2 ** torch.arange(8, dtype=torch.uint8, device=like.device)

"""A recurrent network whose entire state is a few bits: the finite set S of Theorem 2.1 in arXiv 2510.14826.

Glossary: B batch, L length, V vocabulary, W width, N bits of the state, Y bytes of the state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tallystick.kernels.precision import in_fp32
from tallystick.models.base import Model, State
from tallystick.models.config import WIDTHS
from tallystick.models.config import Config as BaseConfig
from tallystick.ranges import ranged


class Bits(Model):
    """A gated recurrent cell whose state is rounded to bits after every token; constant state.

    Nothing else is carried from token to token, and the output is computed from these bits only. So after a prompt the
    model can give at most 2^N different answers, whatever its weights. Rounding is differentiated as the identity
    (straight-through estimator; Bengio et al. 2013, arXiv 1308.3432).

    State: `bits` [B, Y], uint8, eight bits per byte.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(BaseConfig):
        """Sizes of the state and of the network."""

        bits: int = ranged(32, 8, 2**16)
        """Number of bits of the state, a multiple of 8."""
        width: int = ranged(512, *WIDTHS)
        """Number of hidden units of the update and of the output."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.bits % 8:
                raise ValueError(f"bits={self.bits} must be a multiple of 8")

    config: Config
    PRESETS = {"tiny": {"bits": 32}, "16": {"bits": 16}, "32": {"bits": 32}, "64": {"bits": 64}}
    capturable = True

    def __init__(self, config: Config):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.hidden = nn.Linear(config.bits, config.width)
        self.update = nn.Linear(config.width, 2 * config.bits)
        self.out = nn.Linear(config.bits, config.width)
        self.head = nn.Linear(config.width, config.vocab_size)

    def forward(
        self,
        ids_BL: Tensor,
        state: State | None = None,
        *,
        reset_BL: Tensor | None = None,
        length_B: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        state = self.init_state(len(ids_BL)) if state is None else state
        x_BLW, s_BN = self.embedding(ids_BL), unpack(state["bits"])
        states = []
        for i in range(ids_BL.shape[1]):
            if reset_BL is not None:
                reset_B = reset_BL[:, i] if length_B is None else reset_BL[:, i] & (i < length_B)
                s_BN = torch.where(reset_B[:, None], -1.0, s_BN)
            new_BN = self._step(s_BN, x_BLW[:, i])
            s_BN = new_BN if length_B is None else torch.where((i < length_B)[:, None], new_BN, s_BN)
            states.append(s_BN)
        logits_BLV = self.head(F.relu(self.out(torch.stack(states, 1))))
        return logits_BLV, {"bits": pack(s_BN)}

    @in_fp32
    def _step(self, s_BN: Tensor, x_BW: Tensor) -> Tensor:
        """Return the next state: each bit keeps its value or takes a new one."""
        gate_BN, new_BN = self.update(F.relu(self.hidden(s_BN) + x_BW)).chunk(2, dim=-1)
        soft_BN = torch.lerp(new_BN.tanh(), s_BN, gate_BN.sigmoid())
        return torch.where(soft_BN > 0, 1.0, -1.0) + (soft_BN - soft_BN.detach())

    def init_state(self, batch: int) -> State:
        shape = (batch, self.config.bits // 8)
        return {"bits": torch.zeros(shape, dtype=torch.uint8, device=self.embedding.weight.device)}


def unpack(bits_BY: Tensor) -> Tensor:
    """Unpack bytes into bits, returned as 1 and -1, float [B, N]."""
    return torch.where((bits_BY[..., None] & _place_values(bits_BY)) > 0, 1.0, -1.0).flatten(1)


def pack(s_BN: Tensor) -> Tensor:
    """Pack bits, given as 1 and -1, into bytes, uint8 [B, Y]."""
    return ((s_BN.unflatten(1, (-1, 8)) > 0) * _place_values(s_BN)).sum(-1, dtype=torch.uint8)


def _place_values(like: Tensor) -> Tensor:
    """Return 1, 2, 4, ..., 128 as uint8, made on the device, since a captured step may not copy anything there."""
    return 2 ** torch.arange(8, dtype=torch.uint8, device=like.device)

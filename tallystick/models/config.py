"""Settings of models: the fields that several models share, with their ranges.

A model's `Config` inherits from `Config` or from one of its subclasses below. Creating one checks every field, so that
a mistake is reported in one line before anything is allocated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tallystick.ranges import check_ranges, ranged

WIDTHS = (1, 2**16)
"""Range of a number of channels."""
COUNTS = (1, 2**8)
"""Range of a number of blocks or heads."""
FACTORS = (1, 2**6)
"""Range of a ratio of two widths."""
STEP_SIZES = (1e-6, 1e2)
"""Range of the step size of a state space model."""


def check_divides(config: Any, part: str, whole: str) -> None:
    """Raise ValueError unless the field `part` divides the field or property `whole`."""
    divisor, size = getattr(config, part), getattr(config, whole)
    if size % divisor:
        raise ValueError(f"{part}={divisor} does not divide {whole}={size}")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a model, which `models.build` takes as `key=value`; fields are bool, int, float or str.

    A subclass declares each number's range with `ranged`, and checks relations between fields in `__post_init__`, after
    `super().__post_init__()`.
    """

    vocab_size: int = field(metadata={"min": 1, "max": 2**24})
    """Number of tokens of the task's vocabulary; not a setting."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class StackConfig(Config):
    """Sizes of a stack of blocks on one residual stream."""

    d_model: int = ranged(64, *WIDTHS)
    """Width of the residual stream."""
    n_layer: int = ranged(2, *COUNTS)
    """Number of blocks."""


@dataclass(frozen=True, kw_only=True)
class ShortConvolutionConfig(StackConfig):
    """Sizes of blocks with a short convolution."""

    d_conv: int = ranged(4, 2, 64)
    """Width of the causal convolution, in tokens."""


@dataclass(frozen=True, kw_only=True)
class ConvolutionConfig(ShortConvolutionConfig):
    """Sizes of blocks with a short convolution, and a state that decays by an input-dependent step size."""

    dt_min: float = ranged(0.05, *STEP_SIZES)
    """Smallest initial step size. A state decays by exp(-dt A) per token, with A from 1 to 16 (Mamba-1: to d_state;
    Mamba-2: to A_max). Published models use 0.001 to 0.1, with which some states last a thousand tokens; a problem
    longer than those of training then fills them with values that training never met."""
    dt_max: float = ranged(0.5, *STEP_SIZES)
    """Largest initial step size; at least dt_min."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dt_min > self.dt_max:
            raise ValueError(f"dt_min={self.dt_min} must not exceed dt_max={self.dt_max}")


@dataclass(frozen=True, kw_only=True)
class MambaConfig(ConvolutionConfig):
    """Sizes that Mamba and Mamba-2 share."""

    dt_floor: float = ranged(0.0, 0.0, 1e2)
    """Added to every step size, so that no state decays by less than exp(-dt_floor) per token: A is at least 1 then.
    `tallystick certify` needs a floor; with 0 there is none. dt_min and dt_max are meant before it is added."""
    d_state: int = ranged(16, *WIDTHS)
    """Number of state entries of each channel."""
    expand: int = ranged(2, *FACTORS)
    """Ratio of the inner width to d_model."""
    tied: bool = True
    """Whether the output layer shares the embedding's weights."""

    @property
    def d_inner(self) -> int:
        """Inner width of a block."""
        return self.expand * self.d_model


@dataclass(frozen=True, kw_only=True)
class HeadsConfig(StackConfig):
    """Sizes of blocks with several heads, each followed by an MLP."""

    n_head: int = ranged(2, *COUNTS)
    """Number of heads; must divide d_model."""
    mlp_ratio: int = ranged(4, *FACTORS)
    """Ratio of the MLP's width to d_model."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_divides(self, "n_head", "d_model")

    @property
    def head_width(self) -> int:
        """Number of channels of one head."""
        return self.d_model // self.n_head


@dataclass(frozen=True, kw_only=True)
class RotaryConfig(HeadsConfig):
    """Sizes of blocks with heads whose first channels are rotated by the token's position."""

    rotary_fraction: float = ranged(0.25, 0.0, 1.0)
    """Share of each head's channels that is rotated."""

    @property
    def rotated(self) -> int:
        """Number of rotated channels of one head, which is even."""
        return int(self.head_width * self.rotary_fraction) // 2 * 2

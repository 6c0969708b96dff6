"""Episodes to be run in machine code, and how they ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tallystick.episode import Sink, StopReason


@dataclass(frozen=True)
class Order:
    """An episode to be run."""

    prompt: list[str]
    unread: Sequence[int]
    """The ids of its beginning, which are recorded already."""
    limit: int
    """Maximum number of its tokens."""
    program: np.ndarray
    """The program's tokens."""
    sink: Sink


@dataclass(frozen=True)
class Outcome:
    """How an episode ran."""

    stop: StopReason
    position: int
    """Number of its tokens."""
    tokens: int
    """Number of tokens up to the last one that the model said."""
    model_tokens: int
    low_margin_tokens: int
    min_margin: float
    wrong: tuple[int, int | None, float] | None
    """Place, token (None if the model abstained) and margin of the first deviation from the program."""

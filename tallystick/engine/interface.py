"""The interface between models that read and speak, and what uses them.

Glossary: B sequences, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from tallystick.models.base import State


class Said(NamedTuple):
    """What a model says in one sequence."""

    token: int
    margin: float
    """Its logit minus the next smaller one."""
    silent: bool
    """Whether the model abstains."""
    logits_V: np.ndarray
    """All logits, float32."""


class Reader(Protocol):
    """A model and its state in each of some sequences."""

    backend: str
    """How the model is run, one of BACKENDS."""

    @property
    def state(self) -> State | None:
        """The state; None before the first token."""
        ...

    def resume(self, state: State) -> None:
        """Go on from a state, which has a row for each sequence, instead of before the first token."""
        ...

    def read(self, unread: Sequence[Sequence[int]]) -> list[Said]:
        """Read one or more new tokens of each sequence; return what the model says next."""
        ...

    def read_on(self, unread: Sequence[int], plain_V: np.ndarray, most: int) -> tuple[list[int], Said]:
        """Read new tokens of a single sequence; return what the model says next, and before that, tokens it has read.

        plain_V: bool; a model may say and read on its own the tokens that nobody answers, at most `most` of them.
        """
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Drop the other sequences."""
        ...

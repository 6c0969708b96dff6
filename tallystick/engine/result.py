"""How one episode went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tallystick.episode import StopReason

CONTEXT = 16
"""Tokens of context kept with a first error."""


@dataclass
class Result:
    """How one episode went; of `verify` and `generate` alike. Counts end at the first deviation."""

    index: int
    """Of the problem, in the order given."""
    stop: StopReason = StopReason.EOS
    """How it ended."""
    exact: bool = True
    """Every model token equals the program's."""
    answer: bool | None = None
    """Whether the answer is right; None where verify cannot know."""
    score: float | None = None
    """How much of the answer is right, by the task's `partial_score`; None where verify cannot know."""
    model_tokens: int = 0
    """Model tokens looked at."""
    tokens: int = 0
    """The episode's tokens up to the last one looked at, prompt and observations included."""
    low_margin_tokens: int = 0
    """Of these, tokens whose margin is within rounding."""
    min_margin: float = float("inf")
    """The smallest margin: logit of the program's token less the best other; negative at a deviation."""
    first_error: dict[str, Any] | None = None
    """{"index", "position", "context", "want", "got", "margin"} of the first deviation."""

"""The result of one episode, as `verify` and `generate` measure it."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.episode import StopReason
from tallystick.rows import FirstError

CONTEXT = 16
"""Tokens of context kept with a first error."""


@dataclass
class Result:
    """The result of one episode; counts end at its first deviation from the program."""

    index: int
    """Number of the problem, in the order given."""
    stop: StopReason = StopReason.EOS
    """Why it ended."""
    exact: bool = True
    """Whether every model token equals the program's."""
    answer: bool | None = None
    """Whether the answer is right; None where verify cannot know."""
    score: float | None = None
    """The task's `partial_score` of the answer, 0 to 1; None where verify cannot know."""
    model_tokens: int = 0
    """Model tokens looked at."""
    tokens: int = 0
    """Tokens of the episode up to the last one looked at, prompt and observations included."""
    low_margin_tokens: int = 0
    """Model tokens whose margin is so small that rounding may decide."""
    min_margin: float = float("inf")
    """The smallest margin: logit of the program's token less the best other; not positive at a deviation."""
    first_error: FirstError | None = None
    """The first deviation, if there is one."""

"""The result of one episode, as `verify` and `generate` measure it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from tallystick.episode import StopReason

CONTEXT = 16
"""Tokens of context kept with a first error."""


class FirstError(TypedDict):
    """The first token of an episode that differs from the program's."""

    index: int
    """Number of the problem."""
    position: int
    """Number of the token in the episode; [BOS] is 0."""
    context: list[str]
    """The last tokens before it."""
    want: str
    """The program's token."""
    got: str | None
    """The model's; None where it says nothing (lookup)."""
    margin: float
    """Logit of the program's token less the best other; not positive."""


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

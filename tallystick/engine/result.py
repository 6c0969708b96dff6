"""The result of one episode, as `verify` and `generate` measure it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tallystick.episode import StopReason
from tallystick.rows import FirstError

CONTEXT = 16
"""Number of context tokens kept with a first error."""


@dataclass
class Result:
    """The result of one episode; counts end at its first deviation from the program."""

    index: int
    """Index of the problem, in the order given."""
    stop: StopReason = StopReason.EOS
    """Why the episode ended."""
    exact: bool = True
    """Whether every model token equals the program's."""
    answer: bool | None = None
    """Whether the answer is right; None where verify cannot know."""
    score: float | None = None
    """The task's `partial_score` of the answer, 0 to 1; None where verify cannot know."""
    facts: dict[str, bool] = field(default_factory=dict)
    """The task's `facts` of what the episode left; empty where verify cannot know."""
    model_tokens: int = 0
    """Number of model tokens compared."""
    tokens: int = 0
    """Number of tokens up to the last one compared, prompt and observations included."""
    low_margin_tokens: int = 0
    """Number of model tokens whose margin is so small that rounding may decide."""
    min_margin: float = float("inf")
    """The smallest margin: the logit of the program's token minus the best other; not positive at a deviation."""
    first_error: FirstError | None = None
    """The first deviation, if there is one."""

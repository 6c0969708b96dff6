"""Verdicts: whether a task is local, and what that predicts about a trained model.

This is the only module that decides either; `check`, the report and the studies print its verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ROWS = 3
"""Number of rows of `check` that a verdict is based on: the last ones."""
SUPPORT = 8
"""Random problems that must need all k tokens before k is believed; one worst case of the row's length is enough."""
MANY_UNSEEN = 0.1
"""Share of contexts unseen at the training length above which contexts are assumed to be rare in any sample."""
SUPPORT_SHARE = 0.05
"""Share of random problems that must need all k tokens if contexts are rare, since few show a k by chance."""


@dataclass(frozen=True)
class Growth:
    """Support of one row of `check` for its k."""

    k: int
    """The fewest last tokens that decide every model token; -1 if no context decides some token."""
    shown: int
    """Number of random problems that need all k tokens."""
    shown_by_worst: bool
    """Whether a worst case of this row's length needs all k tokens."""
    beyond: int
    """Number of random problems that need more than the previous row's k."""
    beyond_by_worst: bool
    """Whether a worst case needs more than the previous row's k."""
    problems: int
    """Number of random problems."""
    unseen: float
    """Share of the contexts that do not occur at the training length."""

    @property
    def is_shown(self) -> bool:
        """Whether enough problems need all k tokens for k not to be chance."""
        needed = SUPPORT_SHARE * self.problems if self.unseen > MANY_UNSEEN else SUPPORT
        return self.shown_by_worst or self.shown >= needed


def judge(rows: Sequence[Growth]) -> tuple[bool | None, str]:
    """Judge from the rows of `check` whether a task is local; None means undecided. The text says why not.

    Where most contexts are rare, a sample's k saturates: it then measures the sample, whether it grows or not.
    """
    last = rows[-ROWS:]
    ks = ", ".join(str(row.k) for row in last)
    if any(row.k < 0 for row in last):
        return False, "some tokens are not decided by anything before them"
    if len(last) < ROWS:
        return None, f"a verdict needs at least {ROWS} lengths"
    if len({row.k for row in last}) == 1:
        end = last[-1]
        if end.is_shown:
            return True, ""
        return (
            None,
            f"only {end.shown} of {end.problems:,} random problems show k = {end.k}; more problems may show a larger k",
        )
    grows = all(a.k < b.k for a, b in zip(last, last[1:], strict=False))
    if grows and all(row.beyond_by_worst or row.beyond >= SUPPORT for row in last[1:]):
        return False, f"k grows with the length: {ks}"
    return None, f"k still changes with the sample, {ks}; name hard problems as worst_cases, or check longer ones"


def predict(run: Mapping[str, Any], check: Mapping[str, Any] | None, length: int) -> str:
    """Predict from a report of `check` how a trained model performs at a length.

    Returns "exact", "fails", "open" (the model must generalise over contents), "undecided" (as `check` is), or "none"
    for no prediction. Within the training length "fails" and "open" are never predicted, since the model may have
    memorised those problems. run: {"model", "train_length", "fixed_state"}.
    """
    if check is None or not run["fixed_state"]:
        return "none"
    if check["local"] is None:
        return "undecided"
    if check["local"] and check["covered"]:
        return "exact"
    if length <= run["train_length"]:
        return "none"
    return "open" if check["local"] else "fails"


AGREES, DIFFERS, NOT_LEARNED, NO_PREDICTION = "agrees", "differs", "not learned", "no prediction"


def is_exact(row: Mapping[str, Any]) -> bool:
    """Return whether every problem of a measured row was exact."""
    return row["exact"] == row["samples"]


def compare(predicted: str, learned: bool, exact: bool) -> str:
    """Compare a prediction with the measurement: AGREES, DIFFERS, NOT_LEARNED or NO_PREDICTION.

    learned: whether the model is exact at its training length; predictions are about such models only.
    """
    if predicted not in ("exact", "fails"):
        return NO_PREDICTION
    if not learned:
        return NOT_LEARNED
    return AGREES if exact == (predicted == "exact") else DIFFERS

"""Verdicts: whether a task is local, and what that predicts of a trained model.

These are the only places that decide either; `check`, the report and the studies print them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ROWS = 3
"""Rows of `check` that a verdict looks at: the last ones."""
SUPPORT = 8
"""Random problems that must show a k before it is believed; a worst case of the row's own length is enough alone."""
MANY_UNSEEN = 0.1
"""Share of contexts missing at the training length from which most of them are taken to be rare in any sample."""
SHARE = 0.05
"""Share of the random problems that must then show a k: the deepest context of a rare kind is met by chance."""


@dataclass(frozen=True)
class Growth:
    """How well one row of `check` supports its k."""

    k: int
    """The fewest last tokens that decide everything; -1 if nothing decides some token."""
    shown: int
    """Random problems that need all k tokens."""
    shown_by_worst: bool
    """Whether a worst case of this row's length does."""
    beyond: int
    """Random problems that need more than the k of the row before."""
    beyond_by_worst: bool
    """Whether a worst case does."""
    problems: int
    """Random problems looked at."""
    unseen: float
    """Share of the contexts that do not occur at the training length."""

    @property
    def is_shown(self) -> bool:
        """Whether k is more than the luck of the sample."""
        needed = SHARE * self.problems if self.unseen > MANY_UNSEEN else SUPPORT
        return self.shown_by_worst or self.shown >= needed


def judge(rows: Sequence[Growth]) -> tuple[bool | None, str]:
    """Judge whether a task is local from the rows of `check`; None means undecided. The text says why not.

    k of a sample saturates where most contexts are rare: then it measures the sample, whether it grows or not.
    """
    last = rows[-ROWS:]
    ks = ", ".join(str(row.k) for row in last)
    if any(row.k < 0 for row in last):
        return False, "some tokens are not decided by anything that was said before them"
    if len(last) < ROWS:
        return None, f"a verdict takes {ROWS} lengths"
    if len({row.k for row in last}) == 1:
        end = last[-1]
        if end.is_shown:
            return True, ""
        return (
            None,
            f"only {end.shown} of {end.problems:,} random problems show k = {end.k}: more may show a larger one",
        )
    grows = all(a.k < b.k for a, b in zip(last, last[1:], strict=False))
    if grows and all(row.beyond_by_worst or row.beyond >= SUPPORT for row in last[1:]):
        return False, f"k grows with the length: {ks}"
    return None, f"k still changes with the sample, {ks}: look at more problems or longer ones"


def predict(run: Mapping[str, Any], check: Mapping[str, Any] | None, length: int) -> str:
    """Predict from `check` how a trained model does at a length.

    "exact", "fails", "open" (it must generalise over contents), "undecided" (so is `check`), or "none": nothing is
    predicted. Within the training length nothing is predicted unless the task is local and covered: what was drawn can
    be learned. run: {"model", "train_length", "fixed_state"}.
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
    """Compare a prediction with what was measured: AGREES, DIFFERS, NOT_LEARNED or NO_PREDICTION.

    learned: whether the model is exact at its training length; what is predicted is predicted of models that are.
    """
    if predicted not in ("exact", "fails"):
        return NO_PREDICTION
    if not learned:
        return NOT_LEARNED
    return AGREES if exact == (predicted == "exact") else DIFFERS

"""What locality predicts of a trained model."""

from __future__ import annotations

from typing import Any


def predict(run: dict[str, Any], check: dict[str, Any] | None, length: int) -> str:
    """ "exact", "fails", "open" (the contents must be generalised over), or "none": check says nothing of it.

    Within the training length nothing is predicted unless the task is local and covered: what was drawn can be learnt.
    """
    if check is None or check["local"] is None or not run["fixed_state"]:
        return "none"
    if check["local"] and check["covered"]:
        return "exact"
    if length <= run["train_length"]:
        return "none"
    return "open" if check["local"] and not run["model"].startswith("lookup") else "fails"

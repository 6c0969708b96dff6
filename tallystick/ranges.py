"""Numeric settings with a range: declared at the dataclass field, checked when the object is created."""

from __future__ import annotations

import sys
from dataclasses import field, fields
from typing import Any

UNSTATED = {int: (1, 2**31 - 1), float: (-sys.float_info.max, sys.float_info.max)}
"""Default range by type, for fields of a user's own model: positive integers, finite floats."""


def ranged(default: Any, least: float, most: float) -> Any:
    """Declare a field's default (dataclasses.MISSING for none) and its range, both ends included."""
    return field(default=default, metadata={"min": least, "max": most})


def check_ranges(config: Any) -> None:
    """Raise ValueError for the first number of a dataclass that lies outside its field's range, as NaN always does."""
    for each in fields(config):
        value = getattr(config, each.name)
        if type(value) not in UNSTATED:
            continue
        least, most = UNSTATED[type(value)]
        least, most = each.metadata.get("min", least), each.metadata.get("max", most)
        if not least <= value <= most:
            raise ValueError(f"{each.name}={value} must be between {least} and {most}")

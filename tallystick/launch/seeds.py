"""Parse lists of seeds."""

from __future__ import annotations

MOST = 10_000
"""Seeds in a list at most."""
LARGEST = 2**63 - 1
"""The largest seed that torch takes."""


def parse_seeds(text: str) -> list[int]:
    """Parse seeds such as "0-4" or "0,3,7". Raises ValueError for another form, no seed, or a repeated seed."""
    try:
        first, dash, last = text.partition("-")
        seeds = range(int(first), int(last) + 1) if dash else [int(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(f"--seeds {text}: write 0-4 or 0,3,7") from None
    if seeds[MOST:]:
        raise ValueError(f"--seeds {text}: name at most {MOST:,} seeds")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds {text}: name at least one seed, and none twice")
    if min(seeds) < 0 or max(seeds) > LARGEST:
        raise ValueError(f"--seeds {text}: a seed is between 0 and {LARGEST}")
    return list(seeds)

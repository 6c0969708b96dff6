"""Parse lists of seeds."""

from __future__ import annotations


def parse_seeds(text: str) -> list[int]:
    """Parse seeds such as "0-4" or "0,3,7". Raises ValueError for another form, no seed, or a repeated seed."""
    try:
        first, dash, last = text.partition("-")
        seeds = list(range(int(first), int(last) + 1)) if dash else [int(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(f"--seeds {text} is not a list of seeds; write, for example, 0-4 or 0,3,7") from None
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds {text} is empty or names a seed twice; name at least one seed, each once")
    return seeds

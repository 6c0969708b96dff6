"""Confidence intervals."""

from __future__ import annotations

import math


def wilson(hits: int, samples: int, z: float = 1.96) -> list[float]:
    """Wilson's 95 % interval of a share."""
    share, spread = hits / samples, z * z / samples
    half = z * math.sqrt(share * (1 - share) / samples + spread / (4 * samples))
    return [max(0.0, (share + spread / 2 - half) / (1 + spread)), min(1.0, (share + spread / 2 + half) / (1 + spread))]


def poisson_bound(events: int, confidence: float = 0.95) -> float:
    """The largest rate under which so few events still have a chance of 1 - confidence; about 3 for none."""
    low, high = 0.0, 10.0 + 3 * events
    while high - low > 1e-9:
        rate = (low + high) / 2
        chance = sum(math.exp(k * math.log(rate) - rate - math.lgamma(k + 1)) for k in range(events + 1))
        low, high = (rate, high) if chance > 1 - confidence else (low, rate)
    return high

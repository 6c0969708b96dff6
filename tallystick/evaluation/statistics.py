"""Confidence intervals, and margins made fit for JSON."""

from __future__ import annotations

import math

from tallystick.rows import FirstError

LEAST = -3e38
"""Threshold below which a margin stands for logits that are not finite (`engine.margins.margin`)."""


def wilson(hits: int, samples: int, z: float = 1.96) -> list[float]:
    """Compute Wilson's score interval of a share; z = 1.96 for 95 %."""
    share, spread = hits / samples, z * z / samples
    half = z * math.sqrt(share * (1 - share) / samples + spread / (4 * samples))
    return [max(0.0, (share + spread / 2 - half) / (1 + spread)), min(1.0, (share + spread / 2 + half) / (1 + spread))]


def poisson_bound(events: int, confidence: float = 0.95) -> float:
    """Compute the upper confidence bound on a Poisson mean after `events` events; about 3 for none at 95 %."""
    low, high = 0.0, 10.0 + 3 * events
    while high - low > 1e-9:
        rate = (low + high) / 2
        chance = sum(math.exp(k * math.log(rate) - rate - math.lgamma(k + 1)) for k in range(events + 1))
        low, high = (rate, high) if chance > 1 - confidence else (low, rate)
    return high


def finite(margin: float | None) -> float | None:
    """Return a margin, or None if it is not finite."""
    return margin if margin is not None and math.isfinite(margin) and margin > LEAST else None


def finite_error(error: FirstError) -> FirstError:
    """Return a first error with its margin made finite or None, as rows have it."""
    return {**error, "margin": finite(error["margin"])}

"""Open contexts: those whose bounds do not show the token that the program says, told apart by more tokens, lazily."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy import ndarray as Array

from tallystick.locality.certify.propagate import Bounds

DEEPEST = 8
"""Maximum number of tokens by which a context is extended."""
MOST = 1_500_000
"""Maximum number of extended contexts that are bounded."""
AT_ONCE = 200_000
"""Maximum number of extended contexts of one depth; with more, the search is given up."""


@dataclass
class Found:
    """Result of a search."""

    least: float
    """Least margin in logits of what is certified."""
    evaluated: int
    """Number of contexts and extended contexts that were bounded."""
    open: list[tuple[Array, float, int]]
    """What stays open: contexts that follow one another, the bound of the margin after the last, the closest rival."""


def search(bounds: Bounds, say: Callable[[str], None] = lambda _: None) -> Found:
    """Bound every context in which the program speaks; extend those that stay open by one token back, again and again.

    Each run reaches a context over one of its predecessors, so a context is certified if all its extensions are.
    """
    contexts = bounds.contexts
    paths = contexts.speaking[:, None]
    margins, rivals = bounds.margins(paths[:, 0])
    least, evaluated, stuck = np.inf, 0, list[tuple[Array, Array, Array]]()
    for depth in range(DEEPEST + 1):
        evaluated += len(paths)
        certified = margins > 0  # also false for NaN
        least = min(least, float(margins[certified].min(initial=np.inf)))
        left = paths[~certified], margins[~certified], rivals[~certified]
        say(f"{evaluated:,} contexts bounded, {len(left[0]):,} open with {contexts.tokens.shape[1] + depth} tokens")
        longer = _extended(contexts.before, left[0])
        if depth == DEEPEST or len(longer) > AT_ONCE or evaluated + len(longer) > MOST:
            stuck.append(left)
            break
        whole = left[0][:, 0] == 0  # nothing came before
        stuck.append((left[0][whole], left[1][whole], left[2][whole]))
        if not len(longer):
            break
        paths = longer
        margins, rivals = bounds.margins_along(paths)
    found = [(path, float(bound), int(rival)) for rows in stuck for path, bound, rival in zip(*rows, strict=True)]
    return Found(least, evaluated, found)


def _extended(before: list[list[int]], paths: Array) -> Array:
    """Return every extension of these paths by one context before; a path from the empty sequence has none."""
    counts = [len(before[first]) for first in paths[:, 0].tolist()]
    firsts = [first for path in paths[:, 0].tolist() for first in before[path]]
    return np.concatenate([np.array(firsts, np.int64)[:, None], np.repeat(paths, counts, axis=0)], axis=1)

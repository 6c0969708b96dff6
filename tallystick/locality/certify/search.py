"""Open contexts: those whose bounds do not show the token that the program says, told apart by more tokens, lazily."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy import ndarray as Array

from tallystick.locality.certify.contexts import Contexts

MOST = 1_500_000
"""Maximum number of extended contexts that are bounded."""
AT_ONCE = 200_000
"""Maximum number of extended contexts of one depth; with more, the search is given up."""
TRIED = 1
"""Number of further tokens from which on contexts are looked for in which the model is wrong."""
FEW = 10_000
"""Maximum number of extended contexts that are bounded once the model is known to be wrong."""


class Margins(Protocol):
    """Bounds of a model's margins in contexts, and along paths of contexts that follow one another."""

    contexts: Contexts
    deepest: int
    """Maximum number of tokens by which a context is extended."""

    def margins(self, which: Array) -> tuple[Array, Array]:
        """Return bounds of the margins in some contexts, and the closest rivals."""
        ...

    def margins_along(self, paths: Array) -> tuple[Array, Array]:
        """Return bounds of the margins at the ends of paths, and the closest rivals."""
        ...


@dataclass
class Found:
    """Result of a search."""

    least: float
    """Least margin in logits of what is certified."""
    evaluated: int
    """Number of contexts and extended contexts that were bounded."""
    open: list[tuple[Array, float, int]]
    """What stays open: contexts that follow one another, the bound of the margin after the last, the closest rival."""


def search(
    bounds: Margins, wrong: Callable[[Array], Array], say: Callable[[str], None] = lambda _: None
) -> Found:  # fmt: skip
    """Bound every context in which the program speaks; extend those that stay open by one token back, again and again.

    Each run reaches a context over one of its predecessors, so a context is certified if all its extensions are.

    wrong: tells for each of some open contexts, [paths, contexts], whether the model is known to be wrong there.
    """
    contexts = bounds.contexts
    paths = contexts.speaking[:, None]
    margins, rivals = bounds.margins(paths[:, 0])
    least, evaluated, most, stuck = np.inf, 0, MOST, list[tuple[Array, Array, Array]]()
    for depth in range(bounds.deepest + 1):
        evaluated += len(paths)
        certified = margins > 0  # also false for NaN
        least = min(least, float(margins[certified].min(initial=np.inf)))
        left = paths[~certified], margins[~certified], rivals[~certified]
        say(f"{evaluated:,} contexts bounded, {len(left[0]):,} open with {contexts.tokens.shape[1] + depth} tokens")
        given_up = left[0][:, 0] == 0  # nothing came before
        if depth >= min(TRIED, bounds.deepest) and len(left[0]):
            is_wrong = wrong(left[0])
            most, given_up = FEW if is_wrong.any() else most, given_up | is_wrong
        stuck.append(_rows(left, given_up))
        left = _rows(left, ~given_up)
        if not len(left[0]):
            break
        paths = _extended(contexts.before, left[0])
        if depth == bounds.deepest or len(paths) > AT_ONCE or evaluated + len(paths) > most:
            stuck.append(left)
            break
        margins, rivals = bounds.margins_along(paths)
    found = [(path, float(bound), int(rival)) for rows in stuck for path, bound, rival in zip(*rows, strict=True)]
    return Found(least, evaluated, found)


def _rows(arrays: tuple[Array, Array, Array], which: Array) -> tuple[Array, Array, Array]:
    first, second, third = arrays
    return first[which], second[which], third[which]


def _extended(before: list[list[int]], paths: Array) -> Array:
    """Return every extension of these paths by one context before; a path from the empty sequence has none."""
    counts = [len(before[first]) for first in paths[:, 0].tolist()]
    firsts = [first for path in paths[:, 0].tolist() for first in before[path]]
    return np.concatenate([np.array(firsts, np.int64)[:, None], np.repeat(paths, counts, axis=0)], axis=1)

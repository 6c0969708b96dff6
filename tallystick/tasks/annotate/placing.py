"""Where notes are needed, and what no note can say."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from tallystick.tasks.annotate.control import Opaque, Site
from tallystick.tasks.annotate.recording import ROWS, Annotated, Parts, Runs

REACHES = (8, 12, 16, 24, 32, 48, 64)
"""How many last tokens may decide: the fewest that notes can bring it to; lookup looks no further back than 64."""


def choose(runs: Runs) -> tuple[set[int], Parts]:
    """The sites to have notes, and what these say: as little as will do.

    Notes at the last question before whatever is undecided, until nothing is; then without what turns out not to be
    needed. Raises ValueError if notes at all sites will not do.
    """
    everywhere, nowhere, parts = set(range(len(runs.sites.all))), set(), Parts(runs)
    undecided = np.zeros(0, np.int64)
    for reach in REACHES:
        noted, undecided = nowhere, Annotated(runs, parts, nowhere).undecided(reach)
        if len(undecided) and len(Annotated(runs, parts, everywhere).undecided(reach)):
            continue
        while len(undecided):
            noted = noted | (_before(runs, undecided, noted) or everywhere)
            undecided = Annotated(runs, parts, noted).undecided(reach)
        return _prune(runs, noted, reach)
    asked = runs.sites.all[runs.site[np.searchsorted(runs.marks, undecided[0]) - 1]]
    raise ValueError(_unsaid(runs, asked) or f"what it says after {asked.places[-1]} is decided by no local, nor by the "
                     f"last {REACHES[-1]} tokens")  # fmt: skip


def _unsaid(runs: Runs, asked: Site) -> str:
    """A live local there that holds what no note can say, if any."""
    held = next(held for site, held in runs.states if runs.sites.all[site] is asked)
    kinds = [(local, value) for local, value in zip(asked.locals, held, strict=True) if isinstance(value, Opaque)]
    names = [f"the local {name} of {asked.places[frame].code.co_name} is a {value.kind}" for (frame, name), value in kinds]
    return f"{names[0]}, which no note can say" if names else ""


def _before(runs: Runs, undecided: np.ndarray, noted: set[int]) -> set[int]:
    """For each undecided token the site of the last question before it, of those that have no notes."""
    free = ~np.isin(runs.site, list(noted))
    marks, sites = runs.marks[free], runs.site[free]
    last = np.searchsorted(marks, undecided) - 1
    own = (last >= 0) & (runs.run[marks[last]] == runs.run[undecided])
    return set(sites[last[own]].tolist())


def _prune(runs: Runs, noted: set[int], reach: int) -> tuple[set[int], Parts]:
    """First without sites, the most frequent first; then without locals, those of most values first."""
    times, parts = np.bincount(runs.site), Parts(runs)
    for site in sorted(noted, key=lambda site: -times[site]):
        if not len(Annotated(runs, parts, noted - {site}).undecided(reach)):
            noted = noted - {site}
    locals_ = [local for local in runs.counts if local[0] in noted and parts.says(local)]
    for local in sorted(locals_, key=lambda local: -runs.counts[local]):
        if not len(Annotated(runs, parts.without(local), noted).undecided(reach)):
            parts = parts.without(local)
    return noted, parts


def refuse(runs: Runs, parts: Parts, noted: set[int]) -> None:
    """Raises ValueError naming a recursion, or a local, of which these notes would have ever more to say."""
    sites, new = runs.sites.all, set()
    first: dict[tuple[int, int, Hashable], int] = {}  # a value of local i of a site: the group that it is first met in
    for number, group in zip(runs.state.tolist(), runs.group.tolist(), strict=True):
        site, held = runs.states[number]
        for i, value in enumerate(held if site in noted else ()):
            if value not in runs.symbols and parts.says((site, i)):
                first.setdefault((site, i, value), group)
    for (site, i, _), group in first.items():
        frame, name = sites[site].locals[i]
        owner = sites[site].places[frame].code.co_name
        new.add((f"the local {name} of {owner} takes more values", group))
        codes = [place.code for place in sites[site].places]
        new |= {(f"{code.co_name} calls itself, deeper", group) for code in codes if codes.count(code) > 1}
    for what, group in sorted(new):
        if group == ROWS and (what, ROWS - 1) in new:
            raise ValueError(f"{what} the longer the problem is")


def labels(runs: Runs, noted: set[int]) -> dict[int, str]:
    """What each of these sites is called: its place, as _row+4; where two would be called so, with their callers'."""
    named: dict[int, str] = {}
    for site in sorted(noted):
        places = [str(place) for place in reversed(runs.sites.all[site].places)]
        names = ["<".join(places[: i + 1]) for i in range(len(places))]
        others = [[str(place) for place in reversed(runs.sites.all[other].places)] for other in noted - {site}]
        alone = [name for name, i in zip(names, range(1, len(names) + 1), strict=True)
                 if all("<".join(other[:i]) != name for other in others)]  # fmt: skip
        named[site] = alone[0] if alone else f"{names[-1]}#{site}"
    return named

"""Where notes are needed, and what no note can say."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import pairwise

import numpy as np

from tallystick.tasks.annotate.control import Opaque
from tallystick.tasks.annotate.recording import ROWS, WIDE, Annotated, Local, Parts, Runs

REACHES = (8, 12, 16, 24, 32, 48, 64)
"""How many last tokens may decide: the fewest that notes can bring it to; lookup looks no further back than 64."""


def choose(runs: Runs) -> tuple[set[int], Parts]:
    """The sites to have notes, and what these say: as little as will do.

    Notes at the last question before whatever is undecided, until nothing is; then without what turns out not to be
    needed. Where a wide local must be said, hardly a context comes twice, and all seem to be decided: then nothing is
    left out, at any site. Raises ValueError if notes at all sites will not do.
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
        wide = any(count > WIDE for (site, _), count in runs.counts.items() if site in noted)
        return (everywhere, parts) if wide else _prune(runs, noted, reach)
    raise ValueError(_unsaid(runs, int(undecided[0])))


def _unsaid(runs: Runs, undecided: int) -> str:
    """Why notes do not decide a token: a live local that holds what no note can say, or no local at all."""
    number = int(np.searchsorted(runs.marks, undecided)) - 1
    if number < 0 or runs.run[runs.marks[number]] != runs.run[undecided]:
        return f"what it says before it asks anything is not decided by the last {REACHES[-1]} tokens"
    asked, held = runs.sites.all[runs.site[number]], runs.states[runs.state[number]][1]
    for (frame, name), value in zip(asked.locals, held, strict=True):
        if isinstance(value, Opaque):
            owner = asked.places[frame].code.co_name
            return f"the local {name} of {owner} is a {value.kind}, which no note can say"
    return f"what it says after {asked.places[-1]} is decided by no local, nor by the last {REACHES[-1]} tokens"


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
    for groups in (_activations(runs, noted), [{local} for local in runs.counts if local[0] in noted]):
        for group in sorted(groups, key=lambda group: -max(runs.counts[local] for local in group)):
            less = parts.without(group)
            if any(map(parts.says, group)) and not len(Annotated(runs, less, noted).undecided(reach)):
                parts = less
    return noted, parts


def _activations(runs: Runs, noted: set[int]) -> list[set[Local]]:
    """The locals of these sites that are one and the same, seen from several points of its function's run."""
    same: dict[Hashable, set[Local]] = {}
    for site, i in runs.counts:
        if site in noted:
            places, (frame, name) = runs.sites.all[site].places, runs.sites.all[site].locals[i]
            same.setdefault((places[:frame], places[frame].code, name), set()).add((site, i))
    return list(same.values())


def refuse(runs: Runs, parts: Parts, noted: set[int]) -> None:
    """Raises ValueError naming a recursion, or a local, of which these notes would have ever more to say.

    It has more to say at each row of `check` than at the one before, and at the last what the training length has not.
    A local that holds a symbol of the task is finite, whether or not all of them were met.
    """
    met: dict[str, list[set[Hashable]]] = {}
    for number, group in sorted(set(zip(runs.state.tolist(), runs.group.tolist(), strict=True))):
        site, held = runs.states[number]
        if site in noted:
            for what, value in _said(runs, parts, site, held):
                met.setdefault(what, [set() for _ in range(ROWS + 1)])[group].add(value)
    for what, (trained, *rows) in met.items():
        if rows[-1] - trained and all(len(row) < len(longer) for row, longer in pairwise(rows)):
            raise ValueError(f"{what} the longer the problem is")


def _said(runs: Runs, parts: Parts, site: int, held: tuple[Hashable, ...]) -> Iterator[tuple[str, Hashable]]:
    """(what would grow, this instance of it) of a state."""
    places = runs.sites.all[site].places
    codes = [place.code for place in places]
    yield from ((f"{code.co_name} calls itself, deeper", site) for code in codes if codes.count(code) > 1)
    for i, (frame, name) in enumerate(runs.sites.all[site].locals):
        if parts.says((site, i)) and held[i] not in runs.symbols:
            yield f"the local {name} of {codes[frame].co_name} takes more values", held[i]


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

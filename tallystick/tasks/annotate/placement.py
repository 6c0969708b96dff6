"""Where notes are needed, and what no note can say."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from tallystick.tasks.annotate.control import Opaque
from tallystick.tasks.annotate.traces import ROWS, WIDE, Annotated, Local, Parts, Runs

REACHES = (8, 12, 16, 24, 32, 48, 64)
"""How many last tokens may decide: the fewest that notes can bring it to; lookup looks no further back than 64."""


class Need(NamedTuple):
    """What notes must bring about."""

    runs: Runs
    names: frozenset[str]
    """Symbols that are but names to the program."""
    reach: int
    """How many last tokens must decide."""

    def undecided(self, parts: Parts, noted: set[int]) -> np.ndarray:
        """Where in the record stand the tokens that are not decided with these notes at these sites."""
        return self._decide(parts, noted)[0]

    def contexts(self, parts: Parts, noted: set[int]) -> float:
        """How many contexts are to be met; infinite if some tokens are not decided."""
        undecided, contexts = self._decide(parts, noted)
        return math.inf if len(undecided) else contexts

    def _decide(self, parts: Parts, noted: set[int]) -> tuple[np.ndarray, int]:
        return Annotated(self.runs, parts, noted).decide(self.reach, self.names)


def choose(runs: Runs) -> tuple[set[int], Parts]:
    """The sites to have notes, and what these say: as little as will do.

    Notes at the last question before whatever is undecided, until nothing is; then without what turns out not to be
    needed. Symbols that wide locals hold are taken for names if notes will do then. Where a wide local must be said
    that holds something else, hardly a context comes twice, and all seem to be decided: then nothing is left out, at
    any site. Raises ValueError if notes at all sites will not do.
    """
    everywhere, parts, undecided = set(range(len(runs.sites.all))), Parts(runs), np.zeros(0, np.int64)
    for names in dict.fromkeys((_names(runs), frozenset())):
        for reach in REACHES:
            need = Need(runs, names, reach)
            if all(len(undecided := need.undecided(parts, noted)) for noted in (set[int](), everywhere)):
                continue
            noted = _sites(need, parts, everywhere)
            return (everywhere, parts) if _wide(runs, noted, names) else _prune(need, noted)
    raise ValueError(_unsaid(runs, int(undecided[0])))


def _names(runs: Runs) -> frozenset[str]:
    """The symbols that wide locals hold."""
    wide = [values for values in runs.values.values() if len(values) > WIDE]
    return frozenset(value for values in wide for value in values if isinstance(value, str)) & runs.symbols


def _sites(need: Need, parts: Parts, everywhere: set[int]) -> set[int]:
    """Those of the last questions before what is undecided, until nothing is."""
    noted: set[int] = set()
    while len(undecided := need.undecided(parts, noted)):
        noted = noted | (_before(need.runs, undecided, noted) or everywhere)
    return noted


def _wide(runs: Runs, noted: set[int], names: frozenset[str]) -> bool:
    """Whether a local of these sites holds many values that are no names."""
    return any(len(values - names) > WIDE for (site, _), values in runs.values.items() if site in noted)


def _unsaid(runs: Runs, undecided: int) -> str:
    """Why notes do not decide a token: an answer that takes their place, a live local that holds what no note can say,
    or no local at all."""
    number = int(np.searchsorted(runs.marks, undecided)) - 1
    if number < 0 or runs.run[runs.marks[number]] != runs.run[undecided]:
        return f"what it says before it asks anything is not decided by the last {REACHES[-1]} tokens"
    asked, held = runs.sites.all[runs.site[number]], runs.states[runs.state[number]][1]
    if np.count_nonzero(~runs.said[runs.marks[number] : undecided]) > REACHES[-1]:
        return f"what {asked.places[-1]} asks for is longer than {REACHES[-1]} tokens, and no note stands in an answer"
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


def _prune(need: Need, noted: set[int]) -> tuple[set[int], Parts]:
    """First without sites, the most frequent first; then without locals, those of most values first; then merged."""
    runs = need.runs
    times, parts = np.bincount(runs.site), Parts(runs)
    for site in sorted(noted, key=lambda site: -times[site]):
        if not len(need.undecided(parts, noted - {site})):
            noted = noted - {site}
    for groups in (_activations(runs, noted), [{local} for local in runs.counts if local[0] in noted]):
        for group in sorted(groups, key=lambda group: -max(runs.counts[local] for local in group)):
            less = parts.without(group)
            if any(map(parts.says, group)) and not len(need.undecided(less, noted)):
                parts = less
    return noted, _merge(need, noted, parts)


def _merge(need: Need, noted: set[int], parts: Parts) -> Parts:
    """Two values of a narrow local said as one wherever there are fewer contexts then, and all still decide.

    So what a rare value leads to need not be met where it is the same for another.
    """
    contexts = need.contexts(parts, noted)
    for group in _activations(need.runs, noted):
        group = {local for local in group if parts.says(local) and need.runs.counts[local] <= WIDE}
        said = {value: (value,) for value in _by_frequency(need.runs, group)}
        for one, other in combinations(said, 2):
            both = said[one] + said[other]
            merged = parts.merged(group, both)
            if said[one] != said[other] and (fewer := need.contexts(merged, noted)) < contexts:
                parts, contexts, said = merged, fewer, said | dict.fromkeys(both, both)
    return parts


def _by_frequency(runs: Runs, group: set[Local]) -> list[Hashable]:
    """The values of these locals, the commonest first."""
    times = np.bincount(runs.state, minlength=len(runs.states)).tolist()
    counted: dict[Hashable, int] = {}
    for (site, held), count in zip(runs.states, times, strict=True):
        for i in [i for other, i in group if other == site]:
            counted[held[i]] = counted.get(held[i], 0) + count
    return sorted(counted, key=lambda value: -counted[value])


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

"""Choose the questions that get notes, and the notes' contents, as sparingly as possible, by trial on the traces."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import combinations

import numpy as np

from tallystick.tasks.annotate.refusal import why_undecided
from tallystick.tasks.annotate.traces import WIDE, Local, Traces, Use
from tallystick.tasks.annotate.trial import Goal
from tallystick.tasks.annotate.wording import Placement, Wording

REACHES = (8, 12, 16, 24, 32, 48, 64)
"""Numbers of last tokens tried as those that must decide, the fewest first; lookup looks back at most 64."""


def choose(traces: Traces) -> Placement:
    """Choose the sites that have notes, and the notes' contents, as sparingly as possible.

    Notes are placed at the last question before each undecided token, until none is left; then everything unnecessary
    is removed. Symbols held by wide locals are treated as names if notes suffice then. If a wide local with other
    values must be said, hardly any context occurs twice, so the traces do not show what may be removed: then everything
    is said, at every site. Raises ValueError if even that does not suffice.
    """
    everywhere = Placement(frozenset(range(len(traces.sites.all))), Wording(traces))
    for names in dict.fromkeys((_names(traces), frozenset[str]())):
        goal = _reachable_goal(traces, names, everywhere)
        if goal is not None:
            placement = _place(goal, everywhere)
            return everywhere if _says_wide(traces, placement, names) else _prune(goal, placement)
    farthest = Goal(traces, frozenset(), REACHES[-1])
    raise ValueError(why_undecided(traces, farthest.outcome(everywhere), farthest.reach))


def _names(traces: Traces) -> frozenset[str]:
    """Return the symbols held by wide locals."""
    wide = [values for values in traces.trained_values.values() if len(values) > WIDE]
    return frozenset(value for values in wide for value in values if isinstance(value, str)) & traces.symbols


def _reachable_goal(traces: Traces, names: frozenset[str], everywhere: Placement) -> Goal | None:
    """Return the goal of the shortest reach that is attained with no notes or with notes everywhere, or None."""
    nowhere = everywhere._replace(sites=frozenset())
    for reach in REACHES:
        goal = Goal(traces, names, reach)
        if goal.reached(nowhere) or goal.reached(everywhere):
            return goal
    return None


def _place(goal: Goal, everywhere: Placement) -> Placement:
    """Add notes at the last questions before undecided tokens, until none is left."""
    placement = everywhere._replace(sites=frozenset())
    while not (outcome := goal.outcome(placement)).reached:
        sites = _sites_before(goal.traces, outcome.undecided, placement) or everywhere.sites
        placement = placement._replace(sites=placement.sites | sites)
    return placement


def _sites_before(traces: Traces, undecided: np.ndarray, placement: Placement) -> frozenset[int]:
    """Return the sites of the last questions without notes before undecided tokens."""
    free = ~np.isin(traces.site, list(placement.sites))
    questions, sites = traces.questions[free], traces.site[free]
    last = np.searchsorted(questions, undecided) - 1
    in_same_run = (last >= 0) & (traces.run[questions[last]] == traces.run[undecided])
    return frozenset(sites[last[in_same_run]].tolist())


def _says_wide(traces: Traces, placement: Placement, names: frozenset[str]) -> bool:
    """Return whether the notes say a local with many values that are not names."""
    values = [values for (site, _), values in traces.trained_values.items() if site in placement.sites]
    return any(len(held - names) > WIDE for held in values)


def _prune(goal: Goal, placement: Placement) -> Placement:
    """Remove unnecessary sites, the most frequent first, and locals, those of most values first; then merge values."""
    traces = goal.traces
    times = np.bincount(traces.site)
    for site in sorted(placement.sites, key=lambda site: -times[site]):
        less = placement._replace(sites=placement.sites - {site})
        if goal.reached(less):
            placement = less
    single = [{local} for local in traces.counts if local[0] in placement.sites]
    for groups in (_variables(traces, placement), single):
        for group in sorted(groups, key=lambda group: -max(traces.counts[local] for local in group)):
            less = placement._replace(wording=placement.wording.without(group))
            if any(map(placement.wording.says, group)) and goal.reached(less):
                placement = less
    return _merge(goal, placement)


def _merge(goal: Goal, placement: Placement) -> Placement:
    """Merge two values of a narrow local wherever that reduces the number of contexts and all tokens are still decided.

    So the continuation of a rare value need not occur in training if a common value has the same one. Latching problems
    must confirm it, since in others a rare value may never be kept long enough to show its use.
    """
    traces, latching = goal.traces, goal._replace(use=Use.MERGES)
    contexts = goal.outcome(placement).contexts
    for group in _variables(traces, placement):
        narrow = {local for local in group if placement.wording.says(local) and traces.counts[local] <= WIDE}
        merged = {value: (value,) for value in _by_frequency(traces, narrow)}
        for one, other in combinations(merged, 2):
            if merged[one] == merged[other]:
                continue
            both = merged[one] + merged[other]
            less = placement._replace(wording=placement.wording.merge(narrow, both))
            outcome = goal.outcome(less)
            if outcome.reached and outcome.contexts < contexts and latching.reached(less):
                placement, contexts, merged = less, outcome.contexts, merged | dict.fromkeys(both, both)
    return placement


def _by_frequency(traces: Traces, group: set[Local]) -> list[Hashable]:
    """Return the values of these locals, the most frequent first."""
    times = np.bincount(traces.state, minlength=len(traces.states)).tolist()
    counted: dict[Hashable, int] = {}
    for (site, held), count in zip(traces.states, times, strict=True):
        for i in [i for other, i in group if other == site]:
            counted[held[i]] = counted.get(held[i], 0) + count
    return sorted(counted, key=lambda value: -counted[value])


def _variables(traces: Traces, placement: Placement) -> list[set[Local]]:
    """Group the locals at these sites that are one variable of one call, seen at several positions."""
    groups: dict[Hashable, set[Local]] = {}
    for site, i in traces.counts:
        if site in placement.sites:
            places, (frame, name) = traces.sites.all[site].places, traces.sites.all[site].locals[i]
            groups.setdefault((places[:frame], places[frame].code, name), set()).add((site, i))
    return list(groups.values())

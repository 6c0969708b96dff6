"""Errors that explain why no notes make a program local."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import pairwise

import numpy as np

from tallystick.tasks.annotate.control import Opaque
from tallystick.tasks.annotate.traces import State, Traces
from tallystick.tasks.annotate.trial import Outcome
from tallystick.tasks.annotate.wording import Placement


def refuse_growth(traces: Traces, placement: Placement) -> None:
    """Raise ValueError, naming a recursion or a local, if these notes would need ever more values.

    That is so if each row of `check` has more values than the previous one, and the last has some that do not occur at
    the training length. A local that holds a symbol of the task is finite, whether or not all symbols were met.
    """
    met: dict[str, list[set[Hashable]]] = {}
    for state, row in traces.states_by_row():
        if state[0] in placement.sites:
            for what, instance in _may_grow(traces, placement, state):
                met.setdefault(what, [set() for _ in traces.lengths])[row].add(instance)
    for what, (trained, *rows) in met.items():
        if rows[-1] - trained and all(len(row) < len(longer) for row, longer in pairwise(rows)):
            raise ValueError(f"{what} the longer the problem is")


def _may_grow(traces: Traces, placement: Placement, state: State) -> Iterator[tuple[str, Hashable]]:
    """Yield (description, instance in this state) for each recursion and local that the state's notes say."""
    number, held = state
    site = traces.sites.all[number]
    codes = [place.code for place in site.places]
    yield from ((f"{code.co_name} calls itself, deeper", number) for code in codes if codes.count(code) > 1)
    for i, (frame, name) in enumerate(site.locals):
        if placement.wording.says((number, i)) and held[i] not in traces.symbols:
            yield f"the local {name} of {codes[frame].co_name} takes more values", held[i]


def why_undecided(traces: Traces, outcome: Outcome, reach: int) -> str:
    """Explain why notes before every question do not bring the deciding tokens within `reach` tokens.

    Either a long answer separates them, or a live local holds a value that no note can say, or no local holds it.
    """
    tokens = outcome.undecided
    # index of the last question before each token, -1 for none
    questions = np.searchsorted(traces.questions, tokens) - 1
    if questions.min() < 0 or (traces.run[traces.questions[questions]] != traces.run[tokens]).any():
        return _in_no_local(traces, outcome, reach, "before it asks anything")
    heard = np.cumsum(~traces.said)
    too_long = heard[tokens - 1] - heard[traces.questions[questions]] > reach
    question = questions[np.argmax(too_long)]
    site, held = traces.sites.all[traces.site[question]], traces.states[traces.state[question]][1]
    if too_long.any():
        return f"what {site.places[-1]} asks for is longer than {reach} tokens, and no note stands in an answer"
    for (frame, name), value in zip(site.locals, held, strict=True):
        if isinstance(value, Opaque):
            owner = site.places[frame].code.co_name
            return f"the local {name} of {owner} is a {value.kind}, which no note can say"
    return _in_no_local(traces, outcome, reach, f"after {site.places[-1]}")


def _in_no_local(traces: Traces, outcome: Outcome, reach: int, when: str) -> str:
    far = "that lie farther back the longer the problem is" if outcome.recede else f"more than {reach} back"
    reason = f"what it says {when} depends on tokens {far}, and no local holds them when it asks a tool"
    if traces.reads_prompt:
        reason += "; the program reads w.prompt: let it read the problem through a tool"
    return reason

"""The notes of one program: their symbols, and the choice of those to say before a question."""

from __future__ import annotations

from collections.abc import Sequence
from types import FrameType

from tallystick.tasks.annotate.control import Named
from tallystick.tasks.annotate.placement import choose
from tallystick.tasks.annotate.refusal import refuse_growth
from tallystick.tasks.annotate.traces import Sites, State, Traces
from tallystick.tasks.annotate.wording import Holds, Where
from tallystick.tasks.base import Task
from tallystick.workspace import ProgramError


class Notes:
    """The notes of a task's program, found by running it. Raises ValueError if no notes make it local."""

    def __init__(self, task: Task):
        traces = Traces(task)
        self._sites = traces.sites
        self._placement = choose(traces)
        refuse_growth(traces, self._placement)
        self._trained_sites = {site for site, _ in traces.trained_states}
        self._labels = _labels(traces.sites, self._placement.sites)
        states = [state for state in traces.trained_states if state[0] in self._placement.sites]
        notes = [note for state in states for note in self._placement.wording.notes(state)]
        self.symbols = {note: self._symbol(note) for note in dict.fromkeys(notes) if not isinstance(note, str)}
        """Symbol of each note, such as {_row+4 carry=1} or {count=83}, except notes that are the task's symbols."""
        self._said: dict[State, list[str]] = {}

    def _symbol(self, note: Where | Holds) -> str:
        if isinstance(note, Holds):
            return f"{{{note.name}={note.value!r}}}"
        site, wording = self._sites.all[note.site], self._placement.wording
        words = [self._labels[note.site]]
        for i, value in zip(wording.layout(note.site)[0], note.values, strict=True):
            if wording.says((note.site, i)):
                words.append(f"{site.locals[i][1]}={value!r}")
        return f"{{{' '.join(words)}}}"

    def before(self, frame: FrameType) -> Sequence[str]:
        """Return the notes to say before this frame asks a question. Raises ProgramError in a state not met before."""
        number = self._sites.number(frame)
        if number not in self._placement.sites and number in self._trained_sites:
            return ()
        state = self._sites.state(frame)
        if state not in self._said:
            self._said[state] = self._say(state)
        return self._said[state]

    def _say(self, state: State) -> list[str]:
        try:
            notes = self._placement.wording.notes(state)
            return [note if isinstance(note, str) else self.symbols[note] for note in notes]
        except KeyError:
            raise ProgramError(f"no note for {self._describe(state)}: it never occurs at the training length") from None

    def _describe(self, state: State) -> str:
        site = self._sites.all[state[0]]
        pairs = zip(site.locals, state[1], strict=True)
        held = [f"{name} = {value!r}" for (_, name), value in pairs if not isinstance(value, Named)]
        return f"the control state {', '.join([' < '.join(map(str, site.places[::-1])), *held])}"


def _labels(sites: Sites, noted: frozenset[int]) -> dict[int, str]:
    """Return a unique label of each site: its place, such as _row+4, with as many callers as necessary."""
    places = {site: [str(place) for place in reversed(sites.all[site].places)] for site in noted}
    labels: dict[int, str] = {}
    for site in sorted(noted):
        others = [places[other] for other in noted if other != site]
        depths = range(1, len(places[site]) + 1)
        unique = [depth for depth in depths if all(other[:depth] != places[site][:depth] for other in others)]
        label = "<".join(places[site][: unique[0] if unique else None])
        labels[site] = label if unique else f"{label}#{site}"
    return labels

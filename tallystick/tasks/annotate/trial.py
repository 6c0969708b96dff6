"""Try notes: insert them into the traces, and find whether the last few tokens then decide every token."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tallystick import suffix
from tallystick.episode import END_NOTE, NOTE
from tallystick.tasks.annotate.renaming import RenamedContexts
from tallystick.tasks.annotate.traces import Traces, Use
from tallystick.tasks.annotate.wording import Note, Placement


class Outcome(NamedTuple):
    """The result of trying notes."""

    undecided: np.ndarray
    """Positions in the traces of the undecided tokens."""
    recede: bool
    """Whether these are decided in the traces, but farther back the longer the problem is."""
    contexts: int
    """Number of contexts that must occur in training."""

    @property
    def reached(self) -> bool:
        """Whether every token is decided."""
        return not len(self.undecided)


class Goal(NamedTuple):
    """The goal of notes: that the last `reach` tokens decide every token that the program says."""

    traces: Traces
    names: frozenset[str]
    """Symbols that the program uses as names, so that contexts are compared up to their renaming."""
    reach: int
    use: Use = Use.NOTES
    """Use of the traces on which notes are tried, in addition to Use.NOTES."""

    def outcome(self, placement: Placement) -> Outcome:
        """Return the outcome of trying these notes."""
        contexts, source = annotate(self.traces, placement, self.use)
        if self.names:
            contexts = RenamedContexts.of(contexts, self.traces.vocab.encode(sorted(self.names)), self.reach)
        tree, source = suffix.build(contexts, self.reach), source[contexts.positions]
        undecided, recede = tree.depth < 0, False
        if not undecided.any():
            undecided, recede = self._receding(tree.depth, self.traces.row[source]), True
        return Outcome(source[undecided], recede, len(np.unique(tree.leaf)))

    def reached(self, placement: Placement) -> bool:
        """Return whether these notes reach the goal."""
        return self.outcome(placement).reached

    def _receding(self, depth: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Return which tokens of the last row of `check` are decided farther back than any of the previous rows.

        There are none unless that distance has grown from row to row with the length. depth, row: of each token.
        """
        lengths = self.traces.lengths[1:]
        farthest = [int(depth[row <= r].max()) for r in range(1, len(lengths) + 1)]
        added, longer = np.diff(farthest), np.diff(lengths)
        if len(lengths) < 3 or (2 * added < longer).any():
            return np.zeros(len(depth), bool)
        return (row == len(lengths)) & (depth > farthest[-2])


def annotate(traces: Traces, placement: Placement, use: Use) -> tuple[suffix.Contexts, np.ndarray]:
    """Return the traces of this use with these notes inserted, and each token's original position in the traces."""
    tried = (traces.use >= Use.NOTES) & (traces.use <= use)
    times = tried.astype(np.int64)  # number of tokens that each token becomes
    here = np.isin(traces.site, list(placement.sites)) & tried[traces.questions]
    numbering = _Numbering(traces)
    notes = {
        n: numbering.ids(placement.wording.notes(traces.states[n])) for n in np.unique(traces.state[here]).tolist()
    }
    said = [notes[n] for n in traces.state[here].tolist()]
    times[traces.questions] = 0
    times[traces.questions[here]] = [len(ids) for ids in said]
    source = np.repeat(np.arange(len(traces.ids)), times)
    ids = traces.ids[source]
    ids[ids == traces.mark] = [token for ids in said for token in ids]
    ends = np.flatnonzero(np.diff(traces.run[source])) + 1
    sequences = zip(np.split(ids, ends), np.split(traces.said[source], ends), strict=True)
    return suffix.Contexts.of(list(sequences), numbering.size), source


class _Numbering:
    """Assigns ids to notes: a symbol has its own, other notes are numbered from the mark's id on."""

    def __init__(self, traces: Traces):
        self._traces = traces
        self._numbers: dict[Note, int] = {}

    @property
    def size(self) -> int:
        """Number of ids: one more than the largest."""
        return self._traces.mark + len(self._numbers)

    def ids(self, notes: list[Note]) -> list[int]:
        """Return the ids of a state's notes, between note marks if one of them is a symbol."""
        ids = [self._id(note) for note in notes]
        return [NOTE, *ids, END_NOTE] if any(isinstance(note, str) for note in notes) else ids

    def _id(self, note: Note) -> int:
        if isinstance(note, str):
            return self._traces.vocab.ids[note]
        return self._traces.mark + self._numbers.setdefault(note, len(self._numbers))

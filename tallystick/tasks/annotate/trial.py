"""Try notes: how the traces would read with them, and whether the last few tokens would then decide everything."""

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
    """The positions in the traces of the tokens that are not decided."""
    recede: bool
    """Whether these are decided in the traces, but farther back the longer the problem is."""
    contexts: int
    """The number of contexts to be met in training."""

    @property
    def reached(self) -> bool:
        """Whether everything is decided."""
        return not len(self.undecided)


class Goal(NamedTuple):
    """The goal of notes: the last `reach` tokens decide every token that the program says."""

    traces: Traces
    names: frozenset[str]
    """Symbols that are mere names to the program: what decides must not depend on which they are."""
    reach: int
    use: Use = Use.NOTES
    """The notes are tried on the traces of this use, and on those of the uses before it but STATES."""

    def outcome(self, placement: Placement) -> Outcome:
        """Try these notes."""
        contexts, source = annotate(self.traces, placement, self.use)
        if self.names:
            contexts = RenamedContexts.of(contexts, self.traces.vocab.encode(sorted(self.names)), self.reach)
        tree, source = suffix.build(contexts, self.reach), source[contexts.positions]
        undecided, recede = tree.depth < 0, False
        if not undecided.any():
            undecided, recede = self._receding(tree.depth, self.traces.row[source]), True
        return Outcome(source[undecided], recede, len(np.unique(tree.leaf)))

    def reached(self, placement: Placement) -> bool:
        """Whether these notes do."""
        return self.outcome(placement).reached

    def _receding(self, depth: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Select the tokens of the longest row of `check` that are decided farther back than any of the rows before.

        None, unless that distance has grown from row to row with the length. depth, row: of each token.
        """
        lengths = self.traces.lengths[1:]
        farthest = [int(depth[row <= r].max()) for r in range(1, len(lengths) + 1)]
        added, longer = np.diff(farthest), np.diff(lengths)
        if len(lengths) < 3 or (2 * added < longer).any():
            return np.zeros(len(depth), bool)
        return (row == len(lengths)) & (depth > farthest[-2])


def annotate(traces: Traces, placement: Placement, use: Use) -> tuple[suffix.Contexts, np.ndarray]:
    """Read the traces on which notes are tried as they would be with these notes.

    Also returns the position in the traces that each of the tokens comes from.
    """
    tried = (traces.use >= Use.NOTES) & (traces.use <= use)
    times = tried.astype(np.int64)  # how many tokens each token becomes
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
    """Gives ids to notes: a symbol has its own, others are numbered from the mark's id on."""

    def __init__(self, traces: Traces):
        self._traces = traces
        self._numbers: dict[Note, int] = {}

    @property
    def size(self) -> int:
        """One more than the largest id."""
        return self._traces.mark + len(self._numbers)

    def ids(self, notes: list[Note]) -> list[int]:
        """The ids of the notes of a state, between note marks if a symbol is among them."""
        ids = [self._id(note) for note in notes]
        return [NOTE, *ids, END_NOTE] if any(isinstance(note, str) for note in notes) else ids

    def _id(self, note: Note) -> int:
        if isinstance(note, str):
            return self._traces.vocab.ids[note]
        return self._traces.mark + self._numbers.setdefault(note, len(self._numbers))

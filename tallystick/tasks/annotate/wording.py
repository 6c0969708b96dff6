"""Which notes say a control state.

The first one says where the program stands and what its narrow locals hold there: `{_row+4 carry=1}`. A wide local has
a note of its own, `{count=83}`: its values times those of the others would be too many to meet in training. A wide
local's value that is a symbol of the task is said as that symbol, between note marks, so that it looks like what was
read.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from tallystick.tasks.annotate.traces import WIDE, Local, State, Traces


class Where(NamedTuple):
    """A note: where the program stands, and what its narrow locals hold there."""

    site: int
    values: tuple[Hashable, ...]


class Holds(NamedTuple):
    """A note: what a wide local holds."""

    name: str
    value: Hashable


Note = Where | Holds | str
"""A note; a symbol of the task stands for itself."""


class Either(NamedTuple):
    """Values of a narrow local that a note does not tell apart."""

    values: tuple[Hashable, ...]

    def __repr__(self) -> str:
        return "|".join(map(repr, self.values))


class Wording:
    """Says a state in notes, without the locals left out and with some values merged."""

    def __init__(
        self,
        traces: Traces,
        left_out: frozenset[Local] = frozenset(),
        merged: dict[Local, dict[Hashable, Either]] | None = None,
    ):
        self._traces, self._left_out, self._merged = traces, left_out, merged or {}
        self._layouts: dict[int, tuple[list[int], list[tuple[int, str]]]] = {}

    def without(self, some: set[Local]) -> Wording:
        """Leave some more locals out."""
        return Wording(self._traces, self._left_out | some, self._merged)

    def merge(self, some: set[Local], values: tuple[Hashable, ...]) -> Wording:
        """Merge these values of some narrow locals."""
        either = Either(values)
        merged = {local: self._merged.get(local, {}) | dict.fromkeys(values, either) for local in some}
        return Wording(self._traces, self._left_out, self._merged | merged)

    def says(self, local: Local) -> bool:
        """Whether the notes say this local, and it has more values than one."""
        return local not in self._left_out and self._traces.counts.get(local, 0) > 1

    def layout(self, site: int) -> tuple[list[int], list[tuple[int, str]]]:
        """The narrow locals of a site that are said, and the wide ones with their names."""
        if site not in self._layouts:
            names = [name for _, name in self._traces.sites.all[site].locals]
            said = [i for i in range(len(names)) if (site, i) not in self._left_out]
            wide = [i for i in said if self._traces.counts.get((site, i), 0) > WIDE]
            self._layouts[site] = [i for i in said if i not in wide], [(i, names[i]) for i in wide]
        return self._layouts[site]

    def notes(self, state: State) -> list[Note]:
        """The notes that say a state, without note marks."""
        site, held = state
        narrow, wide = self.layout(site)
        values = tuple([self._merged.get((site, i), {}).get(held[i], held[i]) for i in narrow])
        return [Where(site, values), *(self._wide_note(name, held[i]) for i, name in wide)]

    def _wide_note(self, name: str, value: Hashable) -> Note:
        return value if isinstance(value, str) and value in self._traces.symbols else Holds(name, value)


class Placement(NamedTuple):
    """The sites whose questions have notes before them, and how these are worded."""

    sites: frozenset[int]
    wording: Wording

"""Word a control state as notes.

The first note says the program's position and the values of its narrow locals there: `{_row+4 carry=1}`. A wide local
has a note of its own, `{count=83}`, since its values times those of the others would be too many to meet in training.
If a wide local's value is a symbol of the task, it is said as that symbol, between note marks, so that it looks like
the symbol when read.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from tallystick.tasks.annotate.traces import WIDE, Local, State, Traces


class Where(NamedTuple):
    """A note of the program's position and the values of its narrow locals."""

    site: int
    values: tuple[Hashable, ...]


class Holds(NamedTuple):
    """A note of the value of a wide local."""

    name: str
    value: Hashable


Note = Where | Holds | str
"""A note; a str is a symbol of the task."""


class Either(NamedTuple):
    """Values of a narrow local that a note does not distinguish."""

    values: tuple[Hashable, ...]

    def __repr__(self) -> str:
        return "|".join(map(repr, self.values))


class Wording:
    """Words states as notes, omitting some locals and merging some values."""

    def __init__(
        self,
        traces: Traces,
        left_out: frozenset[Local] = frozenset(),
        merged: dict[Local, dict[Hashable, Either]] | None = None,
    ):
        self._traces, self._left_out, self._merged = traces, left_out, merged or {}
        self._layouts: dict[int, tuple[list[int], list[tuple[int, str]]]] = {}

    def without(self, some: set[Local]) -> Wording:
        """Return a wording that also omits these locals."""
        return Wording(self._traces, self._left_out | some, self._merged)

    def merge(self, some: set[Local], values: tuple[Hashable, ...]) -> Wording:
        """Return a wording that also merges these values of these narrow locals."""
        either = Either(values)
        merged = {local: self._merged.get(local, {}) | dict.fromkeys(values, either) for local in some}
        return Wording(self._traces, self._left_out, self._merged | merged)

    def says(self, local: Local) -> bool:
        """Return whether the notes say this local and it has more than one value."""
        return local not in self._left_out and self._traces.counts.get(local, 0) > 1

    def layout(self, site: int) -> tuple[list[int], list[tuple[int, str]]]:
        """Return the indices of a site's narrow locals that are said, and those of its wide ones with their names."""
        if site not in self._layouts:
            names = [name for _, name in self._traces.sites.all[site].locals]
            said = [i for i in range(len(names)) if (site, i) not in self._left_out]
            wide = [i for i in said if self._traces.counts.get((site, i), 0) > WIDE]
            self._layouts[site] = [i for i in said if i not in wide], [(i, names[i]) for i in wide]
        return self._layouts[site]

    def notes(self, state: State) -> list[Note]:
        """Return the notes of a state, without note marks."""
        site, held = state
        narrow, wide = self.layout(site)
        values = tuple([self._merged.get((site, i), {}).get(held[i], held[i]) for i in narrow])
        return [Where(site, values), *(self._wide_note(name, held[i]) for i, name in wide)]

    def _wide_note(self, name: str, value: Hashable) -> Note:
        return value if isinstance(value, str) and value in self._traces.symbols else Holds(name, value)


class Placement(NamedTuple):
    """The sites whose questions are preceded by notes, and the wording of these."""

    sites: frozenset[int]
    wording: Wording

"""Lines that a search may find: paths of labels in the memory, from end of line to end of line, with its symbols."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tallystick.locality.extraction import Refusal
from tallystick.locality.memory import Label, Memory

Line = tuple[int, ...]
"""Token ids."""


class _Cell(NamedTuple):
    """A cell of a line."""

    label: Label
    token: int
    matched: int
    """Number of the symbols searched for that the line's last cells are; all of them, once they were."""


class Lines:
    """The lines in which a search for some symbols may find them.

    last: the last cell of the memory. Raises Refusal if they can have any length.
    """

    def __init__(self, memory: Memory, wanted: Sequence[int], newline: int, last: Label):
        self._memory, self._wanted, self._newline, self._last = memory, (*wanted,), newline, last
        self._after: dict[_Cell, list[_Cell]] = {}
        self._rests: dict[_Cell, frozenset[Line]] = {}
        first = list(self._first())
        self._follow(first)
        self._useful = self._leading_to_ends()
        self.all = sorted(frozenset().union(*(self._rest(cell, ()) for cell in first if cell in self._useful)))
        """The lines."""

    def _first(self) -> Iterator[_Cell]:
        """Yield what a line may begin with."""
        memory = self._memory
        for label in memory.first:
            yield from self._cells(label, 0)
        for label, tokens in [*memory.tokens.items()]:
            if self._newline in tokens:
                for following in memory.following(label):
                    yield from self._cells(following, 0)

    def _cells(self, label: Label, matched: int) -> Iterator[_Cell]:
        for token in self._memory.tokens[label]:
            if token != self._newline:
                yield _Cell(label, token, self._matched(matched, token))

    def _matched(self, matched: int, token: int) -> int:
        """Count the symbols that are matched after one more token."""
        wanted = self._wanted
        if matched == len(wanted):
            return matched
        read = (*wanted[:matched], token)
        return next(n for n in range(len(read), -1, -1) if read[len(read) - n :] == wanted[:n])

    def _follow(self, waiting: list[_Cell]) -> None:
        waiting = [*waiting]
        while waiting:
            cell = waiting.pop()
            if cell not in self._after:
                labels = self._memory.following(cell.label)
                self._after[cell] = [after for label in labels for after in self._cells(label, cell.matched)]
                waiting += self._after[cell]

    def _is_end(self, cell: _Cell) -> bool:
        """Return whether a line may end here, with the symbols in it."""
        labels = self._memory.following(cell.label)
        ends = cell.label == self._last or any(self._newline in self._memory.tokens[label] for label in labels)
        return ends and cell.matched == len(self._wanted)

    def _leading_to_ends(self) -> set[_Cell]:
        before: defaultdict[_Cell, list[_Cell]] = defaultdict(list)
        for cell, following in self._after.items():
            for after in following:
                before[after].append(cell)
        waiting, found = [cell for cell in self._after if self._is_end(cell)], set[_Cell]()
        while waiting:
            cell = waiting.pop()
            if cell not in found:
                found.add(cell)
                waiting += before[cell]
        return found

    def _rest(self, cell: _Cell, path: tuple[_Cell, ...]) -> frozenset[Line]:
        """Return what a line may be from this cell on; path: the cells before it."""
        if cell in path:
            raise Refusal("the program searches, and the line found may have any length")
        if cell not in self._rests:
            rests = {(cell.token,)} if self._is_end(cell) else set[Line]()
            for after in self._after[cell]:
                if after in self._useful:
                    rests |= {(cell.token, *rest) for rest in self._rest(after, (*path, cell))}
            self._rests[cell] = frozenset(rests)
        return self._rests[cell]

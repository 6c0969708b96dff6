"""The shape of a task's prompts: a small regular expression over symbols, as an automaton.

A shape is written like a regular expression: `[01]+>` are bits and then a >. There are groups, `|`, `*`, `+`, `?`,
classes such as `[0-9a]`, `.` for any symbol of the task, and `\\` before a character that has a meaning of its own. A
symbol of several characters stands between < and >, also in a class: `[<-1>01]+`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

SPECIAL = frozenset("()[]|*+?.\\<-^")
"""Characters that need a backslash, in or outside a class."""


@dataclass(frozen=True)
class Shape:
    """A Glushkov automaton: its states are the places in the expression at which a symbol stands."""

    symbols: tuple[frozenset[str], ...]
    """The symbols that may stand at each place."""
    first: frozenset[int]
    """Places of a prompt's first symbol."""
    last: frozenset[int]
    """Places of a prompt's last symbol."""
    following: tuple[frozenset[int], ...]
    """For each place those that may follow it."""

    def reach(self, place: int) -> frozenset[int]:
        """Return this place and those that may come after it."""
        found, waiting = {place}, [place]
        while waiting:
            new = self.following[waiting.pop()] - found
            found |= new
            waiting += new
        return frozenset(found)

    def accepts(self, prompt: Sequence[str]) -> bool:
        """Return whether a prompt has this shape."""
        places, following = frozenset[int](), self.first
        for symbol in prompt:
            places = frozenset(place for place in following if symbol in self.symbols[place])
            following = frozenset().union(*(self.following[place] for place in places))
        return bool(places & self.last)


@dataclass(frozen=True)
class _Part:
    """A part of the expression: whether it may be empty, and the places it may begin and end with."""

    empty: bool
    first: frozenset[int]
    last: frozenset[int]


def one_of(symbols: Iterable[str]) -> str:
    """Write a class of these symbols."""
    return f"[{''.join(map(_written, symbols))}]"


def _written(symbol: str) -> str:
    if len(symbol) > 1:
        return f"<{symbol}>"
    return f"\\{symbol}" if symbol in SPECIAL else symbol


def parse(text: str, symbols: Sequence[str]) -> Shape:
    """Parse a shape. Raises ValueError for a wrong expression, and for a symbol outside of the task's `symbols`."""
    parser = _Parser(text, tuple(symbols))
    part = parser.either()
    if parser.rest:
        raise parser.error(f"nothing opens the {parser.rest[0]!r}")
    if part.empty:
        raise parser.error("it allows an empty prompt")
    return Shape(tuple(parser.symbols), part.first, part.last, tuple(map(frozenset, parser.following)))


class _Parser:
    """A parser by recursive descent, which numbers the places and notes which may follow which."""

    def __init__(self, text: str, known: tuple[str, ...]):
        self._text, self._known = text, known
        self.rest = text
        self.symbols: list[frozenset[str]] = []
        self.following: list[set[int]] = []

    def error(self, why: str) -> ValueError:
        """Make the error for a wrong expression."""
        return ValueError(f"the shape {self._text!r} is wrong: {why}; write symbols as in {self._example()}")

    def _example(self) -> str:
        return f"{one_of(self._known[:2])}+{_written(self._known[-1])}"

    def either(self) -> _Part:
        """Parse alternatives."""
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        return reduce(lambda a, b: _Part(a.empty or b.empty, a.first | b.first, a.last | b.last), parts)

    def _sequence(self) -> _Part:
        whole = _Part(True, frozenset(), frozenset())
        while self.rest and self.rest[0] not in "|)":
            part = self._repeated()
            self._link(whole.last, part.first)
            first = whole.first | part.first if whole.empty else whole.first
            last = whole.last | part.last if part.empty else part.last
            whole = _Part(whole.empty and part.empty, first, last)
        return whole

    def _repeated(self) -> _Part:
        part = self._atom()
        while self.rest and self.rest[0] in "*+?":
            sign = self._next()
            if sign != "?":
                self._link(part.last, part.first)
            part = _Part(part.empty or sign != "+", part.first, part.last)
        return part

    def _atom(self) -> _Part:
        if self._take("("):
            part = self.either()
            if not self._take(")"):
                raise self.error("a ( is not closed")
            return part
        if self._take("["):
            return self._place(self._class())
        if self._take("."):
            return self._place(self._known)
        if self.rest[0] in "*+?":
            raise self.error(f"nothing stands before the {self.rest[0]}")
        return self._place([self._symbol()])

    def _class(self) -> list[str]:
        found: list[str] = []
        while not self._take("]"):
            if not self.rest:
                raise self.error("a [ is not closed")
            begin = self._symbol()
            found += self._range(begin, self._symbol()) if self._take("-") else [begin]
        return found

    def _range(self, begin: str, end: str) -> list[str]:
        if len(begin) > 1 or len(end) > 1 or begin > end:
            raise self.error(f"{begin}-{end} is no range")
        return [chr(code) for code in range(ord(begin), ord(end) + 1)]

    def _symbol(self) -> str:
        symbol = self._next()
        if symbol == "<":
            symbol, closed, self.rest = self.rest.partition(">")
            if not closed:
                raise self.error("a < is not closed")
        elif symbol == "\\":
            symbol = self._next()
        if symbol not in self._known:
            raise self.error(f"{symbol!r} is not among the task's symbols")
        return symbol

    def _place(self, symbols: Iterable[str]) -> _Part:
        unknown = [symbol for symbol in symbols if symbol not in self._known]
        if unknown:
            raise self.error(f"{unknown[0]!r} is not among the task's symbols")
        self.symbols.append(frozenset(symbols))
        self.following.append(set())
        here = frozenset([len(self.symbols) - 1])
        return _Part(False, here, here)

    def _link(self, before: Iterable[int], after: Iterable[int]) -> None:
        for place in before:
            self.following[place].update(after)

    def _take(self, sign: str) -> bool:
        """Skip this character if it is the next one; return whether it was."""
        taken = self.rest.startswith(sign)
        self.rest = self.rest.removeprefix(sign)
        return taken

    def _next(self) -> str:
        if not self.rest:
            raise self.error("it ends too early")
        character, self.rest = self.rest[0], self.rest[1:]
        return character

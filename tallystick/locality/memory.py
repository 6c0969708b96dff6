"""The context memory and its pointers, abstracted: which cells may stand side by side, and where a pointer may be.

A cell is a label. A pointer is a set of spots: one of them is right. A spot is a label, or a place before or behind the
memory, with the number of marks that lie ahead of it: 0, 1, or more. Marks are tokens chosen for that, such as one that
the program says at the beginning of each list: a pointer that goes through the lists meets as many as there are.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import product
from typing import NamedTuple

from tallystick.episode import BOS, EOS

ANY = -1
"""Stands for the token of a label that may be any of those said at its site."""
MANY = 2
"""Number of marks ahead that stands for this number or more."""


class Label(NamedTuple):
    """What is known of a memory cell."""

    token: int
    """The token; ANY if the abstraction is coarse."""
    site: Hashable
    """Place in the prompt's shape, or in the program."""
    in_answer: bool
    """Whether it is [ANS] or was said after it."""


class Outside(NamedTuple):
    """A position outside of the memory."""

    token: int
    """What is read there: [BOS] or [EOS]."""
    near: bool
    """Whether it is next to the memory."""


Place = Label | Outside
Ahead = tuple[int, ...]
"""Number of cells right of a pointer that are each mark, from 0 to MANY."""
Spot = tuple[Place, Ahead]
Spots = frozenset[Spot]
"""Spots at which a pointer may stand."""
BEFORE, FAR_BEFORE, BEHIND, FAR_BEHIND = (
    Outside(BOS, True),
    Outside(BOS, False),
    Outside(EOS, True),
    Outside(EOS, False),
)


class Memory:
    """Which labels may stand next to each other in the memory, and which tokens they may be.

    marks: tokens that are counted where the program says them.
    """

    def __init__(self, marks: Iterable[int]) -> None:
        self.first: frozenset[Label] = frozenset()
        """Labels of the first cell."""
        self.tokens: dict[Label, set[int]] = {}
        self.has_grown = False
        self._marks = tuple(marks)
        self._after: dict[Label, set[Label]] = {}
        self._before: dict[Label, set[Label]] = {}
        self._moves: dict[tuple[Spots, int, Label], Spots] = {}

    def start(self, site: Hashable) -> Spots:
        """Return the spots of a pointer on the first cell of a prompt that begins at this site."""
        return frozenset((label, (0,) * len(self._marks)) for label in self.first if label.site == site)

    def say(self, token: int, label: Label) -> Label:
        """Note that a label may be this token; return it."""
        known = self.tokens.setdefault(label, set())
        if token not in known:
            known.add(token)
            self.has_grown = True
        return label

    def read(self, spot: Spot) -> Iterable[int]:
        """Return the tokens that may be read at a spot."""
        place = spot[0]
        return (place.token,) if isinstance(place, Outside) else self.tokens[place]

    def following(self, label: Label) -> Iterable[Label]:
        """Return the labels that may follow one."""
        return self._after.get(label, ())

    def add(self, label: Label, following: Label) -> None:
        """Note that a label may follow another one."""
        known = self._after.setdefault(label, set())
        if following not in known:
            known.add(following)
            self._before.setdefault(following, set()).add(label)
            self.has_grown = True
            self._moves.clear()

    def move(self, spots: Spots, step: int, last: Label) -> Spots:
        """Return the spots to which a pointer may come by a step of -1 or 1; last: the last cell."""
        key = spots, step, last
        if key not in self._moves:
            move = self._right if step > 0 else self._left
            self._moves[key] = frozenset(spot for place, ahead in spots for spot in move(place, ahead, last))
        return self._moves[key]

    def _right(self, place: Place, ahead: Ahead, last: Label) -> Iterator[Spot]:
        if place in (BEHIND, FAR_BEHIND):
            yield FAR_BEHIND, ahead
        elif place == FAR_BEFORE:
            yield from ((BEFORE, ahead), (FAR_BEFORE, ahead))
        elif place == BEFORE:
            yield from ((label, ahead) for label in self.first)
        elif isinstance(place, Label):
            for label in self.following(place):
                if last.in_answer or not label.in_answer:
                    yield from ((label, left) for left in self._passed(label, ahead))
            if place == last and not any(ahead):
                yield BEHIND, ahead

    def _left(self, place: Place, ahead: Ahead, last: Label) -> Iterator[Spot]:
        if place in (BEFORE, FAR_BEFORE):
            yield FAR_BEFORE, ahead
        elif place == FAR_BEHIND:
            yield from ((BEHIND, ahead), (FAR_BEHIND, ahead))
        elif place == BEHIND:
            yield last, ahead
        elif isinstance(place, Label):
            more = self._more(place, ahead)
            yield from ((label, more) for label in self._before.get(place, ()))
            if place in self.first:
                yield BEFORE, more

    def grow(self, spots: Spots, label: Label) -> Spots:
        """Return a pointer's spots after the memory has grown by a cell."""
        if not self._marks and not any(isinstance(place, Outside) and place.token == EOS for place, _ in spots):
            return spots
        return frozenset(spot for place, ahead in spots for spot in self._grown(place, ahead, label))

    def _grown(self, place: Place, ahead: Ahead, label: Label) -> Iterator[Spot]:
        if place == BEHIND:
            yield label, ahead
        elif place == FAR_BEHIND:
            yield from ((BEHIND, ahead), (FAR_BEHIND, ahead))
        else:
            yield place, self._more(label, ahead)

    def _more(self, label: Label, ahead: Ahead) -> Ahead:
        """Count what lies ahead if this label does, too."""
        said = not isinstance(label.site, int)
        return tuple(min(n + (said and label.token == mark), MANY) for n, mark in zip(ahead, self._marks, strict=True))

    def _passed(self, label: Label, ahead: Ahead) -> Iterable[Ahead]:
        """Return what may lie ahead once a pointer has come to this label; nothing if it cannot be there."""
        said = not isinstance(label.site, int)
        ways = [
            {0: (), 1: (0,), MANY: (1, MANY)}[n] if said and label.token == mark else (n,)
            for n, mark in zip(ahead, self._marks, strict=True)
        ]
        return product(*ways)

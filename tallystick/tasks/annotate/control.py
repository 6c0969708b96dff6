"""The control state of a running program: the positions of its open frames, and the values of their live locals."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType
from typing import Any, NamedTuple

from tallystick.tasks.annotate.liveness import live_locals
from tallystick.tasks.base import Task

PLAIN = (str, int, float, bool, bytes, type(None))
ITERATORS = tuple(type(iter(x)) for x in ((), [], range(0), "", b"", {}, reversed([]), enumerate(()), zip()))
"""Types of the iterators of `for` loops and comprehensions, whose `__reduce__` tells how far they have advanced."""


@dataclass(frozen=True)
class Opaque:
    """A value that no note can say."""

    kind: str
    """Name of the value's type."""


@dataclass(frozen=True)
class Named:
    """A value that is fully described by its name, which is unique in a program."""

    name: str

    def __repr__(self) -> str:
        return self.name


class Place(NamedTuple):
    """A position in a function: its code, and the offset of a call in it."""

    code: CodeType
    offset: int

    def __str__(self) -> str:
        """Return the name by function and line, such as `_row+4` for 4 lines below the function's first."""
        line = list(self.code.co_positions())[self.offset // 2][0] or self.code.co_firstlineno
        return f"{self.code.co_name}+{line - self.code.co_firstlineno}"


class Site(NamedTuple):
    """A position in a program: the place of each open frame, the outermost first."""

    places: tuple[Place, ...]
    locals: tuple[tuple[int, str], ...]
    """Live locals, as (index of the frame, name)."""

    @classmethod
    def of(cls, frames: list[FrameType]) -> Site:
        """Return the site of these frames."""
        places = tuple(Place(frame.f_code, frame.f_lasti) for frame in frames)
        live = [live_locals(place.code)[place.offset] for place in places]
        return cls(places, tuple((i, name) for i, names in enumerate(live) for name in names))

    def values(self, frames: list[FrameType]) -> tuple[Hashable, ...]:
        """Describe the current value of each live local; None if it is not assigned yet."""
        held = [frame.f_locals for frame in frames]
        return tuple(describe(held[i].get(name)) for i, name in self.locals)


def open_frames(frame: FrameType, base: CodeType) -> list[FrameType]:
    """List the frames from the one called by `base` to `frame`."""
    frames, at = [], frame
    while at.f_code is not base:
        frames.append(at)
        assert at.f_back is not None
        at = at.f_back
    return frames[::-1]


def describe(value: Any) -> Hashable:
    """Describe a value as far as a program's control can depend on it; return an Opaque if that is impossible.

    An object may describe itself by its attribute `control_state`.
    """
    if isinstance(value, PLAIN):
        return value
    if hasattr(value, "control_state"):
        return value.control_state
    if isinstance(value, list | tuple | range):
        return tuple(map(describe, value))
    if isinstance(value, set | frozenset):
        return tuple(sorted(map(describe, value), key=repr))
    if isinstance(value, dict):
        return tuple((describe(key), describe(item)) for key, item in value.items())
    if isinstance(value, ITERATORS):
        return describe(value.__reduce__()[1:])
    if isinstance(value, MethodType | BuiltinFunctionType):
        return describe(value.__self__), Named(value.__name__)
    if isinstance(value, Task):
        return Named("self")
    return Named(value.__name__) if isinstance(value, FunctionType | type) else Opaque(type(value).__name__)

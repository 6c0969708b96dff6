"""Control states for a proof: what decides all that a program does next, or a refusal that names what cannot be read.

Two runs whose states are equal go on alike for the same answers. So a state holds the place of each open frame, its
live locals and its value stack, with types (1 and True are not the same) and with which mutable objects are shared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from types import BuiltinFunctionType, CellType, FrameType, FunctionType, MethodType
from typing import Any, Protocol

from tallystick.locality.extraction.refusal import Refusal
from tallystick.locality.extraction.stacks import EMPTY, cells_of, stack_of
from tallystick.tasks.annotate.control import PLAIN
from tallystick.tasks.annotate.liveness import live_locals

ITERATORS = tuple(type(iter(x)) for x in ((), [], range(0), "", b"", reversed([]), enumerate(()), zip()))
"""Types of iterators whose `__reduce__` tells all: what they go over, and how far they have advanced."""

Key = tuple[Hashable, ...]
"""A control state."""


class Constants(Protocol):
    """Objects that the program reads and nobody changes."""

    def name(self, value: Any) -> Hashable:
        """Return the name of a constant; None for any other object."""
        ...


def key_of(frames: list[FrameType], called: FrameType, constants: Constants) -> Key:
    """Describe the open frames of a program, the outermost first; called: the frame that the innermost one calls.

    Raises Refusal for what cannot be read.
    """
    description = _Description(constants)
    following = [*frames[1:], called]
    return tuple(_frame(frame, inner, description) for frame, inner in zip(frames, following, strict=True))


def _frame(frame: FrameType, called: FrameType, description: _Description) -> Hashable:
    code, held = frame.f_code, frame.f_locals
    shared = {*code.co_cellvars, *code.co_freevars}
    live = [name for name in live_locals(code)[frame.f_lasti] if name in held and name not in shared]
    described = tuple((name, description.of(held[name], f"{code.co_name}'s {name}")) for name in live)
    stack = tuple(description.of(value, f"what waits in {code.co_name}") for value in stack_of(frame, called))
    cells = tuple(description.of(cell, f"what functions within {code.co_name} read") for cell in cells_of(frame))
    return code.co_name, id(code), frame.f_lasti, described, cells, stack


class _Description:
    """Describes values; a mutable object that is met again is described by the number of its first meeting."""

    def __init__(self, constants: Constants):
        self._constants = constants
        self._met: dict[int, tuple[int, Any]] = {}  # with the object, so that its id is not used again

    def of(self, value: Any, where: str) -> Hashable:
        """Describe a value. Raises Refusal naming where it stands if its state cannot be read."""
        kind = type(value)
        if kind is float and math.isnan(value):  # `in` and `==` of lists tell whether two of them are one object
            raise Refusal(f"{where} is a NaN, which may be one object with another")
        if kind in PLAIN:
            return kind.__name__, repr(value) if kind is float else value
        if value is EMPTY:
            return "nothing"
        name = self._constants.name(value)
        if name is not None:
            return name
        if id(value) in self._met:
            return "again", self._met[id(value)][0]
        describe = _describers.get(kind)
        if describe is None:
            raise Refusal(f"{where} is a {kind.__name__}, whose state cannot be read")
        if kind is not tuple and kind is not range:
            self._met[id(value)] = len(self._met), value
        return kind.__name__, describe(value, lambda part: self.of(part, where))


Of = Callable[[Any], Hashable]


def _items(value: Any, of: Of) -> Hashable:
    return tuple(map(of, value))


def _pairs(value: Any, of: Of) -> Hashable:
    return tuple((of(key), of(item)) for key, item in value.items())


def _reduced(value: Any, of: Of) -> Hashable:
    return tuple(map(of, value.__reduce__()[1:]))


def _method(value: Any, of: Of) -> Hashable:
    return of(value.__self__), value.__name__, id(getattr(value, "__func__", None))


def _function(value: Any, of: Of) -> Hashable:
    return id(value.__code__), of(value.__closure__), of(value.__defaults__), of(value.__kwdefaults__), of(vars(value))


def _cell(cell: CellType, of: Of) -> Hashable:
    try:
        return of(cell.cell_contents)
    except ValueError:  # the cell is empty
        return "empty"


_describers: dict[type, Callable[[Any, Of], Hashable]] = {
    **dict.fromkeys((list, tuple), _items),
    dict: _pairs,
    **dict.fromkeys((range, *ITERATORS), _reduced),
    **dict.fromkeys((MethodType, BuiltinFunctionType), _method),
    FunctionType: _function,
    CellType: _cell,
}

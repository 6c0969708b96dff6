"""Value stacks: what waits on the stack of a frame that is calling another one.

In `a, b = left.read(), right.read()` the first answer lies on the stack while the second is asked for, so it belongs to
the control state. CPython shows a frame's stack to nobody. It is read from memory, with the layout of the versions that
are known; a trial, made once, tells whether the layout is right.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from types import CellType, CodeType, FrameType
from typing import Any

from tallystick.locality.extraction.refusal import Refusal

EMPTY = object()
"""Stands for a stack entry that holds no object, as CPython pushes below a function that is no method."""


class Layout:
    """Offsets in CPython's structures, in bytes."""

    def __init__(self, previous: int):
        self.inner = 24  # from a frame object to its interpreter frame
        self.previous = previous  # from an interpreter frame to the one that called it
        self.top, self.values = 64, 72  # to the number of values in use, and to the values: locals, then the stack


LAYOUTS = {(3, 11): Layout(48), (3, 12): Layout(8), (3, 13): Layout(8)}
"""Layouts by version of CPython."""


def stack_of(frame: FrameType, called: FrameType | None) -> list[Any]:
    """Return what waits on a frame's value stack, the oldest first; called: the frame that it is calling.

    Raises Refusal if a C function stands between the two, since its own state cannot be read, and for a Python whose
    frames are unknown.
    """
    if not is_known():
        version = ".".join(map(str, sys.version_info[:2]))
        raise Refusal(f"the frames of {sys.implementation.name} {version} are unknown; use CPython 3.11, 3.12 or 3.13")
    return _read(frame, called)


def cells_of(frame: FrameType) -> list[CellType]:
    """Return the cells of a frame, in which it shares locals with other functions; `stack_of` has been called."""
    values = _address(id(frame) + LAYOUTS[sys.version_info[:2]].inner) + LAYOUTS[sys.version_info[:2]].values
    slots = (_object(values + 8 * i) for i in range(_locals_of(frame.f_code)))
    return [value for value in slots if type(value) is CellType]


def _read(frame: FrameType, called: FrameType | None) -> list[Any]:
    layout = LAYOUTS[sys.version_info[:2]]
    inner = _address(id(frame) + layout.inner)
    top = ctypes.c_int.from_address(inner + layout.top).value
    bottom = _locals_of(frame.f_code)
    direct = called is None or _address(_address(id(called) + layout.inner) + layout.previous) == inner
    if top < bottom or not direct:
        raise Refusal(f"{frame.f_code.co_name} asks a tool within a C function or a generator, whose state is hidden")
    return [_object(inner + layout.values + 8 * i) for i in range(bottom, top)]


def _locals_of(code: CodeType) -> int:
    return len({*code.co_varnames, *code.co_cellvars}) + len(code.co_freevars)


def _address(at: int) -> int:
    return ctypes.c_void_p.from_address(at).value or 0


def _object(at: int) -> Any:
    return ctypes.py_object.from_address(at).value if _address(at) else EMPTY


@cache
def is_known() -> bool:
    """Return whether the layout of this Python is known and stands the trial."""
    if sys.implementation.name != "cpython" or sys.version_info[:2] not in LAYOUTS:
        return False
    return _Trial().passes()


class _Trial:
    """A program whose stacks are known, and ones with a C function or a generator between their frames."""

    def __init__(self) -> None:
        self._seen: list[list[Any]] = []

    def passes(self) -> bool:
        """Return whether the stacks are as expected."""
        for mark in (object(), object()):
            self._seen.clear()
            if self._is_refused(lambda mark=mark: self._pair(mark)):
                return False
            if [entry is mark for entry in self._seen[-1]] != [False, True] or len(self._seen[0]) != 1:
                return False
        return all(map(self._is_refused, (self._sorted, self._listed, self._summed)))

    def _ask(self, mark: object = None) -> Any:
        frame = sys._getframe()
        assert frame.f_back is not None
        self._seen.append(_read(frame.f_back, frame))
        return mark

    def _pair(self, mark: object) -> None:
        for _ in range(1):
            _, _ = self._ask(mark), self._ask()

    def _is_refused(self, program: Any) -> bool:
        try:
            program()
        except Refusal:
            return True
        return False

    def _sorted(self) -> None:
        sorted([1, 2], key=lambda _: self._through())

    def _listed(self) -> None:
        list(map(lambda _: self._through(), [1]))

    def _summed(self) -> None:
        sum(self._through() for _ in range(2))

    def _through(self) -> int:
        """Read the stacks of all frames up to the trial's."""
        called = sys._getframe()
        while called.f_code is not self._is_refused.__code__ and called.f_back is not None:
            _read(called.f_back, called)
            called = called.f_back
        return 0

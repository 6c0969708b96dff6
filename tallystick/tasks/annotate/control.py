"""A running program's control state: where its open frames stand, and what their live locals hold.

A local is live if it may still be read before it is overwritten (the textbook's backward analysis, over the bytecode):
what a program has done with decides nothing, and would only make its states many.
"""

from __future__ import annotations

import dis
import re
from collections.abc import Hashable, Iterable
from functools import cache
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType
from typing import Any, NamedTuple

from tallystick.tasks.base import Task

ENDS = re.compile("RETURN|RAISE|RERAISE|JUMP_(FORWARD|BACKWARD|ABSOLUTE)")
"""Instructions that do not go on to the next one."""
ACCESS = re.compile("(LOAD|STORE|DELETE)_FAST")
"""What an instruction does to a local; newer Pythons have some that do it to two."""
PLAIN = (str, int, float, bool, bytes, type(None))
ITERATORS = tuple(type(iter(x)) for x in ((), [], range(0), "", b"", {}, reversed([]), enumerate(()), zip()))
"""What `for` and comprehensions hold; `__reduce__` tells where they stand."""


class Opaque(NamedTuple):
    """Stands for a value that no note can say."""

    kind: str
    stands_for: str = "a value"


class Named(NamedTuple):
    """Stands for a value that its name tells from all others of its program."""

    name: str
    stands_for: str = "what is called so"

    def __repr__(self) -> str:
        return self.name


class Place(NamedTuple):
    """Where a frame stands: its code, and the offset of the call that it is in."""

    code: CodeType
    offset: int

    def __str__(self) -> str:
        """As `_row+4`: the function, and lines after its first."""
        line = list(self.code.co_positions())[self.offset // 2][0] or self.code.co_firstlineno
        return f"{self.code.co_name}+{line - self.code.co_firstlineno}"


class Site(NamedTuple):
    """A point of a program, with the frames that are open there, the outermost first."""

    places: tuple[Place, ...]
    locals: tuple[tuple[int, str], ...]
    """The live ones, as (number of the frame, name)."""

    @classmethod
    def of(cls, frames: list[FrameType]) -> Site:
        """Where these frames stand."""
        places = tuple(Place(frame.f_code, frame.f_lasti) for frame in frames)
        return cls(places, tuple((i, name) for i, place in enumerate(places) for name in live(place)))

    def values(self, frames: list[FrameType]) -> tuple[Hashable, ...]:
        """What each live local holds now; None for one that holds nothing yet."""
        holds = [frame.f_locals for frame in frames]
        return tuple(describe(holds[i].get(name)) for i, name in self.locals)


def open_frames(frame: FrameType, base: CodeType) -> list[FrameType]:
    """From the frame that `base` called to `frame`."""
    found, at = [], frame
    while at.f_code is not base:
        found.append(at)
        assert at.f_back is not None
        at = at.f_back
    return found[::-1]


def describe(value: Any) -> Hashable:
    """What a value is, as far as control can depend on it; Opaque if that cannot be said.

    An object may say it itself: `control_state`, a Named.
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


@cache
def _live(code: CodeType) -> dict[int, tuple[str, ...]]:
    """By offset, the locals that are live once the instruction there is done."""
    instructions = list(dis.get_instructions(code))
    follow = _followers(code, instructions)
    access = [_accesses(i, instructions) for i in range(len(instructions))]
    before: list[frozenset[str]] = [frozenset()] * len(instructions)
    after, changed = list(before), True
    while changed:
        changed = False
        for i in reversed(range(len(instructions))):
            after[i] = frozenset().union(*(before[j] for j in follow[i]))
            names = _before(access[i], after[i])
            before[i], changed = names, changed or names != before[i]
    shared = {*code.co_cellvars, *code.co_freevars}
    ends = [*(instruction.offset for instruction in instructions[1:]), len(code.co_code)]
    found: dict[int, tuple[str, ...]] = {}
    for instruction, names, end in zip(instructions, after, ends, strict=True):
        # a frame may stand in the cache behind its call
        found |= dict.fromkeys(range(instruction.offset, end, 2), tuple(sorted(names | shared)))
    return found


def live(place: Place) -> tuple[str, ...]:
    """The locals that are live when the call at this place returns; those shared with inner functions always are."""
    return _live(place.code)[place.offset]


def _followers(code: CodeType, instructions: list[dis.Instruction]) -> list[list[int]]:
    """For each instruction those that may come next."""
    number = {instruction.offset: i for i, instruction in enumerate(instructions)}
    jumps = {*dis.hasjrel, *dis.hasjabs}
    follow = [[number[i.argval]] if i.opcode in jumps else [] for i in instructions]
    for i, instruction in enumerate(instructions[:-1]):
        if not ENDS.match(instruction.opname):
            follow[i].append(i + 1)
    for entry in dis.Bytecode(code).exception_entries:  # pyright: ignore[reportAttributeAccessIssue]
        for offset in range(entry.start, entry.end, 2):
            if offset in number:
                follow[number[offset]].append(number[entry.target])
    return follow


def _accesses(i: int, instructions: list[dis.Instruction]) -> list[tuple[str, str]]:
    """(LOAD, STORE or DELETE, local) of instruction i, in order.

    Where a loop's iterator stands is on no local but the one that it fills: going round reads it.
    """
    instruction = instructions[i]
    if "JUMP" in instruction.opname and instruction.argval < instruction.offset:
        start = next(j for j, other in enumerate(instructions) if other.offset == instruction.argval)
        loops = instructions[start].opname == "FOR_ITER"
        return [("LOAD", name) for name in _filled(instructions[start + 1 :])] if loops else []
    return _named(instruction)


def _named(instruction: dis.Instruction) -> list[tuple[str, str]]:
    kinds = ACCESS.findall(instruction.opname)
    names = instruction.argval if isinstance(instruction.argval, tuple) else [instruction.argval]
    return list(zip(kinds, names, strict=True)) if kinds else []


def _filled(instructions: Iterable[dis.Instruction]) -> list[str]:
    """The locals that a loop's next item goes to."""
    names = []
    for instruction in instructions:
        stores = [name for kind, name in _named(instruction) if kind == "STORE"]
        if not stores and not instruction.opname.startswith("UNPACK"):
            break
        names += stores
    return names


def _before(accesses: list[tuple[str, str]], names: frozenset[str]) -> frozenset[str]:
    """What is live before an instruction, from what is live after it."""
    for kind, name in reversed(accesses):
        names = names | {name} if kind == "LOAD" else names - {name}
    return names

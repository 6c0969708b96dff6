"""Which locals are live at a point of a function: they may still be read before they are overwritten.

This is the textbook's backward data-flow analysis, over the bytecode. A local that the program has done with decides
nothing any more; if notes said it, there would be many more of them.
"""

from __future__ import annotations

import dis
import re
from collections.abc import Iterable
from functools import cache
from types import CodeType

NO_FALL_THROUGH = re.compile("RETURN|RAISE|RERAISE|JUMP_(FORWARD|BACKWARD|ABSOLUTE)")
"""Instructions that are never followed by the next one."""
ACCESS = re.compile("(LOAD|STORE|DELETE)_FAST")
"""An access to a local; some instructions of newer Pythons make two of them."""

Access = tuple[str, str]
"""LOAD, STORE or DELETE, and the local."""


@cache
def live_locals(code: CodeType) -> dict[int, tuple[str, ...]]:
    """Map each offset in the bytecode to the locals that are live after the instruction there, sorted.

    Locals shared with inner functions always count as live.
    """
    instructions = list(dis.get_instructions(code))
    after = _live_after(code, instructions)
    shared = {*code.co_cellvars, *code.co_freevars}
    ends = [*(instruction.offset for instruction in instructions[1:]), len(code.co_code)]
    live: dict[int, tuple[str, ...]] = {}
    for instruction, names, end in zip(instructions, after, ends, strict=True):
        # a frame's offset may point into the inline cache behind its call
        live |= dict.fromkeys(range(instruction.offset, end, 2), tuple(sorted(names | shared)))
    return live


def _live_after(code: CodeType, instructions: list[dis.Instruction]) -> list[frozenset[str]]:
    """Iterate to the fixed point: the locals live after each instruction."""
    successors = _successors(code, instructions)
    accesses = [_accesses(i, instructions) for i in range(len(instructions))]
    before: list[frozenset[str]] = [frozenset()] * len(instructions)
    after, changed = list(before), True
    while changed:
        changed = False
        for i in reversed(range(len(instructions))):
            after[i] = frozenset().union(*(before[j] for j in successors[i]))
            names = _live_before(accesses[i], after[i])
            before[i], changed = names, changed or names != before[i]
    return after


def _live_before(accesses: list[Access], names: frozenset[str]) -> frozenset[str]:
    """Given the locals live after an instruction, return those live before it."""
    for kind, name in reversed(accesses):
        names = names | {name} if kind == "LOAD" else names - {name}
    return names


def _successors(code: CodeType, instructions: list[dis.Instruction]) -> list[list[int]]:
    """For each instruction, the numbers of those that may be executed next."""
    number = {instruction.offset: i for i, instruction in enumerate(instructions)}
    jumps = {*dis.hasjrel, *dis.hasjabs}
    successors = [[number[i.argval]] if i.opcode in jumps else [] for i in instructions]
    for i, instruction in enumerate(instructions[:-1]):
        if not NO_FALL_THROUGH.match(instruction.opname):
            successors[i].append(i + 1)
    for entry in dis.Bytecode(code).exception_entries:  # pyright: ignore[reportAttributeAccessIssue]
        for offset in range(entry.start, entry.end, 2):
            if offset in number:
                successors[number[offset]].append(number[entry.target])
    return successors


def _accesses(i: int, instructions: list[dis.Instruction]) -> list[Access]:
    """The accesses to locals of instruction i, in order.

    A `for` loop's iterator is on the stack, in no local. The jump back to the loop's head counts as a read of the loop
    variable instead: that variable then stays live as long as the loop may go on, and shows how far it has come.
    """
    instruction = instructions[i]
    if "JUMP" in instruction.opname and instruction.argval < instruction.offset:
        head = next(j for j, other in enumerate(instructions) if other.offset == instruction.argval)
        is_for = instructions[head].opname == "FOR_ITER"
        return [("LOAD", name) for name in _loop_variables(instructions[head + 1 :])] if is_for else []
    return _own_accesses(instruction)


def _own_accesses(instruction: dis.Instruction) -> list[Access]:
    kinds = ACCESS.findall(instruction.opname)
    names = instruction.argval if isinstance(instruction.argval, tuple) else [instruction.argval]
    return list(zip(kinds, names, strict=True)) if kinds else []


def _loop_variables(body: Iterable[dis.Instruction]) -> list[str]:
    """The locals that a loop's next item is stored in, given the instructions behind its FOR_ITER."""
    names: list[str] = []
    for instruction in body:
        stores = [name for kind, name in _own_accesses(instruction) if kind == "STORE"]
        if not stores and not instruction.opname.startswith("UNPACK"):
            break
        names += stores
    return names

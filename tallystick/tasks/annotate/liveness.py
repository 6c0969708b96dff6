"""Liveness analysis: find the locals that may still be read before they are overwritten, at each point of a function.

This is the textbook's backward data-flow analysis, over the bytecode. A local that is no longer live does not influence
the program; if notes said it, there would be many more of them.
"""

from __future__ import annotations

import dis
import re
from collections.abc import Iterable
from functools import cache
from types import CodeType

NO_FALL_THROUGH = re.compile("RETURN|RAISE|RERAISE|JUMP_(FORWARD|BACKWARD|ABSOLUTE)")
"""Pattern of instructions that are never followed by the next one."""
ACCESS = re.compile("(LOAD|STORE|DELETE)_FAST")
"""Pattern of an access to a local; some instructions of newer Python versions make two."""

Access = tuple[str, str]
"""Kind of access, LOAD, STORE or DELETE, and name of the local."""


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
    """Return the locals live after each instruction, by iteration to the fixed point."""
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
    """Return the locals live before an instruction, given its accesses and the locals live after it."""
    for kind, name in reversed(accesses):
        names = names | {name} if kind == "LOAD" else names - {name}
    return names


def _successors(code: CodeType, instructions: list[dis.Instruction]) -> list[list[int]]:
    """Return for each instruction the indices of those that may be executed next."""
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
    """Return the accesses to locals by instruction i, in order.

    A `for` loop's iterator is on the stack rather than in a local. So the jump back to the loop's head counts as a read
    of the loop variable, which then stays live as long as the loop may continue, and shows how far it has advanced.
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
    """Return the locals that store a loop's next item, given the instructions after its FOR_ITER."""
    names: list[str] = []
    for instruction in body:
        stores = [name for kind, name in _own_accesses(instruction) if kind == "STORE"]
        if not stores and not instruction.opname.startswith("UNPACK"):
            break
        names += stores
    return names

"""The state of an episode as arrays, for loops in machine code: the grammar, pointers, the tape and the context memory.

It serves tasks whose tools are pointers and tapes, whose answers have one token; `compiled` takes tokens on a CPU.

Glossary: V vocabulary, R registers, C capacity. A table has a row for each token: what it does, and an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy import ndarray as Array

from tallystick.episode import ID_DTYPE, MARKS, Role
from tallystick.tools import ToolUser
from tallystick.tools.pointer import Pointer
from tallystick.tools.tape import Tape

NONE, BAD, FULL = -1, -2, -3
"""Results of `push` that are no observation."""
ROLE, BEFORE_NOTE, ANSWERED, DONE, SAID, REMEMBERS, SIZE, HEAD, BLANK, WRITES, POSITIONS = range(11)
"""Registers: the role of an ordinary symbol now, and before a note began; whether [ANS] and [EOS] have been said; the
role of the last token that was said; whether there is a context memory, and its size; the cell under the tape's head,
the id of its blank, and the number of writes left, -1 for no limit; from POSITIONS on, the pointers' positions."""
REGISTERS = POSITIONS + 9
SAY, SAY_NOTE, MARK, READ, MOVE, TAPE_READ, TAPE_MOVE, TAPE_WRITE = range(8)
"""What a token does: a symbol, a declared note, a mark; commands of a pointer and of the tape."""
LEFT, RIGHT = -1, 1
CAPACITY = 1024
"""Number of cells at the start that are free."""
THOUGHT, COMMAND, OUTPUT, NOTED = (int(r) for r in (Role.THOUGHT, Role.COMMAND, Role.OUTPUT, Role.NOTE))


class Remembering(ToolUser, Protocol):
    """The part of a task that says what of an episode is remembered; `tasks.Task` has it."""

    notes: Any
    marks: int

    def part_of(self, prompt: list[str]) -> tuple[Any, list[str]]:
        """Return the task that solves this prompt, in a mixture one of its parts, and the prompt without its marks."""
        ...


def grammar_of(part: Remembering) -> Array | None:
    """Return what each token does, int64 [V, 3]: a kind, a pointer, and a step or symbol; None for other tools.

    part: a task, or the part of a mixture that solves the prompt.
    """
    ids, kinds = part.vocab.ids, [type(tool) for tool in part.built_tools]
    if not {*kinds} <= {Pointer, Tape} or kinds.count(Tape) > 1:
        return None
    table = np.zeros((len(part.vocab), 3), np.int64)
    table[[ids[symbol] for symbol in part.notes], 0] = SAY_NOTE
    table[: len(MARKS), 0] = MARK
    for tool in part.built_tools:
        if isinstance(tool, Pointer):
            for i in range(tool.count):
                table[ids[f"[p{i}.read]"]] = READ, i, 0
                table[ids[f"[p{i}.left]"]] = MOVE, i, LEFT
                table[ids[f"[p{i}.right]"]] = MOVE, i, RIGHT
        elif isinstance(tool, Tape):
            table[ids["[tape.read]"]] = TAPE_READ, 0, 0
            table[ids["[tape.left]"]] = TAPE_MOVE, 0, LEFT
            table[ids["[tape.right]"]] = TAPE_MOVE, 0, RIGHT
            for symbol in tool.written:
                table[ids[f"[tape.write {symbol}]"]] = TAPE_WRITE, 0, ids[symbol]
    return table


@dataclass
class State:
    """The changing arrays of an episode."""

    registers: Array
    """int64 [R]."""
    memory: Array
    """ID_DTYPE [C]; its size is a register."""
    cells: Array
    """ID_DTYPE [C]: the part of the tape that was laid out; blank beyond."""

    @property
    def arrays(self) -> tuple[Array, Array, Array]:
        """The last arguments of `push`."""
        return self.registers, self.memory, self.cells

    @property
    def remembered(self) -> Array:
        """The context memory."""
        return self.memory[: self.registers[SIZE]]

    def grow(self, tokens: int = 1) -> None:
        """Double the capacity of what has no room for so many tokens, or for another move."""
        registers = self.registers
        if registers[SIZE] + tokens > len(self.memory):
            self.memory = _widened(self.memory, 0, len(self.memory) or CAPACITY, 0)
        at_begin, at_end = registers[HEAD] == 0, registers[HEAD] == len(self.cells) - 1
        if at_begin or at_end:
            free = max(len(self.cells), CAPACITY)
            self.cells = _widened(self.cells, free * at_begin, free * at_end, registers[BLANK])
            registers[HEAD] += free * at_begin


def _widened(cells: Array, before: int, after: int, fill: int) -> Array:
    wide = np.full(before + len(cells) + after, fill, ID_DTYPE)
    wide[before : before + len(cells)] = cells
    return wide


def start(task: Remembering, prompt: list[str], ids: Array | None = None) -> State:
    """Start an episode on this problem, with pointers, a tape and a memory as `tools.start_all` starts them.

    ids: the prompt's, where they are known.
    """
    part, own = task.part_of(prompt)
    registers = np.zeros(REGISTERS, np.int64)
    registers[[ROLE, BEFORE_NOTE, WRITES]] = THOUGHT, THOUGHT, -1
    cells = _lay_out(registers, part, own)
    ids = np.array(part.vocab.encode(prompt), ID_DTYPE) if ids is None else ids
    remembers = any(tool.reads_memory for tool in part.built_tools)
    known = ids[task.marks : len(ids) - task.marks] if remembers else ids[:0]
    registers[[REMEMBERS, SIZE]] = remembers, len(known)
    return State(registers, _widened(known, 0, CAPACITY, 0), cells)


def _lay_out(registers: Array, part: Remembering, prompt: Sequence[str]) -> Array:
    """Return the tape at its start. Raises ValueError for an unknown symbol or a head off the tape."""
    if not any(isinstance(tool, Tape) for tool in part.built_tools):
        registers[HEAD] = 1
        return np.zeros(3, ID_DTYPE)  # no tape: the head is on no end, where `grow` would widen it
    cells, head = part.tape(list(prompt))
    blank, limit = part.vocab.ids[part.blank], part.tape_limit(list(prompt))
    ids = part.vocab.encode(cells) or [blank]
    if not 0 <= head < len(ids):
        raise ValueError(f"the head must stand on a cell of the tape, 0 to {len(ids) - 1}, not {head}")
    registers[[HEAD, BLANK, WRITES]] = head + CAPACITY, blank, -1 if limit is None else limit
    return _widened(np.array(ids, ID_DTYPE), CAPACITY, CAPACITY, blank)

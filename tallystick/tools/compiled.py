"""Episodes in compiled loops: the grammar, pointers, the tape and the context memory as arrays.

`push` is `Episode.push` for tasks whose tools are pointers and tapes, whose answers have one token. Roles, memory,
refusals and answers are equal to those of the Python tools, by test. A decode loop uses it like this:

    compiled = numba_jit.load("tallystick.tools.compiled")  # None without numba: use an Episode
    grammar = arrays.grammar_of(part)             # once for a task, or for a part of a mixture; None: use an Episode
    state = arrays.start(task, prompt)            # once for an episode
    answer = push(token, grammar, *state.arrays)  # for each token that the model says, in compiled code, too

answer: the id of the observation, to be fed to the model and not to be pushed; or NONE; or BAD, where the token is not
allowed, as `BadCommand`; or FULL, where nothing has happened yet: call `state.grow()` in Python, take `state.arrays`
anew, and push the token again. Afterwards `registers[SAID]` is the role of the token that was said, `registers[DONE]`
is 1 once it was [EOS], and `memory[: registers[SIZE]]` is the context memory.

Several episodes may be rows of common arrays: `push(token, grammar, registers_BR[b], memory_BC[b], cells_BC[b])`. A
snapshot is a copy of the arrays. Numba does not notice that this module has changed when it loads a caller's stored
code, so clear its cache after a change here.

Glossary: V vocabulary, R registers, C capacity. A table has a row for each token: what it does, and an argument.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray as Array

from tallystick.episode import ANS, BOS, END_NOTE, END_THINK, EOS, NOTE, THINK
from tallystick.kernels.numba_jit import jit
from tallystick.tools.arrays import (
    ANSWERED,
    BAD,
    BEFORE_NOTE,
    COMMAND,
    DONE,
    FULL,
    HEAD,
    MARK,
    MOVE,
    NONE,
    NOTED,
    OUTPUT,
    POSITIONS,
    READ,
    REMEMBERS,
    ROLE,
    SAID,
    SAY,
    SAY_NOTE,
    SIZE,
    TAPE_MOVE,
    TAPE_READ,
    THOUGHT,
    WRITES,
)


@jit
def push(token: int, grammar: Array, registers: Array, memory: Array, cells: Array) -> int | np.int64:
    """Take the next token that is said; return the observation's id, or NONE, BAD or FULL."""
    kind, which, argument = grammar[token, 0], grammar[token, 1], grammar[token, 2]
    if kind == READ:
        registers[SAID] = COMMAND
        at = registers[POSITIONS + which]
        if at < 0:
            return BOS
        return np.int64(memory[at]) if at < registers[SIZE] else EOS
    if kind == MOVE:
        registers[SAID] = COMMAND
        registers[POSITIONS + which] += argument
        return NONE
    if kind == SAY:
        if not _remember(token, registers, memory):
            return FULL
        registers[SAID] = registers[ROLE]
        return NONE
    if kind == SAY_NOTE:
        registers[SAID] = NOTED
        return NONE
    if kind == MARK:
        return _mark(token, registers, memory)
    return _tape(kind, argument, registers, cells)


@jit
def _remember(token: int, registers: Array, memory: Array) -> bool:
    """Append a token to the memory, unless it is a note's; return False if there is no room."""
    if registers[REMEMBERS] and registers[ROLE] != NOTED:
        size = registers[SIZE]
        if size == len(memory):
            return False
        memory[size] = token
        registers[SIZE] = size + 1
    return True


@jit
def _tape(kind: int, argument: int, registers: Array, cells: Array) -> int | np.int64:
    head = registers[HEAD]
    if kind == TAPE_MOVE and not 0 <= head + argument < len(cells):
        return FULL
    registers[SAID] = COMMAND
    if kind == TAPE_READ:
        return np.int64(cells[head]) if registers[WRITES] else EOS
    if kind == TAPE_MOVE:
        registers[HEAD] = head + argument
    else:
        cells[head] = argument
        registers[WRITES] -= registers[WRITES] > 0
    return NONE


@jit
def _mark(token: int, registers: Array, memory: Array) -> int:
    """Take a mark: see `Episode`."""
    role = registers[ROLE]
    if not _is_allowed(token, role, registers[ANSWERED] != 0, registers[DONE] != 0):
        return BAD
    is_note = token in (NOTE, END_NOTE)
    if registers[REMEMBERS] and not is_note and token != EOS:
        size = registers[SIZE]
        if size == len(memory):
            return FULL
        memory[size] = token
        registers[SIZE] = size + 1
    registers[SAID] = NOTED if is_note else THOUGHT
    if token == NOTE:
        registers[BEFORE_NOTE] = role
        registers[ROLE] = NOTED
    elif token == END_NOTE:
        registers[ROLE] = registers[BEFORE_NOTE]
    elif token == ANS:
        registers[ANSWERED] = 1
        registers[ROLE] = OUTPUT
    elif token == THINK:
        registers[ROLE] = THOUGHT
    elif token == END_THINK:
        registers[ROLE] = OUTPUT
    else:
        registers[DONE] = 1
    return NONE


@jit
def _is_allowed(token: int, role: int, answered: bool, done: bool) -> bool:
    outer = OUTPUT if answered else THOUGHT
    if token == ANS:
        return not answered and role == outer
    if token == THINK:
        return answered and role == outer
    if token == END_THINK:
        return answered and role == THOUGHT
    if token == NOTE:
        return role != NOTED
    if token == END_NOTE:
        return role == NOTED
    return token == EOS and role == outer and not done

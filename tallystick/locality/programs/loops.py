"""Run a program's machine beside its tools in a compiled loop.

Glossary: S control states, V vocabulary, P phrases, W said tokens, N tokens of the answer, L room for tokens. An entry
is the first phrase of the step from a state by an answer, or UNKNOWN. What a phrase says stands in arrays of W at its
columns' BEGIN: its tokens, their roles, and those of them that are remembered.
"""

from __future__ import annotations

from numpy import ndarray as Array

from tallystick.episode import BOS, EOS
from tallystick.kernels.numba_jit import jit
from tallystick.kernels.vector_numba import LANES, copy
from tallystick.locality.programs.phrases import (
    ASK_POINTER,
    ASK_TAPE,
    ASK_TRUTH,
    BEGIN,
    END,
    FIRST,
    FIRST_MOVE,
    GO_ON,
    LENGTH,
    LONGEST,
    OUTPUT,
    REMEMBERED,
    SECOND,
    SECOND_MOVE,
    TAPE,
    THEN,
    TO,
    WHICH,
    WRITE,
)
from tallystick.tools.arrays import HEAD, POSITIONS, SIZE, WRITES

assert LONGEST == LANES, "a phrase is copied at once"
UNKNOWN = -1
PHRASE, LAST, FILLED, HEARD, COMPARED = range(5)
"""Registers of a run: the next phrase, and the last one; the number of tokens in the buffer; the last observation; and
the number of answer tokens compared."""
REGISTERS = 5
BLOCK_FULL, NO_ROOM, NEW_STEP, NEEDS_TRUTH, WRONG, ENDED = range(6)
"""Reasons for which `advance` returns."""


@jit
def advance(
    run: Array,
    entries_SV: Array,
    phrases_PC: Array,
    said_W: Array,
    roles_W: Array,
    remembered_W: Array,
    truth_N: Array,
    tools: Array,
    memory: Array,
    cells: Array,
    ids_L: Array,
    roles_L: Array,
) -> int:
    """Say phrases until one of the reasons above stops it; it goes on from there when it is called again.

    The block is full when there is no room for LONGEST tokens more, the length of each copy.
    """
    phrase, last, filled = run[PHRASE], run[LAST], run[FILLED]
    heard, compared = run[HEARD], run[COMPARED]
    size, limit, room, reason = tools[SIZE], len(ids_L) - LONGEST, len(memory) - LONGEST, BLOCK_FULL
    while filled < limit:
        last, line = phrase, phrases_PC[phrase]
        begin, head = line[BEGIN], tools[HEAD] + line[TAPE]
        if size > room or not 0 <= head < len(cells):
            reason = NO_ROOM
            break
        copy(said_W, begin, ids_L, filled)
        copy(roles_W, begin, roles_L, filled)
        if line[OUTPUT] >= 0:
            if compared == len(truth_N) or truth_N[compared] != said_W[begin + line[OUTPUT]]:
                filled += line[OUTPUT] + 1
                reason = WRONG
                break
            compared += 1
        filled += line[LENGTH]
        copy(remembered_W, begin, memory, size)
        size += line[REMEMBERED]
        tools[POSITIONS + line[FIRST]] += line[FIRST_MOVE]
        tools[POSITIONS + line[SECOND]] += line[SECOND_MOVE]
        if line[WRITE] >= 0:
            cells[tools[HEAD]] = line[WRITE]
            tools[WRITES] -= tools[WRITES] > 0
        tools[HEAD] = head
        then = line[THEN]
        if then == ASK_POINTER:
            at = tools[POSITIONS + line[WHICH]]
            heard = BOS if at < 0 else EOS if at >= size else memory[at]
        elif then == ASK_TAPE:
            heard = cells[head] if tools[WRITES] else EOS
        elif then == GO_ON:
            phrase += 1
            continue
        else:
            phrase += 1
            reason = NEEDS_TRUTH if then == ASK_TRUTH else ENDED if then == END else WRONG
            break
        following = entries_SV[line[TO], heard]
        if following == UNKNOWN:
            reason = NEW_STEP
            break
        phrase = following
    run[PHRASE], run[LAST], run[FILLED] = phrase, last, filled
    run[HEARD], run[COMPARED], tools[SIZE] = heard, compared, size
    return reason

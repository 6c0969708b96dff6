"""Run a program's machine beside its tools in a compiled loop.

Glossary: S control states, V vocabulary, T steps, W said tokens, N tokens of the answer, L room for tokens. An entry is
the number of the step from a state by an answer, or UNKNOWN.
"""

from __future__ import annotations

from numpy import ndarray as Array

from tallystick.episode import ANS, Role
from tallystick.kernels.numba_jit import jit
from tallystick.tools.arrays import BAD, FULL, NONE, SAID
from tallystick.tools.compiled import push

UNKNOWN = -1
BEGIN, END, TO = range(3)
"""Columns of a step: the span of the tokens that it says, and the state that it leads to, or UNKNOWN at the end."""
STEP, AT, FILLED, HEARD, COMPARED, TRUTH = range(6)
"""Registers of a run: the present step, the next token of it, the number of tokens in the buffer; the observation that
is not in the buffer yet, or NONE; the number of answer tokens compared; and how far the truth is."""
REGISTERS = 6
NOT_ASKED, WANTED, KNOWN, ANY_OUTPUT = range(4)
"""States of the truth: [ANS] has not been said; it has, and the answer must be given; the answer is given; the output
is not compared."""
BLOCK_FULL, NO_ROOM, NEW_STEP, NEEDS_TRUTH, WRONG, ENDED = range(6)
"""Reasons for which `advance` returns."""
OBSERVATION, OUTPUT = int(Role.OBSERVATION), int(Role.OUTPUT)


@jit
def advance(
    run: Array,
    entries_SV: Array,
    steps_T3: Array,
    said_W: Array,
    truth_N: Array,
    grammar: Array,
    tools: Array,
    memory: Array,
    cells: Array,
    ids_L: Array,
    roles_L: Array,
) -> int:
    """Say tokens until one of the reasons above stops it; it goes on from there when it is called again."""
    step, at, filled, heard, compared = run[STEP], run[AT], run[FILLED], run[HEARD], run[COMPARED]
    end, limit = steps_T3[step, END], len(ids_L)
    reason = -1
    while reason < 0:
        if filled == limit:
            reason = BLOCK_FULL
        elif heard != NONE:
            following = entries_SV[steps_T3[step, TO], heard]
            if following == UNKNOWN:
                reason = NEW_STEP
            else:
                ids_L[filled], roles_L[filled] = heard, OBSERVATION
                filled += 1
                step, heard = following, NONE
                at, end = steps_T3[step, BEGIN], steps_T3[step, END]
        elif run[TRUTH] == WANTED:
            reason = NEEDS_TRUTH
        elif at == end:
            reason = ENDED
        else:
            token = said_W[at]
            heard = push(token, grammar, tools, memory, cells)
            if heard == FULL:
                reason, heard = NO_ROOM, NONE
            else:
                role = tools[SAID]
                ids_L[filled], roles_L[filled] = token, role
                filled += 1
                at += 1
                if heard == BAD:
                    reason = WRONG
                elif token == ANS and run[TRUTH] == NOT_ASKED:
                    run[TRUTH] = WANTED
                elif role == OUTPUT and run[TRUTH] == KNOWN:
                    if compared == len(truth_N) or truth_N[compared] != token:
                        reason = WRONG
                    compared += 1
    run[STEP], run[AT], run[FILLED], run[HEARD], run[COMPARED] = step, at, filled, heard, compared
    return reason

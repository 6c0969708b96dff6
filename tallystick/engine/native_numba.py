"""The decode loop in machine code: the model says a token, a tool answers, the model reads both, and so on.

It runs episodes whose tools are pointers and tapes (`tools.compiled`), until all of them have ended or Python has to
make room. Rows of the arrays belong to episodes.

Glossary: S sequences, Z numbers of a state, V vocabulary, G grammars, R registers, C capacity, L places of a buffer.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray as Array

from tallystick.episode import Role
from tallystick.kernels.decode_numba import greedy, read
from tallystick.kernels.numba_jit import jit
from tallystick.tools.arrays import BAD, DONE, FULL, NONE, SAID
from tallystick.tools.compiled import push

(
    GRAMMAR,
    POSITION,
    LIMIT,
    STOP,
    FILL,
    PROGRAM,
    EXACT,
    SPOKEN,
    LOW,
    TOKENS,
    WRONG_AT,
    WRONG_TOKEN,
    TOKEN,
    ANSWER,
    FIELDS,
) = range(15)
"""Fields of an episode: its grammar; index of the next token, and its limit; why it ended; filled places of its
buffers; where its program's tokens begin; then the fields of `Result`: whether it is exact, its model tokens, those
with a low margin, its tokens; place and token of the first deviation; what the model has to read: its last token, and
the tool's answer or NONE."""
MARGIN, BEHIND, MEASURES = range(3)
"""Measures of an episode: its smallest margin, and that of the first deviation."""
RUNNING, EOS, TOKEN_LIMIT, BAD_COMMAND, UNSEEN = range(5)
"""Why an episode ended."""
OVER, CROWDED, UNDRAINED = range(3)
"""Why the loop ended: all episodes have; an array of a tool is full; a buffer is full."""
NOTHING = -1
"""The token of a model that abstains."""
OBSERVATION = int(Role.OBSERVATION)


@jit
def run(
    sizes: Array,
    weights: Array,
    states_SZ: Array,
    logits_SV: Array,
    vocab: int,
    grammars_GV3: Array,
    registers_SR: Array,
    memory_SC: Array,
    cells_SC: Array,
    programs: Array,
    low: float,
    fields_SF: Array,
    measures_SM: Array,
    ids_SL: Array,
    roles_SL: Array,
    begin: int,
) -> tuple[int, int]:
    """Let all episodes run; return why the loop ended and the episode to begin with when it is called again.

    logits_SV: what each model says next. programs: the programs' tokens, one after the other.
    low: margin below which rounding may decide. ids_SL, roles_SL: buffers for what is recorded.
    """
    count = len(fields_SF)
    id_R, slot_R, last_R = np.empty(2 * count, np.int64), np.empty(2 * count, np.int64), np.empty(2 * count, np.int64)
    fresh_R = np.zeros(2 * count, np.bool_)
    while True:
        for s in range(begin, count):
            fields = fields_SF[s]
            if fields[STOP] != RUNNING:
                continue
            if fields[FILL] + 2 > ids_SL.shape[1]:
                return UNDRAINED, s
            token, margin, silent = greedy(logits_SV[s, :vocab])
            answer = NONE
            if not silent:
                grammar = grammars_GV3[fields[GRAMMAR]]
                answer = push(token, grammar, registers_SR[s], memory_SC[s], cells_SC[s])
                if answer == FULL:
                    return CROWDED, s
            _compare(token, margin, silent, logits_SV[s], programs, low, fields, measures_SM[s])
            if silent:
                fields[STOP] = UNSEEN
            elif answer == BAD:
                fields[STOP] = BAD_COMMAND
            else:
                _record(token, answer, registers_SR[s], fields, ids_SL[s], roles_SL[s])
        begin = 0
        rows = _rows(fields_SF, id_R, slot_R, last_R)
        if rows == 0:
            return OVER, 0
        read(sizes, weights, states_SZ, id_R[:rows], slot_R[:rows], fresh_R[:rows], last_R[:rows], logits_SV)


@jit
def _compare(
    token: int,
    margin: np.float32,
    silent: bool,
    logits_V: Array,
    programs: Array,
    low: float,
    fields: Array,
    measures: Array,
) -> None:
    """Compare with the program's token, up to the first deviation, as `compared.Compared` does."""
    fields[TOKENS] = fields[POSITION] + 1
    if not fields[EXACT]:
        return
    fields[SPOKEN] += 1
    fields[LOW] += margin < low
    want = programs[fields[PROGRAM] + fields[POSITION]]
    if token == want and not silent:
        if margin < measures[MARGIN]:
            measures[MARGIN] = margin
        return
    behind = logits_V[want] - logits_V[token]
    fields[EXACT], fields[WRONG_AT], measures[BEHIND] = 0, fields[POSITION], behind
    fields[WRONG_TOKEN] = NOTHING if silent else token
    for value in (margin, behind):
        if value < measures[MARGIN]:
            measures[MARGIN] = value


@jit
def _record(token: int, answer: int, registers: Array, fields: Array, ids_L: Array, roles_L: Array) -> None:
    """Put the token and the tool's answer into the buffers; end the episode where it has to."""
    at, fields[TOKEN], fields[ANSWER] = fields[FILL], token, answer
    ids_L[at], roles_L[at] = token, registers[SAID]
    if answer != NONE:
        ids_L[at + 1], roles_L[at + 1] = answer, OBSERVATION
    added = 1 if answer == NONE else 2
    fields[FILL] = at + added
    fields[POSITION] += added
    if registers[DONE]:
        fields[STOP] = EOS
    elif fields[POSITION] >= fields[LIMIT]:
        fields[STOP] = TOKEN_LIMIT


@jit
def _rows(fields_SF: Array, id_R: Array, slot_R: Array, last_R: Array) -> int:
    """Lay out the rows to read: first what all running episodes have said, then the answers; return their number."""
    rows, count = 0, len(fields_SF)
    for s in range(count):
        if fields_SF[s, STOP] == RUNNING:
            id_R[rows], slot_R[rows], last_R[rows] = fields_SF[s, TOKEN], s, s if fields_SF[s, ANSWER] == NONE else -1
            rows += 1
    for s in range(count):
        if fields_SF[s, STOP] == RUNNING and fields_SF[s, ANSWER] != NONE:
            id_R[rows], slot_R[rows], last_R[rows] = fields_SF[s, ANSWER], s, s
            rows += 1
    return rows

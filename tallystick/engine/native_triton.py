"""The decode loop as a Triton kernel: the model says a token, a tool answers, the model reads both, and so on.

A program runs one episode, and stays on the GPU for many tokens. Episodes whose tools are pointers and tapes run to
their ends. In others the kernel stops at a token that the host has to see, and continues with what that leaves to read.

Rows of the arrays belong to slots. Glossary: B slots that run, S slots, Z numbers of a state, F fields, M measures,
R registers, C capacity of the memory, W cells of the tape, P capacity for a program's tokens, Q for tokens to read,
L places of a buffer, G grammars, V vocabulary; the sizes of a model are those of `kernels.decode_triton`.
"""

# CPU builds of torch come without Triton, whose decorator gives functions another calling convention.
# pyright: reportMissingImports=false, reportGeneralTypeIssues=false

from __future__ import annotations

import triton
import triton.language as tl

from tallystick import episode
from tallystick.engine import gpu_fields
from tallystick.kernels.decode_triton import greedy, logits, read
from tallystick.tools import arrays
from tallystick.tools.compiled_triton import BAD, EOS, NONE, push

(
    GRAMMAR, HOSTED, POSITION, LIMIT, STOP, FILL, EXACT, SPOKEN, LOW, TOKENS, WRONG_AT, WRONG_TOKEN, NEXT, ANSWER,
    QUEUED, QUEUE_END, COUNT, SAID, FIELDS,
) = map(tl.constexpr, range(gpu_fields.FIELDS + 1))  # fmt: skip
MARGIN, BEHIND, SAID_MARGIN, MEASURES = map(tl.constexpr, range(gpu_fields.MEASURES + 1))
RUNNING, ENDED, TOKEN_LIMIT, BAD_COMMAND, UNSEEN, WAITING = map(tl.constexpr, range(6))
HOST = tl.constexpr(gpu_fields.HOST)
ROLE, BEFORE_NOTE, ANSWERED, REMEMBERS, SIZE, HEAD, WRITES = map(tl.constexpr, (
    arrays.ROLE, arrays.BEFORE_NOTE, arrays.ANSWERED, arrays.REMEMBERS, arrays.SIZE, arrays.HEAD, arrays.WRITES,
))  # fmt: skip
REGISTERS = tl.constexpr(arrays.REGISTERS)
OBSERVATION = tl.constexpr(int(episode.Role.OBSERVATION))


@triton.jit
def _entry(vector_V, at, V: tl.constexpr):
    return tl.sum(tl.where(tl.arange(0, V) == at, vector_V, 0.0), 0)


@triton.jit(
    do_not_specialize=["steps", "low", "vocab", "memory_room", "cells_room", "program_room", "queue_room", "buffer"]
)
def run(
    weights, states_SZ, slot_B, fields_SF, measures_SM, registers_SR, memory_SC, cells_SW, programs_SP, queue_SQ,
    grammars_GV3, logits_SV, ids_SL, roles_SL,
    steps, low, floor, vocab, memory_room, cells_room, program_room, queue_room, buffer,
    WIDTH: tl.constexpr, INNER: tl.constexpr, D: tl.constexpr, E: tl.constexpr, N: tl.constexpr, M: tl.constexpr,
    P: tl.constexpr, J: tl.constexpr, WARPS: tl.constexpr, LAYERS: tl.constexpr, V: tl.constexpr, T: tl.constexpr,
    HEAD_AT: tl.constexpr, Z: tl.constexpr,
):  # fmt: skip
    """Let episodes read and speak until each has read `steps` tokens or stands still.

    low: margin below which rounding may decide. floor: that of the model's step sizes. vocab: number of its tokens.
    """
    slot = tl.load(slot_B + tl.program_id(0)).to(tl.int64)
    fields, registers = fields_SF + slot * FIELDS, registers_SR + slot * REGISTERS
    state, measures, out = states_SZ + slot * Z, measures_SM + slot * MEASURES, logits_SV + slot * V
    memory, cells = memory_SC + slot * memory_room, cells_SW + slot * cells_room
    program, queue = programs_SP + slot * program_room, queue_SQ + slot * queue_room
    ids, roles = ids_SL + slot * buffer, roles_SL + slot * buffer

    hosted, position, limit = tl.load(fields + HOSTED), tl.load(fields + POSITION), tl.load(fields + LIMIT)
    exact, spoken, lows = tl.load(fields + EXACT), tl.load(fields + SPOKEN), tl.load(fields + LOW)
    tokens, token = tl.load(fields + TOKENS), tl.load(fields + NEXT)
    answer, count = tl.load(fields + ANSWER), tl.load(fields + COUNT)
    queued, queue_end = tl.load(fields + QUEUED), tl.load(fields + QUEUE_END)
    grammar = grammars_GV3 + tl.load(fields + GRAMMAR) * V * 3
    role, before_note = tl.load(registers + ROLE), tl.load(registers + BEFORE_NOTE)
    answered, remembers = tl.load(registers + ANSWERED), tl.load(registers + REMEMBERS)
    size, head, writes = tl.load(registers + SIZE), tl.load(registers + HEAD), tl.load(registers + WRITES)
    smallest = tl.load(measures + MARGIN)
    stop, fill, end = tl.load(fields + STOP), 0, count + steps
    while (stop == RUNNING) & (count < end):
        x_D = read(token, weights, state, count, floor, WIDTH, INNER, D, E, N, M, P, J, WARPS, LAYERS, V)
        count += 1
        if queued < queue_end:
            token = tl.load(queue + queued)
            queued += 1
        elif answer != NONE:
            token = answer
            answer = NONE
        else:
            logits_V = logits(x_D, weights + HEAD_AT, out, WIDTH, D, V, T, WARPS)
            token, margin, silent = greedy(logits_V, vocab, V)
            tokens = position + 1
            if exact != 0:
                want = tl.load(program + position)
                spoken += 1
                lows += (margin < low).to(tl.int32)
                if silent | (token != want):
                    behind = _entry(logits_V, want, V) - _entry(logits_V, token, V)
                    exact = 0
                    tl.store(fields + WRONG_AT, position)
                    tl.store(fields + WRONG_TOKEN, tl.where(silent, NONE, token))
                    tl.store(measures + BEHIND, behind)
                    smallest = tl.where(behind < smallest, behind, smallest)
                smallest = tl.where(margin < smallest, margin, smallest)
            row = grammar + token * 3
            kind, which, argument = tl.load(row), tl.load(row + 1), tl.load(row + 2)
            if silent:
                stop = UNSEEN
            elif (kind == HOST) | ((hosted != 0) & (position + 1 >= limit)):
                stop = WAITING
                tl.store(fields + SAID, token)
                tl.store(measures + SAID_MARGIN, margin)
                tl.store(out + tl.arange(0, V), logits_V)
            else:
                answer, said, role, before_note, answered, size, head, writes = push(
                    token, kind, which, argument, registers, memory, cells,
                    remembers, role, before_note, answered, size, head, writes,
                )  # fmt: skip
                if answer == BAD:
                    stop = BAD_COMMAND
                else:
                    has_answer = answer != NONE
                    tl.store(ids + fill, token)
                    tl.store(ids + fill + 1, answer, mask=has_answer)
                    tl.store(roles + fill, said.to(roles.dtype.element_ty))
                    tl.store(roles + fill + 1, OBSERVATION, mask=has_answer)
                    added = 1 + has_answer.to(tl.int32)
                    fill += added
                    position += added
                    if token == EOS:
                        stop = ENDED
                    elif position >= limit:
                        stop = TOKEN_LIMIT
        tl.debug_barrier()  # state, memory and positions are as this step left them

    tl.store(fields + POSITION, position)
    tl.store(fields + STOP, stop)
    tl.store(fields + FILL, fill)
    tl.store(fields + EXACT, exact)
    tl.store(fields + SPOKEN, spoken)
    tl.store(fields + LOW, lows)
    tl.store(fields + TOKENS, tokens)
    tl.store(fields + NEXT, token)
    tl.store(fields + ANSWER, answer)
    tl.store(fields + QUEUED, queued)
    tl.store(fields + COUNT, count)
    tl.store(registers + ROLE, role)
    tl.store(registers + BEFORE_NOTE, before_note)
    tl.store(registers + ANSWERED, answered)
    tl.store(registers + SIZE, size)
    tl.store(registers + HEAD, head)
    tl.store(registers + WRITES, writes)
    tl.store(measures + MARGIN, smallest)

"""The grammar, pointers, tape and context memory of one episode inside a Triton kernel; see `tools.arrays`.

There must be room for another token in the memory, and for another move on the tape. Tokens are int32.
"""

# CPU builds of torch come without Triton, whose decorator gives functions another calling convention.
# pyright: reportMissingImports=false, reportGeneralTypeIssues=false

from __future__ import annotations

import triton
import triton.language as tl

from tallystick import episode
from tallystick.tools import arrays

ANS, BOS, END_NOTE, END_THINK, EOS, NOTE, THINK = (
    tl.constexpr(int(token))
    for token in (
        episode.ANS, episode.BOS, episode.END_NOTE, episode.END_THINK, episode.EOS, episode.NOTE, episode.THINK,
    )
)  # fmt: skip
NONE, BAD = tl.constexpr(arrays.NONE), tl.constexpr(arrays.BAD)
SAY, SAY_NOTE, MARK, READ, MOVE, TAPE_READ, TAPE_MOVE, TAPE_WRITE = (tl.constexpr(kind) for kind in range(8))
THOUGHT, COMMAND, OUTPUT, NOTED = (
    tl.constexpr(role) for role in (arrays.THOUGHT, arrays.COMMAND, arrays.OUTPUT, arrays.NOTED)
)
POSITIONS = tl.constexpr(arrays.POSITIONS)


@triton.jit
def _is_allowed(token, role, answered):
    """Return whether a mark is allowed here; no mark follows [EOS], which ends an episode."""
    outer = tl.where(answered, OUTPUT, THOUGHT)
    at_outer = role == outer
    allowed = (token == EOS) & at_outer
    allowed |= (token == ANS) & ~answered & at_outer
    allowed |= (token == THINK) & answered & at_outer
    allowed |= (token == END_THINK) & answered & (role == THOUGHT)
    allowed |= (token == NOTE) & (role != NOTED)
    allowed |= (token == END_NOTE) & (role == NOTED)
    return allowed


@triton.jit
def push(
    token, kind, which, argument, registers, memory, cells, remembers, role, before_note, answered, size, head, writes
):
    """Take the next token that is said, whose row of the grammar is `kind, which, argument`.

    registers, memory, cells: places in memory of this episode's arrays, of which the pointers' positions are used and
    changed. Returns the answer's token, NONE or BAD; the role of what was said; and the new values of the registers
    that are arguments.
    """
    is_mark, is_answered = kind == MARK, answered != 0
    bad = is_mark & ~_is_allowed(token, role, is_answered)
    is_note = is_mark & ((token == NOTE) | (token == END_NOTE))

    kept = ((kind == SAY) & (role != NOTED)) | (is_mark & ~is_note & (token != EOS))
    kept &= (remembers != 0) & ~bad
    tl.store(memory + size, token, mask=kept)

    position = tl.load(registers + POSITIONS + which)
    inside = (position >= 0) & (position < size)
    seen = tl.load(memory + position, mask=(kind == READ) & inside, other=0)
    answer = tl.where(kind == READ, tl.where(inside, seen, tl.where(position < 0, BOS, EOS)), NONE)
    tl.store(registers + POSITIONS + which, position + argument, mask=kind == MOVE)

    cell = tl.load(cells + head, mask=kind == TAPE_READ, other=0)
    answer = tl.where(kind == TAPE_READ, tl.where(writes != 0, cell, EOS), answer)
    tl.store(cells + head, argument, mask=kind == TAPE_WRITE)
    head += tl.where(kind == TAPE_MOVE, argument, 0)
    writes -= ((kind == TAPE_WRITE) & (writes > 0)).to(tl.int32)

    said = tl.where(is_mark, tl.where(is_note, NOTED, THOUGHT), COMMAND)
    said = tl.where(kind == SAY, role, tl.where(kind == SAY_NOTE, NOTED, said))
    is_mark &= ~bad
    before_note = tl.where(is_mark & (token == NOTE), role, before_note)
    answered |= (is_mark & (token == ANS)).to(tl.int32)
    after = tl.where(token == NOTE, NOTED, tl.where(token == END_NOTE, before_note, role))
    after = tl.where((token == ANS) | (token == END_THINK), OUTPUT, tl.where(token == THINK, THOUGHT, after))
    role = tl.where(is_mark, after, role)
    answer = tl.where(bad, BAD, answer)
    return answer, said, role, before_note, answered, size + kept.to(tl.int32), head, writes

"""Exception handlers: the instructions whose exceptions a code may learn from.

CPython 3.12 and later protect every generator and every list comprehension by handlers of their own, which tidy the
stack and raise the exception again. They tell a program nothing, unless another handler stands around them.
"""

from __future__ import annotations

import dis
from functools import cache
from types import CodeType
from typing import Any

TIDYING = {"SWAP", "POP_TOP", "STORE_FAST", "STORE_FAST_MAYBE_NULL"}
"""Instructions that move what is on the stack into locals of a frame that is about to end."""
RENAMING = ("CALL_INTRINSIC_1", "INTRINSIC_STOPITERATION_ERROR")
"""The instruction by which a StopIteration that leaves a generator becomes a RuntimeError."""


@cache
def caught(code: CodeType) -> frozenset[int]:
    """Return the offsets of instructions whose exceptions the code handles, other than by raising them again."""
    entries = _entries(code)
    offsets = (offset for entry in entries for offset in range(entry.start, entry.end, 2))
    return frozenset(offset for offset in offsets if _is_handled(code, offset))


def _is_handled(code: CodeType, offset: int) -> bool:
    """Follow an exception from handler to handler until one does more than raise it again, or until it leaves."""
    followed = set[int]()
    while entry := next((entry for entry in _entries(code) if entry.start <= offset < entry.end), None):
        raised = _raised_again(code, entry.target)
        if raised is None or raised in followed:
            return True
        followed.add(offset := raised)
    return False


def _raised_again(code: CodeType, target: int) -> int | None:
    """Return the offset at which a handler raises its exception again; None if it may do anything else."""
    for instruction in dis.get_instructions(code):
        if instruction.offset < target:
            continue
        if instruction.opname == "RERAISE":
            return instruction.offset
        if instruction.opname not in TIDYING and (instruction.opname, instruction.argrepr) != RENAMING:
            return None
    return None


@cache
def _entries(code: CodeType) -> list[Any]:
    return list(dis.Bytecode(code).exception_entries)  # pyright: ignore[reportAttributeAccessIssue]

"""Pointers into the context memory (paper, section 2): read, left, right."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from tallystick.episode import BOS, EOS, Commands
from tallystick.tools import Command, ToolUser
from tallystick.vocab import Vocabulary


class Pointer:
    """A set of pointers, all on cell 0, the first prompt token, at the start.

    A position is an integer that is never clamped: a pointer reads [BOS] below 0, [EOS] at or beyond the present length
    of the memory, and the new token once the memory has grown past it. option: number of pointers, 1 to 9; default 1.
    """

    reads_memory = True

    def __init__(self, option: str, task: ToolUser):
        option = option or "1"
        if not option.isdecimal() or not 1 <= int(option) <= 9:
            raise ValueError(f"pointer:{option}: the number of pointers must be 1 to 9, as in pointer:2")
        self.count = int(option)
        self.tokens = tuple(f"[p{i}.{verb}]" for i in range(self.count) for verb in ("read", "left", "right"))

    def start(self, vocab: Vocabulary, memory: array | None, task: ToolUser, prompt: object) -> Commands:
        """Return the commands of new pointers into `memory`."""
        assert memory is not None
        commands: Commands = {}
        for i in range(self.count):
            read, left, right = _pointer(memory)
            ids = vocab.ids
            commands |= {ids[f"[p{i}.read]"]: read, ids[f"[p{i}.left]"]: left, ids[f"[p{i}.right]"]: right}
        return commands


def _pointer(memory: array) -> tuple[Command, Command, Command]:
    """Make read, left and right of one pointer, as closures over its position: the fastest form in plain Python."""
    position = 0

    def read() -> Sequence[int]:
        if position < 0:
            return (BOS,)
        return (memory[position],) if position < len(memory) else (EOS,)

    def left() -> Sequence[int]:
        nonlocal position
        position -= 1
        return ()

    def right() -> Sequence[int]:
        nonlocal position
        position += 1
        return ()

    return read, left, right

"""Pointers into the context memory (paper, section 2): read, left, right."""

from __future__ import annotations

from array import array

from tallystick.episode import BOS, EOS, Commands
from tallystick.tools import ToolUser
from tallystick.vocab import Vocabulary


class Pointer:
    """`count` pointers, all on cell 0, the first prompt token, from the start.

    A position is an integer that is never clamped: below 0 it reads [BOS], at or beyond the memory's present length
    [EOS], and when the memory grows over it, the new token. option: the count, 1 to 9; 1 if there is none.
    """

    reads_memory = True

    def __init__(self, option: str, task: ToolUser):
        option = option or "1"
        if not option.isdecimal() or not 1 <= int(option) <= 9:
            raise ValueError(f"pointer:{option}: the number of pointers is 1 to 9, as in pointer:2")
        self.count = int(option)
        self.tokens = tuple(f"[p{i}.{verb}]" for i in range(self.count) for verb in ("read", "left", "right"))

    def start(self, vocab: Vocabulary, memory: array | None, task: ToolUser, prompt: object) -> Commands:
        """Fresh pointers over `memory`."""
        assert memory is not None
        commands: Commands = {}
        for i in range(self.count):
            read, left, right = _pointer(memory)
            ids = vocab.ids
            commands |= {ids[f"[p{i}.read]"]: read, ids[f"[p{i}.left]"]: left, ids[f"[p{i}.right]"]: right}
        return commands


def _pointer(memory: array):
    """Three closures over one position: the fastest form that plain Python has, and programs run on it."""
    position = 0

    def read():
        if position < 0:
            return (BOS,)
        return (memory[position],) if position < len(memory) else (EOS,)

    def left():
        nonlocal position
        position -= 1
        return ()

    def right():
        nonlocal position
        position += 1
        return ()

    return read, left, right

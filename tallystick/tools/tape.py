"""A two-way infinite tape (paper, theorem 2.2): read, write, left, right."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from tallystick.episode import EOS, Commands
from tallystick.tools import ToolUser
from tallystick.vocab import Vocabulary


class Tape:
    """Begins as `task.tape(prompt)` says; cells beyond are `task.blank`. The cells are its own, not the context memory.

    After `task.tape_limit(prompt)` writes it is closed and reads [EOS], wherever the head stands.
    option: the symbols that can be written, "01", or "0 1 [_]" if some are longer; else the task's and the blank.
    """

    reads_memory = False

    def __init__(self, option: str, task: ToolUser):
        self.written = option.split() if " " in option else list(option) or [*task.symbols, task.blank]
        """Symbols that have a write command."""
        moves = ("[tape.read]", "[tape.left]", "[tape.right]")
        writes = (f"[tape.write {symbol}]" for symbol in self.written)
        self.tokens = (*moves, *dict.fromkeys(writes), *dict.fromkeys([*self.written, task.blank]))

    def start(self, vocab: Vocabulary, memory: array | None, task: ToolUser, prompt: Sequence[str]) -> Commands:
        """A fresh tape. Raises ValueError if a cell is not in the vocabulary or the head does not stand at a cell."""
        cells, head = task.tape(list(prompt))
        limit = task.tape_limit(list(prompt))
        read, left, right, writes = _tape(vocab.encode(cells), head, vocab.ids[task.blank], limit)
        ids = vocab.ids
        commands: Commands = {ids["[tape.read]"]: read, ids["[tape.left]"]: left, ids["[tape.right]"]: right}
        return commands | {ids[f"[tape.write {symbol}]"]: writes(ids[symbol]) for symbol in self.written}


def _tape(cells: list[int], head: int, blank: int, limit: int | None):
    """Closures over two stacks and the cell between them: no position, so both ends grow alike and nothing is moved."""
    cells = cells or [blank]
    if not 0 <= head < len(cells):
        raise ValueError(f"the head stands at {head}, beside the {len(cells)} cells of the tape")
    before, here, after = array("H", cells[:head]), cells[head], array("H", reversed(cells[head + 1 :]))
    left_over = -1 if limit is None else limit

    def read():
        return (here,) if left_over else (EOS,)

    def left():
        nonlocal here
        after.append(here)
        here = before.pop() if before else blank
        return ()

    def right():
        nonlocal here
        before.append(here)
        here = after.pop() if after else blank
        return ()

    def writes(symbol):
        def write():
            nonlocal here, left_over
            here = symbol
            left_over -= left_over > 0
            return ()

        return write

    return read, left, right, writes

"""A two-way infinite tape (paper, theorem 2.2): read, write, left, right."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

from tallystick.episode import EOS, Commands, id_array
from tallystick.tools import Command, ToolUser
from tallystick.vocab import Vocabulary


class Tape:
    """A tape, separate from the context memory, that begins as `task.tape(prompt)`; other cells read `task.blank`.

    After `task.tape_limit(prompt)` writes it is closed and reads [EOS] everywhere. option: the symbols that can be
    written, such as "01", or "0 1 [_]" if some are longer; by default the task's symbols and the blank.
    """

    reads_memory = False

    def __init__(self, option: str, task: ToolUser):
        self.written = option.split() if " " in option else list(option) or [*task.symbols, task.blank]
        """Symbols that have a write command."""
        moves = ("[tape.read]", "[tape.left]", "[tape.right]")
        writes = (f"[tape.write {symbol}]" for symbol in self.written)
        self.tokens = (*moves, *dict.fromkeys(writes), *dict.fromkeys([*self.written, task.blank]))

    def start(self, vocab: Vocabulary, memory: array | None, task: ToolUser, prompt: Sequence[str]) -> Commands:
        """Return the commands of a new tape. Raises ValueError for an unknown symbol or a head off the tape."""
        cells, head = task.tape(list(prompt))
        limit = task.tape_limit(list(prompt))
        read, left, right, writes = _tape(vocab.encode(cells), head, vocab.ids[task.blank], limit)
        ids = vocab.ids
        commands: Commands = {ids["[tape.read]"]: read, ids["[tape.left]"]: left, ids["[tape.right]"]: right}
        return commands | {ids[f"[tape.write {symbol}]"]: writes(ids[symbol]) for symbol in self.written}


def _tape(
    cells: list[int], head: int, blank: int, limit: int | None
) -> tuple[Command, Command, Command, Callable[[int], Command]]:
    """Make read, left, right and a factory of writes, as closures over two stacks and the cell between them.

    Both ends grow in constant time, and nothing is ever moved.
    """
    cells = cells or [blank]
    if not 0 <= head < len(cells):
        raise ValueError(f"the head must stand on a cell of the tape, 0 to {len(cells) - 1}, not {head}")
    before, here, after = id_array(cells[:head]), cells[head], id_array(reversed(cells[head + 1 :]))
    left_over = -1 if limit is None else limit

    def read() -> Sequence[int]:
        return (here,) if left_over else (EOS,)

    def left() -> Sequence[int]:
        nonlocal here
        after.append(here)
        here = before.pop() if before else blank
        return ()

    def right() -> Sequence[int]:
        nonlocal here
        before.append(here)
        here = after.pop() if after else blank
        return ()

    def writes(symbol: int) -> Command:
        def write() -> Sequence[int]:
            nonlocal here, left_over
            here = symbol
            left_over -= left_over > 0
            return ()

        return write

    return read, left, right, writes

"""Search in the context memory (paper, section 2): all lines that contain some symbols, as grep finds them."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

from tallystick.episode import ID_DTYPE, BadCommand, Brackets, Commands, id_array, not_said
from tallystick.tools import ToolUser
from tallystick.vocab import Vocabulary

TAIL = 4096
"""Number of newest tokens that are scanned instead of indexed, so that short episodes never build an index."""


class Search:
    """A tool that finds lines: ``[find] x ... [/find]`` is answered by ``[obs] line [/line] ... [/obs]``.

    The answer has, in order, all lines that contain the symbols x ... contiguously. The memory is split into lines at
    the symbol "\\n", which belongs to none of them; the last line may still be growing.
    """

    reads_memory = True
    tokens = ("[find]", "[/find]", "[obs]", "[/line]", "[/obs]", "\n")

    def __init__(self, option: str, task: ToolUser):
        if option:
            raise ValueError(f"search:{option}: search takes no option; write search")

    def start(self, vocab: Vocabulary, memory: array | None, task: ToolUser, prompt: object) -> Commands:
        """Return the commands of a new index of `memory`."""
        assert memory is not None
        ids = vocab.ids
        index = Index(memory, ids["\n"], len(vocab))
        first, end_line, last = ids["[obs]"], ids["[/line]"], ids["[/obs]"]

        def find(symbols: list[int]) -> Sequence[int]:
            if not symbols:
                raise BadCommand("[find] needs one or more symbols before [/find]")
            answer = [first]
            for start, end in index.lines(symbols):
                answer += memory[start:end]
                answer.append(end_line)
            return [*answer, last]

        return {ids["[find]"]: Brackets(ids["[/find]"], find)} | dict.fromkeys(
            (ids["[/find]"], first, end_line, last), not_said
        )


class Index:
    """An index of the positions of symbols in a growing memory.

    The key of a position is its next few symbols, packed into 64 bits. Keys are kept in sorted runs (a suffix array
    truncated at that depth), each at least twice as long as the next; runs are merged as the memory grows. So a search
    takes a few binary searches in each run, and growing to n tokens takes O(n log n) steps in all. The newest tokens
    are scanned instead.
    """

    def __init__(self, memory: array, newline: int, vocab_size: int):
        self._memory, self._newline = memory, newline
        self._bits = max(vocab_size - 1, 1).bit_length()
        self._depth = 63 // self._bits
        self._ends: list[int] = []  # positions of "\n", the ends of lines
        self._looked = 0  # number of tokens searched for "\n"
        self._sorted: list[tuple[np.ndarray, np.ndarray]] = []  # keys uint64, positions int64
        self._indexed = 0  # number of positions in the sorted runs

    def lines(self, symbols: list[int]) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of each line that contains the symbols, in order."""
        self._grow()
        last = -1
        for position in self._occurrences(symbols):
            line = bisect_right(self._ends, position)
            if line != last:
                last = line
                end = self._ends[line] if line < len(self._ends) else len(self._memory)
                yield (self._ends[line - 1] + 1 if line else 0), end

    def _occurrences(self, symbols: list[int]) -> list[int]:
        """Return the positions, in order, at which the symbols stand contiguously."""
        if self._newline in symbols:
            return []
        wanted = id_array(symbols)
        window, offset = self._rarest(symbols)
        found = [int(p) - offset for keys, positions in self._sorted for p in positions[_range(keys, *window)]]
        found = sorted(p for p in found if p >= 0 and self._memory[p : p + len(wanted)] == wanted)
        begin = max(self._indexed - offset, 0)
        tail, needle = self._memory[begin:].tobytes(), wanted.tobytes()
        at = tail.find(needle)
        while at >= 0:
            if at % ID_DTYPE.itemsize == 0:
                found.append(begin + at // ID_DTYPE.itemsize)
            at = tail.find(needle, at + 1)
        return found

    def _rarest(self, symbols: list[int]) -> tuple[tuple[int, int], int]:
        """Find the rarest `depth` contiguous symbols (or all, if fewer); return their range of keys and offset."""
        depth = min(self._depth, len(symbols))
        windows = [self._keys(symbols[i : i + depth]) for i in range(len(symbols) - depth + 1)]
        counts = [sum(s.stop - s.start for s in (_range(k, *w) for k, _ in self._sorted)) for w in windows]
        offset = counts.index(min(counts))
        return windows[offset], offset

    def _keys(self, symbols: list[int]) -> tuple[int, int]:
        """Return the range of keys that begin with the symbols: the first, and one past the last."""
        packed = 0
        for symbol in symbols:
            packed = packed << self._bits | symbol
        rest = self._bits * (self._depth - len(symbols))
        return packed << rest, (packed + 1) << rest

    def _grow(self) -> None:
        """Index the tokens added to the memory, except the last `depth`, whose keys are incomplete."""
        memory, ends = self._memory, self._ends
        while True:
            try:
                ends.append(memory.index(self._newline, self._looked))
            except ValueError:
                break
            self._looked = ends[-1] + 1
        self._looked = len(memory)
        if len(memory) - self._indexed > TAIL + self._depth:
            end = len(memory) - self._depth
            self._add(self._indexed, end)
            self._indexed = end

    def _add(self, start: int, end: int) -> None:
        """Add a sorted run, merged with the earlier runs that are less than twice as long."""
        tokens = np.array(self._memory[start : end + self._depth], np.uint64)
        keys = np.zeros(end - start, np.uint64)
        for i in range(self._depth):
            keys = keys << np.uint64(self._bits) | tokens[i : i + end - start]
        positions = np.arange(start, end, dtype=np.int64)
        while self._sorted and len(self._sorted[-1][0]) < 2 * len(keys):
            older_keys, older = self._sorted.pop()
            keys, positions = np.concatenate([older_keys, keys]), np.concatenate([older, positions])
        order = np.argsort(keys, kind="stable")
        self._sorted.append((keys[order], positions[order]))


def _range(keys: np.ndarray, first: int, beyond: int) -> slice:
    return slice(*np.searchsorted(keys, np.array([first, beyond], np.uint64)).tolist())

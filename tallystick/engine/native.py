"""Episodes that run in machine code as a whole, the tools included: what `native_numba` needs, and what comes of it.

Glossary: S sequences, R registers, C capacity, L places of a buffer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tallystick.engine import native_numba as loop
from tallystick.engine.orders import Order, Outcome
from tallystick.engine.reader import Compiled
from tallystick.episode import ID_DTYPE, ROLE_DTYPE, StopReason
from tallystick.kernels import numba_jit
from tallystick.tasks import Task
from tallystick.tools import arrays as tools

BUFFER = 4096
"""Tokens of an episode after which Python takes over what is recorded."""
REASONS = {
    loop.EOS: StopReason.EOS,
    loop.TOKEN_LIMIT: StopReason.TOKEN_LIMIT,
    loop.BAD_COMMAND: StopReason.BAD_COMMAND,
    loop.UNSEEN: StopReason.UNSEEN,
}


def grammars(task: Task, prompts: Sequence[list[str]]) -> tuple[list[np.ndarray], list[int]] | None:
    """Return the grammars of these problems, and the number of each problem's; None if other tools are among them."""
    parts = [task.part_of(prompt)[0] for prompt in prompts]
    known = {id(part): part for part in parts}
    found = {key: tools.grammar_of(part) for key, part in known.items()}
    tables = [table for table in found.values() if table is not None]
    if len(tables) < len(found):
        return None
    places = {key: place for place, key in enumerate(found)}
    return tables, [places[id(part)] for part in parts]


class Episodes:
    """Episodes that run together. low: margin below which rounding may decide."""

    def __init__(self, reader: Compiled, task: Task, orders: Sequence[Order], low: float):
        made = grammars(task, [order.prompt for order in orders])
        assert made is not None, "all tools run in machine code"
        assert len(task.vocab) <= reader.packed.vocab_size, "compiled code checks no bounds"
        self._reader, self._orders, self._low = reader, orders, low
        self._grammars = np.stack(made[0])
        self._fields, self._measures = self._beginnings(made[1])
        self._programs = np.concatenate([order.program for order in orders])
        states = [tools.start(task, order.prompt) for order in orders]
        self._registers = np.stack([state.registers for state in states])
        self._memory = _stacked([state.memory for state in states], [0] * len(states))
        self._cells = _stacked([state.cells for state in states], self._registers[:, tools.BLANK].tolist())
        self._ids = np.empty((len(orders), BUFFER), ID_DTYPE)
        self._roles = np.empty((len(orders), BUFFER), ROLE_DTYPE)

    def _beginnings(self, kinds: list[int]) -> tuple[np.ndarray, np.ndarray]:
        fields = np.zeros((len(self._orders), loop.FIELDS), np.int64)
        measures = np.full((len(self._orders), loop.MEASURES), np.inf)
        begin = 0
        for row, kind, order in zip(fields, kinds, self._orders, strict=True):
            row[[loop.GRAMMAR, loop.POSITION, loop.LIMIT]] = kind, len(order.unread), order.limit
            row[[loop.PROGRAM, loop.EXACT]] = begin, True
            begin += len(order.program)
        return fields, measures

    def run(self) -> list[Outcome]:
        """Run all episodes to their ends."""
        logits_SV = self._reader.read_all([order.unread for order in self._orders])
        packed, states, begin, why = self._reader.packed, self._reader.states_BZ, 0, loop.CROWDED
        while why != loop.OVER:
            known = packed.sizes, packed.weights, states, logits_SV, packed.vocab_size, self._grammars
            changing = self._registers, self._memory, self._cells, self._programs, self._low
            kept = self._fields, self._measures, self._ids, self._roles
            why, begin = numba_jit.run(loop.run, *known, *changing, *kept, begin)
            self._drain()
            if why == loop.CROWDED:
                self._make_room()
        return [self._outcome(s) for s in range(len(self._orders))]

    def _drain(self) -> None:
        """Hand the sinks what has been recorded."""
        for s, order in enumerate(self._orders):
            filled = self._fields[s, loop.FILL]
            if filled:
                order.sink.write(self._ids[s, :filled].copy(), self._roles[s, :filled].copy())
        self._fields[:, loop.FILL] = 0

    def _make_room(self) -> None:
        """Double the memories if one is full, and the tapes if a head stands at an end."""
        registers, room, width = self._registers, self._memory.shape[1], self._cells.shape[1]
        if (registers[:, tools.SIZE] == room).any():
            self._memory = np.pad(self._memory, ((0, 0), (0, room)))
        heads = registers[:, tools.HEAD]
        if ((heads == 0) | (heads == width - 1)).any():
            blank_S1 = registers[:, tools.BLANK, None].astype(ID_DTYPE)
            free = np.broadcast_to(blank_S1, (len(registers), width))
            self._cells = np.hstack([free, self._cells, free])
            heads += width

    def _outcome(self, s: int) -> Outcome:
        fields, (margin, behind) = self._fields[s].tolist(), self._measures[s].tolist()
        said = None if fields[loop.WRONG_TOKEN] == loop.NOTHING else fields[loop.WRONG_TOKEN]
        wrong = None if fields[loop.EXACT] else (fields[loop.WRONG_AT], said, behind)
        counts = fields[loop.POSITION], fields[loop.TOKENS], fields[loop.SPOKEN], fields[loop.LOW]
        return Outcome(REASONS[fields[loop.STOP]], *counts, margin, wrong)


def _stacked(rows: Sequence[np.ndarray], fill: Sequence[int]) -> np.ndarray:
    """Stack arrays of different lengths, filled up at their ends."""
    stacked = np.empty((len(rows), max(map(len, rows))), ID_DTYPE)
    for wide, row, value in zip(stacked, rows, fill, strict=True):
        wide[: len(row)], wide[len(row) :] = row, value
    return stacked

"""A pool of slots on a GPU: the states and tools of episodes, and the launches of the kernel that advances them.

Small arrays have a twin on the host, which is copied to the GPU before a launch and back after it. Tokens are signed on
the GPU, since torch knows few operations on unsigned numbers.

Glossary: S slots, Z numbers of a state, F fields, M measures, R registers, C capacity of the memory, W cells of the
tape, P capacity for a program's tokens, Q for tokens to read, L places of a buffer, G grammars, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tallystick.engine import gpu_fields as at
from tallystick.engine import native_triton
from tallystick.engine.gpu_packing import PackedOnGPU
from tallystick.episode import ID_DTYPE, ROLE_DTYPE
from tallystick.models.base import Model
from tallystick.tools import arrays

STEPS = 4096
"""Maximum number of tokens that an episode reads in a launch."""
LONG = 2048
"""Number of tokens to read, above which torch reads them in chunks: the kernel, one by one, takes longer."""


class Slots:
    """Slots for episodes of one model, whose grammars `teach` sets."""

    def __init__(self, model: Model, packed: PackedOnGPU, count: int):
        self.packed, self._model, self._device = packed, model, packed.weights.device
        self.fields = np.zeros((count, at.FIELDS), np.int32)
        self.measures = np.zeros((count, at.MEASURES), np.float32)
        self.registers = np.zeros((count, arrays.REGISTERS), np.int32)
        sizes = packed.sizes
        self.states_SZ = torch.zeros(count, sizes["Z"], device=self._device)
        self.logits_SV = torch.zeros(count, sizes["V"], device=self._device)
        self._memory_SC, self._cells_SW, self._programs_SP, self._queue_SQ = (self._tokens(count, 1) for _ in range(4))
        self._ids_SL = self._tokens(count, STEPS + 2)
        self._roles_SL = torch.zeros(count, STEPS + 2, dtype=torch.int8, device=self._device)
        self._grammars_GV3, self._has_tape = self._tokens(1, 1, 3), False

    def teach(self, grammars_GV3: np.ndarray) -> None:
        """Set what tokens do, as `tools.arrays` describes it; a token may also be one for the host."""
        padding = self.packed.sizes["V"] - grammars_GV3.shape[1]
        assert padding >= 0, "the kernel checks no bounds"
        grammars_GV3 = np.pad(grammars_GV3, ((0, 0), (0, padding), (0, 0))).astype(np.int32)
        self._grammars_GV3 = torch.from_numpy(grammars_GV3).to(self._device)
        self._has_tape = bool((grammars_GV3[..., 0] == arrays.TAPE_MOVE).any())

    def _tokens(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.int32, device=self._device)

    def start(self, slots: Sequence[int], tools: Sequence[arrays.State | None], programs: Sequence[np.ndarray]) -> None:
        """Begin an episode in each of these slots; tools: None where the host runs them."""
        self.states_SZ[self._index(slots)] = 0.0
        self.fields[slots], self.measures[slots], self.registers[slots] = 0, np.inf, 0
        self.fields[slots, at.ANSWER] = arrays.NONE
        for slot, state in zip(slots, tools, strict=True):
            if state is not None:
                self.registers[slot] = state.registers
        known = [(slot, state) for slot, state in zip(slots, tools, strict=True) if state is not None]
        self._memory_SC = self._write(self._memory_SC, [(slot, state.remembered) for slot, state in known])
        if self._has_tape:
            self._lay_out(known)
        self._programs_SP = self._write(self._programs_SP, list(zip(slots, programs, strict=True)))

    def feed(self, unread: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Give slots tokens to read, one or more, before their models say more."""
        long = [(slot, ids[:-1]) for slot, ids in unread if len(ids) > LONG]
        if long:
            self._read_in_chunks([slot for slot, _ in long], [ids for _, ids in long])
            unread = [(slot, ids[-1:] if len(ids) > LONG else ids) for slot, ids in unread]
        for slot, ids in unread:
            fields = self.fields[slot]
            fields[[at.NEXT, at.QUEUED, at.QUEUE_END, at.STOP]] = ids[0], 0, len(ids) - 1, at.RUNNING
        self._queue_SQ = self._write(self._queue_SQ, [(slot, ids[1:]) for slot, ids in unread if len(ids) > 1])

    @torch.inference_mode()
    def _read_in_chunks(self, slots: list[int], unread: list[Sequence[int]]) -> None:
        """Let torch read tokens, of all these slots together; from here on the slots count their tokens anew."""
        index, count_B = self._index(slots), torch.from_numpy(self.fields[slots, at.COUNT])
        given, device = self.packed.unpack_state(self.states_SZ[index], count_B.to(self._device)), self._model_device
        state = {name: tensor.to(device) for name, tensor in given.items()}
        length_B = torch.tensor([len(ids) for ids in unread], device=device)
        rows = [torch.tensor(ids, dtype=torch.long) for ids in unread]
        ids_BL, begin = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device), 0
        for part_BL in ids_BL.split(self._model.verify_chunk_gpu, 1):
            _, state = self._model(part_BL, state, length_B=(length_B - begin).clamp(0, part_BL.shape[1]))
            begin += part_BL.shape[1]
        self.states_SZ[index], self.fields[slots, at.COUNT] = self.packed.pack_state(state), 0

    @property
    def _model_device(self) -> torch.device:
        return next(self._model.parameters()).device

    def _lay_out(self, tapes: list[tuple[int, arrays.State]]) -> None:
        """Put tapes into the middle of their rows."""
        widest = max(len(state.cells) for _, state in tapes)
        if widest > self._cells_SW.shape[1]:
            self._widen_tapes(widest - self._cells_SW.shape[1])
        room = self._cells_SW.shape[1]
        blank = self.registers[[slot for slot, _ in tapes], arrays.BLANK]
        rows = np.repeat(blank[:, None].astype(ID_DTYPE), room, 1)
        for row, (slot, state) in zip(rows, tapes, strict=True):
            begin = (room - len(state.cells)) // 2
            row[begin : begin + len(state.cells)] = state.cells
            self.registers[slot, arrays.HEAD] = state.registers[arrays.HEAD] + begin
        self._cells_SW[self._index([slot for slot, _ in tapes])] = self._from_host(rows)

    def _write(self, tensor: Tensor, rows: Sequence[tuple[int, Any]]) -> Tensor:
        """Write ids into the beginnings of rows; return the tensor, or a wider copy if need be."""
        lengths = [len(ids) for _, ids in rows]
        if not any(lengths):
            return tensor
        tensor = _widened(tensor, max(lengths))
        ids = self._from_host(np.concatenate([np.asarray(ids, ID_DTYPE) for _, ids in rows]))
        length_R, slot_R = self._index(lengths), self._index([slot for slot, _ in rows])
        begin_R = slot_R * tensor.shape[1] - (length_R.cumsum(0) - length_R)
        places = torch.arange(len(ids), device=self._device) + begin_R.repeat_interleave(length_R)
        tensor.view(-1)[places] = ids
        return tensor

    def _index(self, slots: Sequence[int]) -> Tensor:
        return torch.tensor(slots, dtype=torch.long, device=self._device)

    def _from_host(self, ids: np.ndarray) -> Tensor:
        return torch.from_numpy(ids.view(np.int32)).to(self._device)

    def run(self, slots: Sequence[int], low: float = 0.0, steps: int = STEPS) -> None:
        """Advance episodes by as many tokens, or until they stand still; low: as in `margins.low_margin`."""
        self._make_room(slots, steps)
        small = [torch.from_numpy(array).to(self._device) for array in (self.fields, self.measures, self.registers)]
        slot_B = torch.tensor(slots, dtype=torch.int32, device=self._device)
        large = self._memory_SC, self._cells_SW, self._programs_SP, self._queue_SQ
        known = self._grammars_GV3, self.logits_SV, self._ids_SL, self._roles_SL
        numbers = steps, low, self.packed.floor, self.packed.config.vocab_size
        rooms = *(tensor.shape[1] for tensor in large), self._ids_SL.shape[1]
        given = self.packed.weights, self.states_SZ, slot_B, *small, *large, *known, *numbers, *rooms
        kernel: Any = native_triton.run
        kernel[(len(slots),)](*given, **self.packed.sizes, num_warps=self.packed.sizes["WARPS"], num_stages=1)
        self.fields, self.measures, self.registers = (tensor.cpu().numpy().copy() for tensor in small)

    def _make_room(self, slots: Sequence[int], steps: int) -> None:
        """Widen memories and tapes, so that no episode fills them in so many steps."""
        registers = self.registers[slots]
        filled = int(registers[:, arrays.SIZE].max() + steps)
        if registers[:, arrays.REMEMBERS].any() and filled > self._memory_SC.shape[1]:
            self._memory_SC = _widened(self._memory_SC, filled)
        heads = registers[:, arrays.HEAD]
        if self._has_tape and (heads.min() < steps or heads.max() + steps >= self._cells_SW.shape[1]):
            self._widen_tapes(steps)

    def _widen_tapes(self, cells: int) -> None:
        """Add blank cells at both ends, at least as many as given."""
        free = max(cells, self._cells_SW.shape[1])
        blank_S1 = torch.from_numpy(self.registers[:, arrays.BLANK, None].astype(np.int32)).to(self._device)
        fill = blank_S1.expand(-1, free)
        self._cells_SW = torch.cat([fill, self._cells_SW, fill], 1)
        self.registers[:, arrays.HEAD] += free

    def recorded(self, slots: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the ids and roles that the last launch has recorded in each of these slots."""
        filled = self.fields[slots, at.FILL].tolist()
        index, most = self._index(slots), max(filled)
        ids = self._ids_SL[index, :most].cpu().numpy().view(ID_DTYPE)
        roles = self._roles_SL[index, :most].cpu().numpy().view(ROLE_DTYPE)
        return [(ids[row, :count].copy(), roles[row, :count].copy()) for row, count in enumerate(filled)]


def _widened(tensor: Tensor, room: int) -> Tensor:
    """Return a tensor, or a copy at least twice as wide, that has `room` columns."""
    width = tensor.shape[1]
    return tensor if room <= width else torch.nn.functional.pad(tensor, (0, max(room, 2 * width) - width))

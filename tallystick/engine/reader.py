"""Readers: they let a model read tokens and say the next ones greedily, with torch or with compiled loops.

Torch, "eager", is the specification, and works for every model. The compiled step, "cpu", is some twenty times as fast
with small models; on a GPU, "cuda", so is a kernel that stays there for many tokens.

Glossary: B sequences, L length, V vocabulary, R rows.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec

import numpy as np
import torch

from tallystick.engine import gpu_packing, packing
from tallystick.engine.interface import Reader, Said
from tallystick.engine.margins import abstains
from tallystick.kernels import numba_jit
from tallystick.models.base import Model, State, select

BACKENDS = ("auto", "cpu", "cuda", "eager")
"""How a model is run: with compiled loops on a CPU or on a GPU, with torch, or "auto": compiled on the model's device
where that is supported, else with torch."""


class Eager:
    """A model run by torch."""

    backend = "eager"

    def __init__(self, model: Model):
        self._model, self._device = model, next(iter(model.state_dict().values())).device
        self.state: State | None = None

    def resume(self, state: State) -> None:
        """Go on from a state."""
        self.state = {name: tensor.to(self._device) for name, tensor in state.items()}

    @torch.inference_mode()
    def read(self, unread: Sequence[Sequence[int]]) -> list[Said]:
        """Read the new tokens in one pass, or those of a single sequence in chunks."""
        logits_BV = self._read_one(unread[0]) if len(unread) == 1 else self._read_all(unread)
        logits_BV = logits_BV.float().cpu()
        top = logits_BV.topk(2).values
        tokens, margins = logits_BV.argmax(1).tolist(), (top[:, 0] - top[:, -1]).tolist()
        said = zip(tokens, margins, logits_BV, strict=True)
        return [Said(token, margin, abstains(row), row.numpy()) for token, margin, row in said]

    def read_on(self, unread: Sequence[int], plain_V: np.ndarray, most: int) -> tuple[list[int], Said]:
        """Read the new tokens; return what the model says next."""
        return [], self.read([unread])[0]

    def _read_one(self, ids: Sequence[int]) -> torch.Tensor:
        ids_1L, chunk = torch.tensor([ids], device=self._device), self._model.verify_chunk
        for part_1L in ids_1L.split(chunk, 1):
            logits_1LV, self.state = self._model(part_1L, self.state)
        return logits_1LV[:, -1]

    def _read_all(self, unread: Sequence[Sequence[int]]) -> torch.Tensor:
        length = max(map(len, unread))
        ids_BL = torch.tensor([[*ids, *[0] * (length - len(ids))] for ids in unread], device=self._device)
        length_B = torch.tensor([len(ids) for ids in unread], device=self._device)
        logits_BLV, self.state = self._model(ids_BL, self.state, length_B=length_B)
        return logits_BLV[torch.arange(len(unread), device=self._device), length_B - 1]

    def keep(self, rows: Sequence[int]) -> None:
        """Drop the other sequences."""
        assert self.state is not None, "something has been read"
        self.state = select(self.state, torch.tensor(rows, dtype=torch.long))


class Compiled:
    """A model run by compiled loops, on packed weights."""

    backend = "cpu"

    def __init__(self, model: Model):
        self.packed, self._step = packing.pack(model), packing.compiled_step()
        self.states_BZ: np.ndarray | None = None
        """The packed state of each sequence."""

    @property
    def state(self) -> State | None:
        """The state; None before the first token."""
        return None if self.states_BZ is None else self.packed.unpack_state(self.states_BZ)

    def resume(self, state: State) -> None:
        """Go on from a state."""
        self.states_BZ = self.packed.pack_state(state)

    def read(self, unread: Sequence[Sequence[int]]) -> list[Said]:
        """Read the new tokens, those of all sequences together."""
        return self._greedy(self.read_all(unread))

    def read_on(self, unread: Sequence[int], plain_V: np.ndarray, most: int) -> tuple[list[int], Said]:
        """Read the new tokens, and what the model says, as long as that is plain."""
        id_R, said_L = self._checked(np.array(unread)), np.empty(most, np.int64)
        begin, logits_1V = self._begin(1), self._empty_logits(1)
        count = numba_jit.run(self._step.read_on, *begin, id_R, plain_V, logits_1V, said_L)
        return said_L[:count].tolist(), self._greedy(logits_1V)[0]

    def read_all(self, unread: Sequence[Sequence[int]]) -> np.ndarray:
        """Read the new tokens; return each sequence's logits of the next one, padded."""
        id_R, slot_R, last_R = in_rows(unread)
        return self.read_rows(len(unread), id_R, slot_R, np.zeros(len(id_R), np.bool_), last_R)

    def read_rows(
        self, sequences: int, id_R: np.ndarray, slot_R: np.ndarray, fresh_R: np.ndarray, last_R: np.ndarray
    ) -> np.ndarray:
        """Read rows of so many sequences, as `kernels.decode_numba.read`; return the wanted logits, padded."""
        begin, logits_TV = self._begin(sequences), self._empty_logits(int(last_R.max()) + 1)
        numba_jit.run(self._step.read, *begin, self._checked(id_R), slot_R, fresh_R, last_R, logits_TV)
        return logits_TV

    def margins(self, logits_TV: np.ndarray, target_T: np.ndarray) -> np.ndarray:
        """Compute what `margins.margin` does, float32 [T], of padded logits."""
        margin_T = np.empty(len(target_T), np.float32)
        numba_jit.run(self._step.margins, logits_TV, self.packed.vocab_size, self._checked(target_T), margin_T)
        return margin_T

    def _begin(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the first arguments of the compiled functions; the state of so many sequences is made if need be."""
        if self.states_BZ is None:
            self.states_BZ = np.zeros((count, self.packed.state_size), np.float32)
        assert len(self.states_BZ) == count, "each sequence has a state"
        return self.packed.sizes, self.packed.weights, self.states_BZ

    def _checked(self, id_R: np.ndarray) -> np.ndarray:
        assert id_R.max(initial=0) < self.packed.vocab_size, "compiled code checks no bounds"
        return id_R

    def _empty_logits(self, count: int) -> np.ndarray:
        return np.empty((count, self._step.padded(self.packed.vocab_size)), np.float32)

    def _greedy(self, logits_BV: np.ndarray) -> list[Said]:
        vocab, count = self.packed.vocab_size, len(logits_BV)
        tokens, margins, silent = np.empty(count, np.int64), np.empty(count, np.float32), np.empty(count, np.bool_)
        numba_jit.run(self._step.greedy_rows, logits_BV, vocab, tokens, margins, silent)
        said = zip(tokens.tolist(), margins.tolist(), silent.tolist(), logits_BV[:, :vocab], strict=True)
        return [Said(*each) for each in said]

    def keep(self, rows: Sequence[int]) -> None:
        """Drop the other sequences."""
        assert self.states_BZ is not None, "something has been read"
        self.states_BZ = self.states_BZ[list(rows)]


def in_rows(unread: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each row's token, sequence, and place of its logits, or -1 but for a sequence's last row.

    First come the first tokens of all sequences, then the second ones: so neighbours share the fetched weights.
    """
    length_B = np.array([len(ids) for ids in unread])
    slot_R = np.repeat(np.arange(len(unread)), length_B)
    time_R = np.arange(len(slot_R)) - np.repeat(np.cumsum(length_B) - length_B, length_B)
    id_R = np.array([token for ids in unread for token in ids], np.int64)
    order_R = np.lexsort((slot_R, time_R))
    last_R = np.where(time_R == length_B[slot_R] - 1, slot_R, -1)
    return id_R[order_R], slot_R[order_R], last_R[order_R]


def open_reader(model: Model, backend: str = "auto") -> Reader:
    """Make a reader. Raises ValueError for an unknown backend, and for one that does not support the model."""
    check_backend(backend)
    if backend == "cuda":
        return _open_on_gpu(model)
    if backend == "auto" and next(iter(model.state_dict().values())).is_cuda:
        return _open_on_gpu_or_eager(model)
    if backend == "cpu" or (backend == "auto" and is_compiled(model)):
        return Compiled(model)
    return Eager(model)


def _open_on_gpu(model: Model) -> Reader:
    gpu_packing.check_supported(model)
    gpu_packing.device()
    from tallystick.engine.gpu import OnGPU  # a late import, since it imports Triton

    reader = OnGPU(model)
    reader.check(Eager(model))
    return reader


def _open_on_gpu_or_eager(model: Model) -> Reader:
    """Make a reader; where this machine lacks something, say once what it is."""
    try:
        return _open_on_gpu(model)
    except gpu_packing.Unavailable as reason:
        _say(f"{reason}; torch is used")
    except packing.Unsupported:
        pass
    return Eager(model)


@cache
def _say(message: str) -> None:
    print(f"tallystick: {message}", file=sys.stderr)


def check_backend(backend: str) -> None:
    """Raise ValueError for an unknown backend."""
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; there are: {', '.join(BACKENDS)}")


def is_compiled(model: Model) -> bool:
    """Return whether the backend cpu supports a model; without numba, say once what that costs."""
    try:
        packing.check_support(model)
    except packing.Unsupported:
        return False
    return _has_numba()


@cache
def _has_numba() -> bool:
    if find_spec("numba") is None:
        advice = "to decode some twenty times as fast on a CPU: pip install 'tallystick[cpu]'"
        print(f"tallystick: numba is not installed; {advice}", file=sys.stderr)
        return False
    try:
        packing.compiled_step()
    except packing.Unsupported:
        return False
    return True

"""Forward passes of verification: a model reads the next tokens of all sequences, with compiled loops or with torch.

Glossary: B sequences with tokens, L length of a chunk, R = B L rows, T model tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from tallystick.data.packing import Batch
from tallystick.engine.margins import margin
from tallystick.engine.reader import Compiled, is_compiled
from tallystick.evaluation.scoring import Chunk, Later
from tallystick.models.base import Model, select


class Forward(Protocol):
    """A model that reads the sequences of batches, and keeps their states from batch to batch."""

    def read(self, batch: Batch) -> dict[int, Chunk]:
        """Read a batch; return a chunk for each sequence that has tokens, by its number."""
        ...


def open_forward(model: Model, device: torch.device, carry: bool, sequences: int) -> Forward:
    """Make the forward pass of a model; carry: states are not zeroed where an episode begins."""
    if device.type == "cpu" and is_compiled(model):
        return _Compiled(model, carry, sequences)
    return _Torch(model, device, carry, sequences)


class _Compiled:
    """The compiled step, which `generate` uses, too: so both have the same logits bit for bit."""

    def __init__(self, model: Model, carry: bool, sequences: int):
        self._reader, self._carry, self._sequences = Compiled(model), carry, sequences

    def read(self, batch: Batch) -> dict[int, Chunk]:
        live_B = np.flatnonzero(batch.lengths)
        ids_BL, predicted_BL, reset_BL = batch.ids[live_B, :-1], batch.trained[live_B], batch.reset[live_B]
        if self._carry:
            reset_BL = np.zeros_like(reset_BL)
        place_BL = np.where(predicted_BL, np.cumsum(predicted_BL).reshape(predicted_BL.shape) - 1, -1)
        slot_BL = np.broadcast_to(live_B[:, None], ids_BL.shape)
        # first the first tokens of all sequences, then the second ones: so neighbours share the fetched weights
        rows = (np.ravel(each.T) for each in (ids_BL.astype(np.int64), slot_BL, reset_BL, place_BL))
        logits_TV = self._reader.read_rows(self._sequences, *rows)
        margin_T = self._reader.margins(logits_TV, batch.ids[live_B, 1:][predicted_BL].astype(np.int64))
        ends_B = np.cumsum(predicted_BL.sum(1))[:-1]
        logits, margins = np.split(logits_TV[:, : self._reader.packed.vocab_size], ends_B), np.split(margin_T, ends_B)
        made = (map(torch.from_numpy, each) for each in (logits, margins))
        return {int(n): _chunk(batch, int(n), *of) for n, *of in zip(live_B, *made, strict=True)}


class _Torch:
    """The model as torch runs it."""

    def __init__(self, model: Model, device: torch.device, carry: bool, sequences: int):
        self._model, self._device, self._carry = model, device, carry
        self._state, self._live = model.init_state(sequences), np.arange(sequences)

    @torch.no_grad()
    def read(self, batch: Batch) -> dict[int, Chunk]:
        live = np.flatnonzero(batch.lengths)
        self._keep(live)
        ids_BL = self._to_device(batch.ids[live, :-1].astype(np.int64))
        resets = batch.reset.any() and not self._carry
        reset_BL = self._to_device(batch.reset[live]) if resets else None
        logits_BLV, self._state = self._model(ids_BL, self._state, reset_BL=reset_BL)
        predicted = (self._to_device(np.flatnonzero(batch.trained[n])) for n in live)
        logits = (logits_LV[at] for logits_LV, at in zip(logits_BLV, predicted, strict=True))
        return {int(n): self._chunk(batch, int(n), logits_TV) for n, logits_TV in zip(live, logits, strict=True)}

    def _chunk(self, batch: Batch, number: int, logits_TV: torch.Tensor) -> Chunk:
        targets = batch.ids[number, 1:][batch.trained[number]].astype(np.int64)
        return _chunk(batch, number, logits_TV, margin(logits_TV, self._to_device(targets)))

    def _keep(self, live: np.ndarray) -> None:
        """Drop the state of sequences that have ended."""
        if len(live) < len(self._live):
            self._state = select(self._state, self._to_device(np.flatnonzero(np.isin(self._live, live))))
            self._live = live

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        return _to_device(array, self._device)


def _chunk(batch: Batch, number: int, logits_TV: torch.Tensor, margin_T: torch.Tensor) -> Chunk:
    """Return a sequence's chunk of a batch."""
    predicted_at = np.flatnonzero(batch.trained[number])
    return Chunk(batch.ids[number], batch.reset[number], predicted_at, logits_TV, Later(margin_T))


def _to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return an array as a tensor."""
    return torch.from_numpy(array).to(device, non_blocking=True)

"""The reader on a GPU, on which the Triton kernel runs a model.

Glossary: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tallystick.engine import gpu_fields as at
from tallystick.engine import gpu_packing
from tallystick.engine.interface import Reader, Said
from tallystick.engine.slots import Slots
from tallystick.models.base import Model, State
from tallystick.tools import arrays

TOLERANCE = 1e-4
"""Maximum difference of logits from torch's in the check at first use, relative to the largest logit."""
CHECKED: set[tuple[tuple[str, int], ...]] = set()
"""Sizes of the models that have been compared with torch."""


class OnGPU:
    """A model run by a Triton kernel, on packed weights. Raises Unsupported."""

    backend = "cuda"

    def __init__(self, model: Model):
        gpu_packing.check_supported(model)
        self.model, self.packed = model, gpu_packing.pack(model, gpu_packing.device())
        self._slots: Slots | None = None
        self._rows: list[int] = []
        self._plain_V: np.ndarray | None = None

    def check(self, eager: Reader) -> None:
        """Compare the first model of each size with torch. Raises Unavailable if their logits differ."""
        sizes, vocab = tuple(self.packed.sizes.items()), self.packed.config.vocab_size
        if sizes in CHECKED:
            return
        unread = [[(7 * i + j) % vocab for i in range(length)] for j, length in enumerate((8, 5))]
        for got, want in zip(self.read(unread), eager.read(unread), strict=True):
            limit = TOLERANCE * np.abs(want.logits_V).max()
            difference = np.abs(got.logits_V - want.logits_V).max()
            if difference > limit:
                raise gpu_packing.Unavailable(
                    f"the backend cuda differs from torch by {difference:.2g} in a logit on this GPU, which is more "
                    f"than {limit:.2g}; use --backend eager"
                )
        self._slots = None
        CHECKED.add(sizes)

    @property
    def state(self) -> State | None:
        """The state; None before the first token."""
        if self._slots is None:
            return None
        count_S = torch.from_numpy(self._slots.fields[self._rows, at.COUNT])
        return self.packed.unpack_state(self._slots.states_SZ[self._rows], count_S.to(self.packed.weights.device))

    def resume(self, state: State) -> None:
        """Go on from a state."""
        states_SZ = self.packed.pack_state(state)
        self._open(len(states_SZ)).states_SZ[:] = states_SZ

    def read(self, unread: Sequence[Sequence[int]]) -> list[Said]:
        """Read the new tokens, those of all sequences together."""
        return [said for _, said in self._read(unread, np.zeros(self.packed.config.vocab_size, np.bool_), 0)]

    def read_on(self, unread: Sequence[int], plain_V: np.ndarray, most: int) -> tuple[list[int], Said]:
        """Read the new tokens, and what the model says, as long as that is plain."""
        return self._read([unread], plain_V, most)[0]

    def _read(self, unread: Sequence[Sequence[int]], plain_V: np.ndarray, most: int) -> list[tuple[list[int], Said]]:
        slots = self._slots or self._open(len(unread))
        if self._plain_V is None or not np.array_equal(plain_V, self._plain_V):
            self._plain_V = plain_V
            slots.teach(hosted(plain_V)[None])
        slots.fields[self._rows, at.POSITION], slots.fields[self._rows, at.LIMIT] = 0, most + 1
        slots.feed(list(zip(self._rows, unread, strict=True)))
        said, live = {row: list[int]() for row in self._rows}, self._rows
        while live:
            slots.run(live)
            for row, (ids, _) in zip(live, slots.recorded(live), strict=True):
                said[row] += ids.tolist()
            live = [row for row in live if slots.fields[row, at.STOP] == at.RUNNING]
        return [(said[row], self._said(slots, row)) for row in self._rows]

    def _open(self, count: int) -> Slots:
        self._slots, self._rows, self._plain_V = Slots(self.model, self.packed, count), [*range(count)], None
        self._slots.start(self._rows, [None] * count, [np.zeros(0, np.int32)] * count)
        self._slots.fields[:, at.HOSTED] = True
        return self._slots

    def _said(self, slots: Slots, row: int) -> Said:
        logits_V = slots.logits_SV[row, : self.packed.config.vocab_size].cpu().numpy()
        silent = bool(slots.fields[row, at.STOP] == at.UNSEEN)
        return Said(int(slots.fields[row, at.SAID]), float(slots.measures[row, at.SAID_MARGIN]), silent, logits_V)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop the other sequences."""
        self._rows = [self._rows[row] for row in rows]


def hosted(plain_V: np.ndarray) -> np.ndarray:
    """Return what tokens do where the host runs all tools, [V, 3]: it sees each one that is not plain."""
    table_V3 = np.zeros((len(plain_V), 3), np.int32)
    table_V3[:, 0] = np.where(plain_V, arrays.SAY, at.HOST)
    return table_V3

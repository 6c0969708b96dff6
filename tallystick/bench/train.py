"""The speed of a training step: forward, backward, clipping and AdamW, on packed rows with resets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from tallystick import tasks
from tallystick.bench import counts, machine, peers
from tallystick.bench.row import Row, Work
from tallystick.config import configure
from tallystick.data.packing import Batch
from tallystick.training.trainer import Trainer

EPISODE = 150
"""Mean tokens between the resets of a packed row."""
REPEATS = 5
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TASK = "addition"
"""A task whose vocabulary the models have; its problems are not used."""


@dataclass(frozen=True)
class Case:
    """A training step of one size."""

    model: str
    batch_size: int
    seq_len: int
    precision: str = "fp32"
    steps: int = 1
    """Steps of one repeat; a peer makes one."""

    @property
    def name(self) -> str:
        """What is measured."""
        return f"train {self.model}, {self.batch_size} x {self.seq_len:,}, {self.precision}"


CASES = {
    "cpu": (Case("mamba2:tiny", 8, 1024), Case("mamba1:tiny", 8, 1024)),
    "cuda": (
        Case("mamba2:small", 256, 1024, steps=10),
        Case("mamba2:paper", 8, 2048, "bf16", steps=5),
        Case("mamba1:paper", 8, 2048, "bf16", steps=5),
    ),
    "quick": (Case("mamba2:tiny", 2, 64),),
}


def measure(case: Case, device: str) -> Row:
    """Measure a case, and its peers in turn.

    Raises ParityError if a peer with the same weights computes other logits.
    """
    torch.manual_seed(0)
    sizes = {"batch_size": case.batch_size, "seq_len": case.seq_len, "device": device, "precision": case.precision}
    overrides = {name: str(value) for name, value in sizes.items()}
    trainer = Trainer(Path("unused"), configure(tasks.load(TASK), case.model, overrides, seed=0), lambda row: None)
    batch = _batch(case, len(trainer.task.vocab))
    ids_BL = torch.from_numpy(batch.ids).long().to(device)
    others, missing = peers.like(trainer.model)
    for name, other in others.items():
        peers.check_parity(name, trainer.model, other, ids_BL[:2, :128])
    plain = [_Plain(name, other, ids_BL, case.precision) for name, other in others.items()]
    ours = lambda: [trainer.update(batch) for _ in range(case.steps)]  # noqa: E731
    ours()  # its memory is taken before the peers' is
    for peer in plain:
        peer.shrink_to_fit()
    seconds, peak = _in_turn({"": ours} | {peer.name: peer.step for peer in plain}, device)
    tokens = case.batch_size * case.seq_len
    dtype = TYPES[case.precision]
    work = Work(
        flops=counts.training_flops(trainer.model),
        bytes=counts.training_bytes(trainer.model, tokens, dtype.itemsize),
        limits=machine.limits(device, dtype, counts.OPTIMIZER * counts.weight_bytes(trainer.model)),
    )
    row = Row(name=case.name, tokens=case.steps * tokens, seconds=seconds.pop(""), peak_bytes=peak, work=work)
    return row.beside({peer.name: peer.tokens / float(np.median(seconds[peer.name])) for peer in plain} | missing)


def _in_turn(steps: Mapping[str, Callable[[], object]], device: str) -> tuple[dict[str, list[float]], int | None]:
    """Time the contestants in turn, after a warm-up, so that all meet the same machine; and our own memory."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    peak = None
    for repeat in range(REPEATS + 1):
        for name, step in steps.items():
            machine.forget_peak(device)
            took = machine.timed(step, device)
            if repeat:
                seconds[name].append(took)
            if not name:
                peak = machine.peak(device)
    return seconds, peak


def _batch(case: Case, vocab_size: int) -> Batch:
    rng = np.random.default_rng(0)
    shape = case.batch_size, case.seq_len
    return Batch(
        ids=rng.integers(vocab_size, size=(case.batch_size, case.seq_len + 1)).astype(np.uint16),
        trained=np.ones(shape, bool),
        reset=rng.random(shape) < 1 / EPISODE,
        lengths=np.full(case.batch_size, case.seq_len),
    )


class _Plain:
    """A training step as a user of another library writes it; rows have no resets there."""

    def __init__(self, name: str, model: torch.nn.Module, ids_BL: torch.Tensor, precision: str):
        self.name, self._model, self._ids_BL, self._precision = name, model, ids_BL, precision
        self._optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        return self._ids_BL[:, 1:].numel()

    def shrink_to_fit(self) -> None:
        """Halve the batch until a step fits into the GPU's memory; the name says so. Raises what one row raises."""
        while True:
            try:
                return self.step()
            except torch.OutOfMemoryError:
                if len(self._ids_BL) == 1:
                    raise
            self._optimizer.zero_grad()
            torch.cuda.empty_cache()
            self._ids_BL = self._ids_BL[: len(self._ids_BL) // 2]
            self.name = f"{self.name.split(',')[0]}, which fits a batch of {len(self._ids_BL)},"

    def step(self) -> None:
        """Train one step."""
        with torch.autocast(self._ids_BL.device.type, torch.bfloat16, enabled=self._precision == "bf16"):
            logits_BLV = self._model(self._ids_BL[:, :-1], use_cache=False).logits
        loss = F.cross_entropy(logits_BLV.float().flatten(0, 1), self._ids_BL[:, 1:].flatten())
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()

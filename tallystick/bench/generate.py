"""The speed of free running: tokens decoded one by one, each call answered by a live pointer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from tallystick import tasks
from tallystick.bench import counts, machine, peers
from tallystick.bench.fitted import fitted
from tallystick.bench.peers import ParityError
from tallystick.bench.row import Row, Work
from tallystick.engine import generation
from tallystick.engine.compared import Compared
from tallystick.engine.reader import open_reader
from tallystick.models.base import Model
from tallystick.tasks import Task
from tallystick.tools import Live

TASK = "reverse"
REPEATS = 3
PEER_TOKENS = 200
"""Tokens that a peer generates, without tools."""


@dataclass(frozen=True)
class Case:
    """Sessions decoded side by side. A figure is the difference of long and short episodes, without what both cost."""

    model: str
    sessions: int
    short: int
    long: int
    backend: str

    @property
    def name(self) -> str:
        """What is measured."""
        return f"generate {self.model}, {self.sessions:,} session{'s' * (self.sessions > 1)}, backend {self.backend}"


CASES = {
    "cpu": (
        Case("mamba2:tiny", 1, 500, 5500, "cpu"), Case("mamba2:tiny", 64, 50, 550, "cpu"),
        Case("mamba1:small", 1, 500, 5500, "cpu"), Case("lstm:small", 1, 500, 5500, "cpu"),
        Case("gru:small", 1, 500, 5500, "cpu"),
    ),
    "cuda": (
        Case("mamba2:tiny", 1, 500, 20_500, "cuda"), Case("mamba2:tiny", 64, 500, 5500, "cuda"),
        Case("mamba2:tiny", 4096, 200, 1200, "cuda"),
    ),
    "quick": (Case("mamba2:tiny", 2, 5, 20, "eager"),),
}  # fmt: skip


def measure(case: Case, device: str) -> Row:
    """Measure a case and, for one session, eager decoding and the peers.

    Raises ParityError if a backend says another token than the program, which the model follows.
    """
    task = tasks.load(TASK)
    model = fitted(case.model, task).to(device)
    seconds, tokens, said, peak = _difference(model, task, case, case.backend, device)
    work = Work(
        flops=counts.forward_flops(model),
        bytes=counts.decoding_bytes(model, case.sessions) * said / tokens,  # what is not said is read beside it
        limits=machine.limits(device, torch.float32, counts.weight_bytes(model) + counts.state_bytes(model)),
    )
    row = Row(name=case.name, tokens=tokens, seconds=seconds, peak_bytes=peak, work=work)
    return row.beside(_peers(model, task, device)) if case.sessions == 1 else row


def _difference(
    model: Model, task: Task, case: Case, backend: str, device: str
) -> tuple[list[float], int, int, int | None]:
    """Measure by how much the long episodes exceed the short ones.

    Returns seconds, tokens, those of them that the model says, and the memory of the long episodes.
    """
    seconds, tokens, said, peak = [], 0, 0, None
    for repeat in range(REPEATS + 1):
        few, few_said, short = _once(model, task, case.sessions, case.short, backend, device)
        machine.forget_peak(device)
        many, many_said, long = _once(model, task, case.sessions, case.long, backend, device)
        peak, tokens, said = machine.peak(device), many - few, many_said - few_said
        seconds += [long - short] if repeat else []
    return seconds, tokens, said, peak


def _once(model: Model, task: Task, sessions: int, length: int, backend: str, device: str) -> tuple[int, int, float]:
    """Return the tokens, those said by the model, and the seconds since the programs were recorded."""
    prompts = [task.problem("bench", 0, length, index) for index in range(sessions)]
    episodes = [Compared(task, index, prompt, None, None, Live()) for index, prompt in enumerate(prompts)]
    reader, found = open_reader(model, backend), []
    took = machine.timed(lambda: found.extend(generation.run(reader, task, iter(episodes), low=0.0)), device)
    if not all(result.exact and result.stop == "eos" for result in found):
        raise ParityError(f"the backend {backend} says other tokens than the program; no speed is printed")
    return sum(result.tokens for result in found), sum(result.model_tokens for result in found), took


def _peers(model: Model, task: Task, device: str) -> dict[str, float | str]:
    """Measure our eager loop on short episodes, and the peers' own generation."""
    short = Case("", 1, 20, 60, "eager")
    seconds, tokens, _, _ = _difference(model, task, short, "eager", device)
    others, missing = peers.like(model)
    ids_BL = torch.tensor([task.vocab.encode(task.problem("bench", 0, 20, 0))], device=device)
    rates: dict[str, float | str] = {"eager": tokens / sorted(seconds)[len(seconds) // 2]}
    for name, other in others.items():
        peers.check_parity(name, model, other, ids_BL)
        _generate(other, ids_BL)
        rates[name] = PEER_TOKENS / machine.timed(partial(_generate, other, ids_BL), device)
    return rates | missing


def _generate(other: Any, ids_BL: torch.Tensor) -> None:
    other.eval().generate(ids_BL, max_new_tokens=PEER_TOKENS, min_new_tokens=PEER_TOKENS, do_sample=False)

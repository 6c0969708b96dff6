"""The speed of verification: one scan over a long episode, its program beside it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tallystick import tasks
from tallystick.bench import counts, machine
from tallystick.bench.fitted import fitted
from tallystick.bench.peers import ParityError
from tallystick.bench.row import Row, Work
from tallystick.evaluation.verify import verify
from tallystick.models.base import Model
from tallystick.tasks import Task

TASK = "reverse"
REPEATS = 3


@dataclass(frozen=True)
class Case:
    """Episodes of one length. The figure is the difference of many and few, without what both cost."""

    model: str
    length: int
    many: int = 1
    few: int = 0

    @property
    def name(self) -> str:
        """What is measured."""
        return f"verify {self.model}, {self.many} x {TASK} of {self.length:,}"


CASES = {
    "cpu": (Case("mamba2:tiny", 100_000),),
    "cuda": (Case("mamba2:tiny", 1_000_000), Case("mamba2:tiny", 100_000, 192, 64)),
    "quick": (Case("mamba2:tiny", 500),),
}


def measure(case: Case, device: str) -> Row:
    """Measure a case. Raises ParityError if the model, which solves the task, is found to be wrong."""
    task = tasks.load(TASK)
    model = fitted(case.model, task).to(device)
    prompts = [task.problem("bench", 0, case.length, index) for index in range(case.many)]
    seconds, tokens = [], 0
    for repeat in range(REPEATS + 1):
        few, short = _once(model, task, prompts[: case.few], device)
        machine.forget_peak(device)
        many, long = _once(model, task, prompts, device)
        tokens = many - few
        seconds += [long - short] if repeat else []
    chunk = (model.verify_chunk_gpu if device == "cuda" else model.verify_chunk) * model.verify_batch_size
    work = Work(
        flops=counts.forward_flops(model),
        bytes=counts.forward_bytes(model, chunk, 4),
        limits=machine.limits(device, torch.float32, counts.weight_bytes(model)),
    )
    return Row(name=case.name, tokens=tokens, seconds=seconds, peak_bytes=machine.peak(device), work=work)


def _once(model: Model, task: Task, prompts: list[list[str]], device: str) -> tuple[int, float]:
    """Return the tokens and the seconds."""
    found = []
    took = machine.timed(lambda: found.extend(verify(model, task, prompts)), device)
    if not all(result.exact for result in found):
        raise ParityError("wrong tokens where there are none; no speed is printed")
    return sum(result.tokens for result in found), took

"""The speed at which trajectories are made, with all checks, on one core."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tallystick import tasks
from tallystick.bench import machine
from tallystick.bench.peers import ParityError
from tallystick.bench.row import Row
from tallystick.locality import programs
from tallystick.tasks import Task, runner

REPEATS = 3


@dataclass(frozen=True)
class Case:
    """Problems of one task; machine: whether its program runs as compiled arrays, or as Python."""

    task: str
    length: int
    problems: int
    machine: bool = True

    @property
    def name(self) -> str:
        """What is measured."""
        how = "" if self.machine else ", in Python"
        return f"data {self.task}, {self.problems:,} problems of {self.length:,}{how}"


CASES = {
    "cpu": (
        Case("addition", 10_000, 20), Case("addition", 10_000, 3, machine=False),
        Case("hanoi-recursive", 14, 5), Case("turing:bb5", 50_000, 20),
        Case("codefix", 16, 100, machine=False),
    ),
    "quick": (Case("addition", 50, 2), Case("codefix", 4, 2, machine=False)),
}  # fmt: skip
CASES["cuda"] = CASES["cpu"]


class _Count:
    """A sink that counts tokens."""

    def __init__(self) -> None:
        self.tokens = 0

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Count a block."""
        self.tokens += len(ids)

    def close(self, ok: bool) -> None:
        """Refuse a program whose answer is wrong."""
        if not ok:
            raise ParityError("a program's answer is wrong; no speed is printed")


def measure(case: Case, device: str) -> Row:
    """Measure a case; the device does not matter."""
    task = _load(case.task)
    prompts = [task.problem("bench", 0, case.length, i) for i in range(case.problems)]
    run = programs.run if case.machine else runner.run
    run(task, prompts[0], _Count())  # loads what is loaded once, and compiles
    seconds, sink = [], _Count()
    for _ in range(REPEATS):
        sink = _Count()
        machine.forget_peak("cpu")
        seconds.append(machine.timed(lambda sink=sink: [run(task, prompt, sink) for prompt in prompts], "cpu"))
    per_second = case.problems / float(np.median(seconds))
    note = f"{per_second:,.0f} trajectories a second"
    return Row(name=case.name, tokens=sink.tokens, seconds=seconds, peak_bytes=machine.peak("cpu"), note=note)


def _load(name: str) -> Task:
    """Load a task, and read what it reads once."""
    task = tasks.load(name)
    assert task.vocab
    return task

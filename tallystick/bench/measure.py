"""Measure the cases of a kind, each in turn in a process of its own, and keep the results."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import import_module

import torch

from tallystick.bench.row import Row
from tallystick.launch.jobs import Job
from tallystick.launch.local import LocalLauncher, gpus
from tallystick.provenance import environment

QUICK = "quick"


@dataclass
class Measured:
    """What was measured of one kind."""

    kind: str
    device: str
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Cases without a row, each with the reason in one line."""


def measure(kind: str, device: str, *, quick: bool, say: Callable[[str], None]) -> Measured:
    """Measure all cases of a kind. A case whose parity check fails, or that runs out of memory, has no row."""
    measured = Measured(kind, device)
    cases = _cases(kind, QUICK if quick else device)
    jobs = [Job(case.name, _one, (kind, QUICK if quick else device, number, device)) for number, case in cases]
    launcher = LocalLauncher(1, gpus(device))
    for outcome in launcher.run(jobs, lambda job, line: say(f"{job.name}: {line}")):
        if outcome.error is None:
            measured.rows.append(outcome.value)
        else:
            measured.failures.append(f"{outcome.job.name}: {outcome.error}")
        say(f"{outcome.job.name}: {outcome.error or f'{outcome.value.rate:,.0f} tokens a second'}")
    return measured


def _cases(kind: str, size: str) -> list:
    return list(enumerate(import_module(f"tallystick.bench.{kind}").CASES[size]))


def _one(kind: str, size: str, number: int, device: str, say: Callable[[str], None]) -> Row:
    """Measure one case, on one thread of a CPU."""
    torch.set_num_threads(1)
    module = import_module(f"tallystick.bench.{kind}")
    return module.measure(module.CASES[size][number], device)


def document(measured: Measured) -> dict:
    """Return the results with where and when they were measured."""
    return {"environment": environment() | {"date": time.strftime("%Y-%m-%d")}, **asdict(measured)}

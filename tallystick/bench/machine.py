"""Limits of a machine, measured: operations and bytes per second, and the memory that a process uses."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

SIDE = {"cpu": 1024, "cuda": 8192}
"""Side of the square matrices that are multiplied."""
LARGE = 1 << 29
"""Bytes read and written on a GPU, more than its cache holds."""
LEAST = 1 << 16
"""Bytes below which the time of a call would count."""
PATIENCE = 0.2
"""Seconds for which an operation is repeated."""


@dataclass(frozen=True)
class Limits:
    """Operations and bytes per second of one device; on a CPU, of one thread."""

    flops: float
    bandwidth: float


def limits(device: str, dtype: torch.dtype, working_set: int) -> Limits:
    """Measure how fast torch multiplies matrices, and how fast it reads memory.

    working_set: bytes that a token needs; those that fit into a CPU's caches are read as fast as the caches allow.
    """
    return Limits(_flops(device, dtype), _bandwidth(device, max(working_set, LEAST)))


def _flops(device: str, dtype: torch.dtype) -> float:
    side = SIDE[device]
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(one)
    return 2 * side**3 * calls_per_second(lambda: torch.mm(one, other, out=out), device)


def _bandwidth(device: str, working_set: int) -> float:
    if device == "cpu":
        values = torch.ones(working_set // 4)
        return values.nbytes * calls_per_second(values.sum, device)
    source = torch.ones(LARGE // 4, device=device)
    target = torch.empty_like(source)
    return 2 * LARGE * calls_per_second(lambda: target.copy_(source), device)


def calls_per_second(call: Callable[[], object], device: str) -> float:
    """Repeat a call for a while, after a first one, and return how often it is done in a second."""
    count, seconds = 1, timed(call, device)
    while seconds < PATIENCE:
        count = max(2 * count, int(1.2 * PATIENCE / max(seconds, 1e-9) * count))
        seconds = timed(lambda n=count: [call() for _ in range(n)], device)
    return count / seconds


def timed(call: Callable[[], object], device: str) -> float:
    """Return the wall-clock seconds of a call, until the device has finished its work."""
    _synchronise(device)
    began = time.perf_counter()
    call()
    _synchronise(device)
    return time.perf_counter() - began


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def forget_peak(device: str) -> None:
    """Begin to watch the largest memory in use anew."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def peak(device: str) -> int | None:
    """Return the largest memory in use since `forget_peak`, in bytes; None if the system does not tell."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * int(found[1]) if found else None

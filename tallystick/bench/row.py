"""A measured speed, what it moves and computes, and what the machine allows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tallystick.bench.machine import Limits


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a token costs at least, counted from the model's shape (`counts`)."""

    flops: float
    """Floating-point operations per token."""
    bytes: float
    """Bytes per token that have to be read or written."""
    limits: Limits
    """What the machine was measured to do in the same process."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A measured speed."""

    name: str
    """What was measured, with its sizes."""
    tokens: int
    """Tokens of one repeat."""
    seconds: list[float]
    """Wall-clock seconds of each repeat."""
    peak_bytes: int | None = None
    """Largest memory in use: the GPU's allocated tensors, or the process's resident memory; None if not known."""
    work: Work | None = None
    """None where nothing is computed that a limit is known for."""
    peers: Mapping[str, float | str] = field(default_factory=dict)
    """Tokens per second of other implementations, measured in turn with ours; or why there is none."""
    note: str = ""
    """Anything else that was measured."""

    def beside(self, peers: Mapping[str, float | str]) -> Row:
        """Return the row with its peers."""
        return replace(self, peers=peers)

    @property
    def rate(self) -> float:
        """Tokens per second, by the median repeat."""
        return self.tokens / statistics.median(self.seconds)

    @property
    def fraction(self) -> float | None:
        """Share of the speed that the measured limits allow: the slower of computing and moving bytes."""
        if self.work is None:
            return None
        limits = self.work.limits
        return self.rate * max(self.work.flops / limits.flops, self.work.bytes / limits.bandwidth)

"""Estimate the memory that training takes, to refuse a run that would not fit before it begins."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import torch

from tallystick import models
from tallystick.config import RunConfig, Settings
from tallystick.models.base import Model
from tallystick.training.precision import autocast

COPIES = 4
"""Number of values kept for each weight: itself, its gradient and AdamW's two moments."""
FLOAT = 4
"""Bytes of a value."""
PROBE = 16
"""Number of tokens of the shorter measured pass."""
WORKER_BYTES = 40 * 2**20
"""Memory of an idle data worker, in bytes."""
CGROUP = Path("/sys/fs/cgroup/memory.max")
"""File in which Linux states a container's memory limit."""


def check_weights(config: RunConfig, vocab_size: int) -> None:
    """Check that weights and optimizer fit into memory, without allocating them. Raises ValueError if not."""
    resolved = models.resolve(config.model, config.model_settings, vocab_size=vocab_size)
    _check(COPIES * FLOAT * models.count_parameters(*resolved), config.settings.device)


def check_training(model: Model, settings: Settings) -> None:
    """Check that a batch fits into memory, extrapolating from short passes. Raises ValueError if not."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return
    with autocast(settings):
        short, long = _kept_bytes(model, PROBE), _kept_bytes(model, 2 * PROBE)
    sequence = short + (long - short) * (settings.seq_len - PROBE) / PROBE
    weights = COPIES * sum(parameter.nbytes for parameter in model.parameters())
    _check(weights + settings.batch_size * sequence, settings.device)
    _check(settings.workers * WORKER_BYTES, "cpu")


def _kept_bytes(model: Model, length: int) -> int:
    """Return the bytes that a pass over one sequence of this length keeps for its gradient, including logits."""
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.nbytes
        # the tensor itself would form a reference cycle with its graph, and break a later CUDA graph
        return tensor.detach()

    device = next(model.parameters()).device
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits_BLV, _ = model(torch.zeros(1, length, dtype=torch.long, device=device))
    return logits_BLV.nbytes + sum(size for address, size in kept.items() if address not in weights)


def _check(needed: float, device: str) -> None:
    there = machine_bytes(device)
    if needed > there:
        raise ValueError(
            f"this training would take at least {needed / 1e9:,.1f} GB of memory, and device={device} has "
            f"{there / 1e9:,.1f} GB; choose a smaller batch_size, seq_len or model"
        )


def machine_bytes(device: str) -> int:
    """Return the maximum memory of a process on this device, in bytes."""
    if device == "cuda":
        return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    if (soft := resource.getrlimit(resource.RLIMIT_AS)[0]) != resource.RLIM_INFINITY:
        limits.append(soft)
    if CGROUP.exists() and (text := CGROUP.read_text(encoding="ascii").strip()).isdigit():
        limits.append(int(text))
    return min(limits)

"""The choice between the Triton kernels and plain PyTorch.

The kernels are taken on a GPU that they support, for sizes that they support, once a small comparison with the
reference has passed. Otherwise plain PyTorch computes the same, more slowly. TALLYSTICK_KERNELS=torch always chooses
the latter, =triton refuses to do without the kernels, and =auto is the default.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import cache
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

CHOICES = ("auto", "triton", "torch")
LEAST_CAPABILITY = (8, 0)
"""The oldest GPUs with matrix products in bfloat16."""


def load(name: str, like: Tensor) -> ModuleType | None:
    """Return the Triton kernels `tallystick.kernels.NAME` if they can be used for this tensor, else None.

    Raises ValueError if they cannot, and TALLYSTICK_KERNELS=triton asks for them.
    """
    choice = os.environ.get("TALLYSTICK_KERNELS", "auto")
    if choice not in CHOICES:
        raise ValueError(f"TALLYSTICK_KERNELS must be auto, triton or torch, got {choice!r}")
    if choice == "torch" or not is_on_gpu(like) or like.dtype not in (torch.float32, torch.bfloat16):
        return None
    problem = _problem(name)
    if problem and choice == "triton":
        raise ValueError(f"TALLYSTICK_KERNELS=triton, but {problem}; choose auto or torch")
    if problem:
        _say(problem)
        return None
    return importlib.import_module(f"tallystick.kernels.{name}")


def is_on_gpu(tensor: Tensor) -> bool:
    """Return whether a tensor is on a GPU; a test replaces this, to run the kernels in Triton's interpreter."""
    return tensor.is_cuda


@cache
def _problem(name: str) -> str:
    """Return why kernels cannot be used, or ""; the first call compares them with the reference."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    if torch.cuda.is_available() and torch.cuda.get_device_capability() < LEAST_CAPABILITY:
        return f"{torch.cuda.get_device_name()} is too old for the Triton kernels"
    checks = importlib.import_module("tallystick.kernels.selfcheck")
    return checks.difference(name)


@cache
def _say(problem: str) -> None:
    print(f"tallystick: {problem}; continuing in plain PyTorch, which is slower.", file=sys.stderr)


def compute_dtype(like: Tensor) -> torch.dtype:
    """Return the dtype of what lies between matrix products: autocast's, if it is on for the tensor's device."""
    device = like.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else like.dtype

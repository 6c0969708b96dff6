"""Keep what carries a state in single precision, whatever the precision of the matrix products around it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def in_fp32(kernel: Kernel) -> Kernel:
    """Let a kernel compute in fp32 where autocast is on: its bf16 tensors are converted, and nothing inside is cast.

    kernel: a function of at least one tensor, not given by name. Without autocast, it computes in the precision of its
    arguments.
    """

    @wraps(kernel)
    def run(*arguments: Any, **options: Any) -> Any:
        device = next(a.device.type for a in arguments if isinstance(a, Tensor))
        if not torch.is_autocast_enabled(device):
            return kernel(*arguments, **options)
        with torch.autocast(device, enabled=False):
            return kernel(*map(_widened, arguments), **{name: _widened(a) for name, a in options.items()})

    return run  # type: ignore[return-value]


def _widened(argument: Any) -> Any:
    is_low = isinstance(argument, Tensor) and argument.dtype == torch.bfloat16
    return argument.float() if is_low else argument

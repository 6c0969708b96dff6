"""What the Triton kernels share: the folder of compiled kernels, and a few functions of the kernels themselves.

Importing this module imports Triton.
"""

# CPU builds of torch come without Triton, whose decorator gives functions another calling convention.
# pyright: reportMissingImports=false, reportGeneralTypeIssues=false

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import triton
import triton.language as tl
from torch import Tensor

LOG2_E = tl.constexpr(1.4426950408889634)
INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
"""Whether Triton's interpreter runs the kernels, for tests without a GPU."""


def _ensure_cache() -> tempfile.TemporaryDirectory | None:
    """Give Triton a temporary folder for compiled kernels if its own is not writable, with a warning on stderr."""
    try:
        home = os.environ.get("TRITON_HOME") or Path.home()
        folder = Path(os.environ.get("TRITON_CACHE_DIR") or Path(home, ".triton", "cache"))
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return None
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        print(
            "tallystick: Triton finds no writable folder for its kernels, and compiles anew in every process. "
            "To avoid it, set TRITON_CACHE_DIR to a writable folder.",
            file=sys.stderr,
        )
    temporary = tempfile.TemporaryDirectory(prefix="tallystick-triton-")
    os.environ["TRITON_CACHE_DIR"] = temporary.name
    return temporary


CACHE = _ensure_cache()
"""Temporary folder, which is removed when the process ends; None if Triton uses its own."""


@triton.jit
def softplus(x):
    """Return log(1 + exp(x)); log(1 + u) is log(w) u / (w - 1) with w = 1 + u, since a small u is lost in w."""
    u = tl.exp(-tl.abs(x))
    w = 1.0 + u
    tail = tl.where(w == 1.0, u, tl.log(w) * (u / tl.where(w == 1.0, 1.0, w - 1.0)))
    return tl.maximum(x, 0.0) + tail


@triton.jit
def silu_and_slope(x):
    """Return silu(x) = x sigmoid(x), and its derivative."""
    share = tl.sigmoid(x)
    return x * share, share * (1.0 + x * (1.0 - share))


@triton.jit
def product(a, b, kind: tl.constexpr):
    """Return the matrix product of `a` and `b`, rounded to `kind`, in fp32; exact for fp32."""
    a, b = a.to(kind), b.to(kind)
    if INTERPRETED:  # its product takes bf16 for integers
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, input_precision="tf32x3")


def strided(x_BLX: Tensor) -> tuple[Tensor, int]:
    """Return the tensor, copied unless its tokens are evenly spaced, and the distance between them."""
    rows, length, channels = x_BLX.shape
    stride = x_BLX.stride(1) if length > 1 else x_BLX.stride(0)
    if x_BLX.stride(2) == 1 and (rows == 1 or x_BLX.stride(0) == length * stride):
        return x_BLX, stride
    return x_BLX.contiguous(), channels

"""Mamba's scan against the plain loop: values, final state and gradients."""

import pytest
import torch
from torch.nn import functional as F

from tallystick.kernels import selective_scan as kernel
from tallystick.kernels.reference import selective_scan

BATCH, CHANNELS, STATE = 2, 3, 4


def inputs(length, strength=1.0):
    """Return x, dt, A, B, C and state; every seventh token has dt = 0."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(BATCH, length, CHANNELS)] * 2 + [(CHANNELS, STATE)] + [(BATCH, length, STATE)] * 2
    shapes.append((BATCH, CHANNELS, STATE))
    x, dt, A, B, C, state = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    dt = F.softplus(dt) * strength
    dt[:, 6::7] = 0.0
    return [tensor.requires_grad_() for tensor in (x, dt, -A.exp(), B, C, state)]


def gradients(outputs, tensors):
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(output.shape, dtype=output.dtype, generator=generator) for output in outputs]
    return torch.autograd.grad(sum((o * w).sum() for o, w in zip(outputs, weights, strict=True)), tensors)


@pytest.mark.parametrize("strength", [1.0, 60.0], ids=["", "strong"])
@pytest.mark.parametrize("kind", ["none", "resets"])
@pytest.mark.parametrize("at_once", [10, 1000])
@pytest.mark.parametrize("length", [1, 7, 8, 16, 41])
def test_chunked_equals_the_loop(length, at_once, kind, strength, monkeypatch):
    """at_once: number of tokens processed at once."""
    monkeypatch.setattr(kernel, "CHUNK", 4)
    monkeypatch.setattr(kernel, "MAX_ENTRIES", at_once * BATCH * CHANNELS * STATE)
    tensors, reset_BL = inputs(length, strength), None
    if kind == "resets":
        reset_BL = torch.rand(BATCH, length, generator=torch.Generator().manual_seed(7)) < 0.2
        reset_BL[0, :2] = True  # at the start, and two in a row
    want, got = (form(*tensors, reset_BL) for form in (selective_scan, kernel.selective_scan_chunked))
    for a, b in zip([*got, *gradients(got, tensors)], [*want, *gradients(want, tensors)], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)

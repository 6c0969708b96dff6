"""The gated delta rule by chunks against the plain loop: values, final state and gradients."""

import pytest
import torch
from torch.nn import functional as F

from tallystick.kernels.gated_delta import gated_delta_chunked
from tallystick.kernels.reference import gated_delta_recurrent

BATCH, HEADS, VALUE, KEY = 2, 3, 4, 5


def inputs(length):
    """Return q, k, v, log decay, beta and state; every seventh token leaves the state untouched."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(BATCH, length, HEADS, n) for n in (KEY, KEY, VALUE)] + [(BATCH, length, HEADS)] * 2
    shapes.append((BATCH, HEADS, VALUE, KEY))
    q, k, v, decay, beta, state = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    log_decay, beta = -F.softplus(decay), beta.sigmoid()
    log_decay[:, 6::7], beta[:, 6::7] = 0.0, 0.0
    return [tensor.requires_grad_() for tensor in (q, F.normalize(k, dim=-1), v, log_decay, beta, state)]


def gradients(outputs, tensors):
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(output.shape, dtype=output.dtype, generator=generator) for output in outputs]
    return torch.autograd.grad(sum((o * w).sum() for o, w in zip(outputs, weights, strict=True)), tensors)


@pytest.mark.parametrize("kind", ["none", "resets"])
@pytest.mark.parametrize("length", [1, 2, 7, 16, 41])
def test_chunked_equals_recurrent(length, kind):
    tensors, reset_BL = inputs(length), None
    if kind == "resets":
        reset_BL = torch.rand(BATCH, length, generator=torch.Generator().manual_seed(7)) < 0.2
        reset_BL[0, :2] = True  # at the start, and two in a row
    want, got = gated_delta_recurrent(*tensors, reset_BL), gated_delta_chunked(*tensors, reset_BL, chunk=8)
    for a, b in zip([*got, *gradients(got, tensors)], [*want, *gradients(want, tensors)], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)

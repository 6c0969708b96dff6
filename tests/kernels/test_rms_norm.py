"""RMS norm against autograd: values and gradients."""

import torch
from torch.nn import functional as F

from tallystick.kernels.rms_norm import rms_norm


def test_rms_norm_equals_autograd():
    generator = torch.Generator().manual_seed(0)
    x, weight, dy = (torch.randn(s, generator=generator, dtype=torch.float64) for s in ((2, 7, 10), (10,), (2, 7, 10)))
    inputs = [x.requires_grad_(), weight.requires_grad_()]
    want, got = F.rms_norm(x, (10,), weight, 1e-5), rms_norm(x, weight, 1e-5)
    torch.testing.assert_close(got, want, rtol=0.0, atol=1e-12)
    for a, b in zip(torch.autograd.grad(got, inputs, dy), torch.autograd.grad(want, inputs, dy), strict=True):
        torch.testing.assert_close(a, b, rtol=0.0, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(rms_norm(x, weight, 1e-5), want, rtol=0.0, atol=1e-12)

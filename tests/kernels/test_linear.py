"""The product by oneDNN against torch's own: values and gradients."""

import pytest
import torch
from torch.nn import functional as F

from tallystick.kernels.linear import MIN_ROWS, linear


@pytest.mark.parametrize("rows", [MIN_ROWS // 2 - 1, MIN_ROWS // 2, 100])
@pytest.mark.parametrize(("inputs", "outputs"), [(5, 9), (9, 5)])
def test_linear_equals_autograd(inputs, outputs, rows):
    """The sizes are on both sides of the minimum number of rows for oneDNN, with wide and narrow weights."""
    generator, shapes = torch.Generator().manual_seed(0), ((2, rows, inputs), (outputs, inputs), (2, rows, outputs))
    x, weight, dy = (torch.randn(shape, generator=generator) for shape in shapes)
    arguments = [x.requires_grad_(), weight.requires_grad_()]
    want, got = F.linear(x, weight), linear(x, weight)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    for a, b in zip(torch.autograd.grad(got, arguments, dy), torch.autograd.grad(want, arguments, dy), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=3e-5)

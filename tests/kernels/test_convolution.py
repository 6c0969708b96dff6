"""The convolution, cut at resets in either way, against conv1d of each sequence apart: values and gradients."""

import pytest
import torch
from torch.nn import functional as F

from tallystick.kernels.convolution import conv_silu, conv_silu_masked
from tallystick.models.config import ConvolutionConfig
from tallystick.models.state_space import PackedRows

TOLERANCE = 1e-12
BATCH, CHANNELS, WIDTH = 3, 6, 4


def make_inputs(length):
    """Return padded rows, weights, bias, and the gradient of the result."""
    shapes = (BATCH, length + WIDTH - 1, CHANNELS), (CHANNELS, 1, WIDTH), (CHANNELS,), (BATCH, length, CHANNELS)
    generator = torch.Generator().manual_seed(0)
    x, weight, bias, dy = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return [tensor.requires_grad_() for tensor in (x, weight, bias)], dy


def make_resets(length):
    """Return resets at the start, two in a row, and closer together than the convolution reaches; one row has none."""
    reset_BL = torch.rand(BATCH, length, generator=torch.Generator().manual_seed(3)) < 0.2
    reset_BL[0, :2] = True
    reset_BL[1] = False
    return reset_BL


def apart(padded_BJX, weight_X1K, bias_X, reset_BL):
    """Apply conv1d to each sequence of a row separately, after zeros if a reset begins it."""
    rows = []
    for padded_JX, reset_L in zip(padded_BJX, reset_BL, strict=True):
        starts, parts = [0, *reset_L.nonzero()[:, 0].tolist(), len(reset_L)], []
        for start, end in zip(starts[:-1], starts[1:], strict=True):
            sequence = padded_JX[start : end + WIDTH - 1]
            if start < len(reset_L) and reset_L[start]:
                sequence = F.pad(sequence[WIDTH - 1 :], (0, 0, WIDTH - 1, 0))
            if end > start:
                parts.append(F.silu(F.conv1d(sequence.t(), weight_X1K, bias_X, groups=CHANNELS).t()))
        rows.append(torch.cat(parts))
    return torch.stack(rows)


@pytest.mark.parametrize("way", ["no reset", "cut tokens", "mask"])
@pytest.mark.parametrize("length", [1, 3, 20])
def test_convolution_equals_conv1d(length, way):
    inputs, dy = make_inputs(length)
    reset_BL = torch.zeros(BATCH, length, dtype=torch.bool) if way == "no reset" else make_resets(length)
    rows = PackedRows(reset_BL, reset_BL, None, ConvolutionConfig(vocab_size=1, d_conv=WIDTH))
    got = {
        "no reset": lambda: conv_silu(*inputs),
        "cut tokens": lambda: conv_silu(*inputs, rows._cut_tokens),
        "mask": lambda: conv_silu_masked(*inputs, rows._keep_KBL1),
    }[way]()
    want = apart(*inputs, reset_BL)
    torch.testing.assert_close(got, want, rtol=0.0, atol=TOLERANCE)
    for a, b in zip(torch.autograd.grad(got, inputs, dy), torch.autograd.grad(want, inputs, dy), strict=True):
        torch.testing.assert_close(a, b, rtol=0.0, atol=TOLERANCE)

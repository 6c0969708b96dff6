"""The chunked scan, the norm and the convolution against plain versions: values, final state and gradients."""

import pytest
import torch
from torch.nn import functional as F

from tallystick.kernels import ssd
from tallystick.kernels.fused import Cuts, conv_silu, rms_norm
from tallystick.kernels.linear import linear
from tallystick.kernels.reference import ssd_recurrent
from tallystick.kernels.ssd import ssd_chunked

torch.set_num_threads(1)  # faster for tensors this small

LENGTHS = [1, 2, 63, 100, 257]
BATCH, HEADS, HEAD_DIM, STATE = 2, 3, 4, 5


def scan_inputs(length, dtype, seed=0):
    """x, dt, A, B, C, initial state, D; every seventh token has dt = 0."""
    generator = torch.Generator().manual_seed(seed)
    x, B, C = (
        torch.randn(BATCH, length, *size, generator=generator, dtype=torch.float64)
        for size in ((HEADS, HEAD_DIM), (STATE,), (STATE,))
    )
    dt = F.softplus(torch.randn(BATCH, length, HEADS, generator=generator, dtype=torch.float64))
    dt[:, 6::7] = 0.0
    A = -torch.rand(HEADS, generator=generator, dtype=torch.float64).mul(2).exp()
    state = torch.randn(BATCH, HEADS, HEAD_DIM, STATE, generator=generator, dtype=torch.float64)
    D = torch.randn(HEADS, generator=generator, dtype=torch.float64)
    return [tensor.to(dtype).requires_grad_() for tensor in (x, dt, A, B, C, state, D)]


def output_weights(inputs):
    """The loss is a random weighting of y and of the final state."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(t.shape, dtype=t.dtype, generator=generator) for t in (inputs[0], inputs[5])]


def randn(*shapes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def recurrent(*inputs, reset_BL=None):
    return ssd_recurrent(*inputs[:6], reset_BL, inputs[6])


def chunked(*inputs, reset_BL=None, chunk=32):
    return ssd_chunked(*inputs[:6], reset_BL, inputs[6], chunk)


def resets(kind, length):
    if kind == "none":
        return None
    reset_BL = torch.rand(BATCH, length, generator=torch.Generator().manual_seed(7)) < 0.08
    reset_BL[0, :2] = True  # at the start, and two in a row
    reset_BL[1, 31:34] = True  # around a chunk's boundary
    return reset_BL


def gradients(function, inputs, weights):
    outputs = function(*inputs)
    loss = sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True))
    return outputs, torch.autograd.grad(loss, inputs)


def assert_each_close(got, want, atol):
    """`atol` counts in the tensor's largest entry, or in ones where that is smaller."""
    assert len(got) == len(want)
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        scale = max(1.0, b.abs().max().item())
        torch.testing.assert_close(a.to(b.dtype), b, rtol=0.0, atol=atol * scale, msg=lambda m, i=i: f"tensor {i}: {m}")


@pytest.mark.parametrize("kind", ["none", "resets"])
@pytest.mark.parametrize("chunk", [16, 32])
@pytest.mark.parametrize("length", LENGTHS)
def test_chunked_equals_recurrent(length, chunk, kind):
    """In double precision, so that the gradient's algebra is tested and not its rounding."""
    inputs, reset_BL = scan_inputs(length, torch.float64), resets(kind, length)
    weights = output_weights(inputs)
    want, want_gradients = gradients(lambda *t: recurrent(*t, reset_BL=reset_BL), inputs, weights)
    got, got_gradients = gradients(lambda *t: chunked(*t, reset_BL=reset_BL, chunk=chunk), inputs, weights)
    assert_each_close([*got, *got_gradients], [*want, *want_gradients], atol=1e-9)


@pytest.mark.parametrize("kind", ["none", "resets"])
@pytest.mark.parametrize("chunk", [1, 16])
@pytest.mark.parametrize("length", LENGTHS)
def test_the_gpus_way_over_chunks_equals_recurrent(length, chunk, kind, monkeypatch):
    """Forwards and, for the gradients, backwards; up to 257 chunks."""
    monkeypatch.setattr(ssd, "_carry", ssd._carry_doubling)
    test_chunked_equals_recurrent(length, chunk, kind)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("chunks", [1, 2, 3, 64, 100])
def test_both_ways_over_chunks(chunks, reverse):
    first, add, keep = randn((2, 3, 5, 4), (2, 3, chunks, 5, 4), (2, 3, chunks))
    keep = keep.sigmoid()
    keep[0, :, ::3] = 0.0  # a reset within the chunk
    want = ssd._carry_loop(first, add, keep, reverse)
    assert want.shape == (2, 3, chunks + 1, 5, 4)
    torch.testing.assert_close(ssd._carry_doubling(first, add, keep, reverse), want, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("kind", ["none", "resets"])
@pytest.mark.parametrize("length", LENGTHS)
def test_chunked_in_single_precision(length, kind):
    """Against the recurrence in double precision.  The gradient of dt A is a difference of sums: it loses a digit."""
    inputs = scan_inputs(length, torch.float32)
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    reset_BL = resets(kind, length)
    weights = output_weights(inputs)
    want, want_gradients = gradients(lambda *t: recurrent(*t, reset_BL=reset_BL), exact, [w.double() for w in weights])
    got, got_gradients = gradients(lambda *t: chunked(*t, reset_BL=reset_BL), inputs, weights)
    assert_each_close(got, want, atol=3e-6)
    assert_each_close(got_gradients, want_gradients, atol=3e-5)


def test_strong_decay_stays_finite_and_exact():
    """dt A sums to thousands within a chunk: no overflow above the diagonal, no NaN, gradients included."""
    inputs = [tensor.detach() for tensor in scan_inputs(100, torch.float64)]
    inputs[1] *= 60.0
    inputs = [tensor.requires_grad_() for tensor in inputs]
    weights = output_weights(inputs)
    want, want_gradients = gradients(recurrent, inputs, weights)
    got, got_gradients = gradients(chunked, inputs, weights)
    assert_each_close([*got, *got_gradients], [*want, *want_gradients], atol=1e-9)


def test_dt_zero_leaves_the_state_bit_for_bit():
    inputs = [tensor.detach() for tensor in scan_inputs(40, torch.float32)]
    inputs[1].zero_()
    for scan in (recurrent, chunked):
        torch.testing.assert_close(scan(*inputs)[1], inputs[5], rtol=0.0, atol=0.0)


def test_rms_norm_equals_autograd():
    x, weight, dy = randn((2, 7, 10), (10,), (2, 7, 10))
    inputs = [x.requires_grad_(), weight.requires_grad_()]
    want, want_gradients = gradients(lambda x, w: [F.rms_norm(x, (10,), w, 1e-5)], inputs, [dy])
    got, got_gradients = gradients(lambda x, w: [rms_norm(x, w, 1e-5)], inputs, [dy])
    assert_each_close([*got, *got_gradients], [*want, *want_gradients], atol=1e-9)


@pytest.mark.parametrize("cut", ["", "tokens", "mask"])
@pytest.mark.parametrize("length", [1, 3, 20])
def test_convolution_equals_conv1d(length, cut):
    """With a cut at token 2 of one row (a reset there): tokens 2, 3 and 4 see nothing before it."""
    width, start = 4, 2
    x, weight, bias, dy = randn((2, length + 3, 6), (6, 1, width), (6,), (2, length, 6))
    inputs = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    cut_tokens = [t for t in range(start, start + 3) if cut and t < length]
    row_F, token_F = torch.ones(len(cut_tokens), dtype=torch.int64), torch.tensor(cut_tokens, dtype=torch.int64)
    taps_FK = token_F[:, None] + torch.arange(width)
    cuts = Cuts(row_F[:, None], taps_FK, (taps_FK >= start + 3)[..., None]) if cut else None
    if cut == "mask":
        token_L1, tap_K11 = torch.arange(length)[:, None], torch.arange(width)[:, None, None]
        gone_KL1 = (token_L1 >= start) & (token_L1 + tap_K11 < start + 3)
        cuts = ~torch.stack([torch.zeros_like(gone_KL1), gone_KL1], 1)

    def plain(x, weight, bias):
        outside_BJ1 = torch.zeros(2, length + 3, 1, dtype=torch.bool)
        outside_BJ1[1, : start + 3] = bool(cut)
        both = x, x.masked_fill(outside_BJ1, 0.0)
        whole, inside = (F.silu(F.conv1d(t.mT, weight, bias, groups=6).mT) for t in both)
        after_L1 = torch.arange(length)[:, None] >= start
        return [torch.where(after_L1, inside, whole)]

    want, want_gradients = gradients(plain, inputs, [dy])
    got, got_gradients = gradients(lambda *t: [conv_silu(*t, cuts)], inputs, [dy])
    assert_each_close([*got, *got_gradients], [*want, *want_gradients], atol=1e-9)


def test_linear_equals_autograd():
    """Beyond 128 rows, where oneDNN takes over; weights that are wide and narrow."""
    for inputs, outputs in ((5, 9), (9, 5)):
        x, weight, dy = randn((2, 100, inputs), (outputs, inputs), (2, 100, outputs), dtype=torch.float32)
        arguments = [x.requires_grad_(), weight.requires_grad_()]
        want, want_gradients = gradients(lambda x, w: [F.linear(x, w)], arguments, [dy])
        got, got_gradients = gradients(lambda x, w: [linear(x, w)], arguments, [dy])
        assert_each_close([*got, *got_gradients], [*want, *want_gradients], atol=1e-6)

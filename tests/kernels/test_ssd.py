"""Mamba-2's chunked scan against the recurrence: values, final state and gradients.

Glossary: see `tallystick.kernels.ssd`.
"""

import math

import pytest
import torch
from torch.nn import functional as F

from tallystick.kernels import ssd
from tallystick.kernels.reference import ssd_recurrent
from tallystick.kernels.ssd import ssd_chunked

LENGTHS = [1, 2, 63, 100, 257]
BATCH, HEADS, HEAD_DIM, STATE, CHUNK = 2, 3, 4, 5, 32
UNIT = 2.0**-24
"""Largest relative error of one operation in single precision."""


def scan_inputs(length, dtype, seed=0):
    """Return x, dt, A, B, C, initial state and D; every seventh token has dt = 0."""
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
    """Return the weights of y and of the final state in the loss."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(t.shape, dtype=t.dtype, generator=generator) for t in (inputs[0], inputs[5])]


def recurrent(*inputs, reset_BL=None):
    return ssd_recurrent(*inputs[:6], reset_BL, inputs[6])


def chunked(*inputs, reset_BL=None, chunk=CHUNK):
    return ssd_chunked(*inputs[:6], reset_BL, inputs[6], chunk)


def resets(kind, length):
    if kind == "none":
        return None
    reset_BL = torch.rand(BATCH, length, generator=torch.Generator().manual_seed(7)) < 0.08
    reset_BL[0, :2] = True  # at the start, and two in a row
    reset_BL[1, CHUNK - 1 : CHUNK + 2] = True  # around a chunk's boundary
    return reset_BL


def gradients(function, inputs, weights):
    outputs = function(*inputs)
    loss = sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True))
    return outputs, torch.autograd.grad(loss, inputs)


def assert_each_close(got, want, atol):
    """Compare tensors; `atol` is a share of the tensor's largest entry, or of 1 if that is larger."""
    assert len(got) == len(want)
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        scale = max(1.0, b.abs().max().item())
        torch.testing.assert_close(a.to(b.dtype), b, rtol=0.0, atol=atol * scale, msg=lambda m, i=i: f"tensor {i}: {m}")


@pytest.mark.parametrize("kind", ["none", "resets"])
@pytest.mark.parametrize("chunk", [16, 32])
@pytest.mark.parametrize("length", LENGTHS)
def test_chunked_equals_recurrent(length, chunk, kind):
    """This is in double precision, where no rounding hides an error of the algebra."""
    inputs, reset_BL = scan_inputs(length, torch.float64), resets(kind, length)
    weights = output_weights(inputs)
    want, want_gradients = gradients(lambda *t: recurrent(*t, reset_BL=reset_BL), inputs, weights)
    got, got_gradients = gradients(lambda *t: chunked(*t, reset_BL=reset_BL, chunk=chunk), inputs, weights)
    assert_each_close([*got, *got_gradients], [*want, *want_gradients], atol=1e-9)


@pytest.mark.parametrize("kind", ["none", "resets"])
@pytest.mark.parametrize("chunk", [1, 16])
@pytest.mark.parametrize("length", LENGTHS)
def test_chunked_equals_recurrent_as_on_a_gpu(length, chunk, kind, monkeypatch):
    """States are carried in log2(c) passes, forwards and, for gradients, backwards, over up to 257 chunks."""
    monkeypatch.setattr(ssd, "_carry", ssd._carry_doubling)
    test_chunked_equals_recurrent(length, chunk, kind)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("chunks", [1, 2, 3, 64, 100])
def test_both_ways_to_carry_agree(chunks, reverse):
    generator, shapes = torch.Generator().manual_seed(0), ((2, 3, 5, 4), (2, 3, chunks, 5, 4), (2, 3, chunks))
    first, add, keep = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    keep = keep.sigmoid()
    keep[0, :, ::3] = 0.0  # a reset within the chunk
    want = ssd._carry_loop(first, add, keep, reverse)
    assert want.shape == (2, 3, chunks + 1, 5, 4)
    torch.testing.assert_close(ssd._carry_doubling(first, add, keep, reverse), want, rtol=0.0, atol=1e-12)


def single_precision(length, kind):
    """Return for each result in single precision its error, and the bound of that error: two lists of tensors."""
    inputs, reset_BL = scan_inputs(length, torch.float32), resets(kind, length)
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    weights = output_weights(inputs)
    want, want_gradients = gradients(lambda *t: recurrent(*t, reset_BL=reset_BL), exact, [w.double() for w in weights])
    got, got_gradients = gradients(lambda *t: chunked(*t, reset_BL=reset_BL), inputs, weights)
    pairs = zip([*got, *got_gradients], [*want, *want_gradients], strict=True)
    return [(a.double() - b).abs() for a, b in pairs], rounding(exact, [w.double() for w in weights], reset_BL)


def rounding(inputs, weights, reset_BL):
    """Return bounds of the rounding errors of y, the final state and all gradients, computed in double precision.

    Every result is a sum of products, many with a decay `exp(log)`.  Let M be the sum of their absolute values, n the
    number of additions in sequence, and L the largest sum of |dt A| within a chunk.  Roundings are random, and change
    the sum by sqrt(n) UNIT M (Higham and Mary 2019, A new approach to probabilistic rounding error analysis, SIAM J.
    Sci. Comput. 41).  And `log`, the difference of two sums of up to L, has an error of up to 2 L UNIT, which is then
    the relative error of the decay.  The bound is twice the sum of both.

    For most results, M is the result of the same scan on absolute values.  The gradient of dt A is special: it is
    computed as a difference of sums in which the terms that begin and end after a token cancel.  They count in M all
    the same, which is why the gradient of A has a larger error than its size suggests.  Over tokens, whose errors are
    independent, M is added up as a root of squares.
    """
    x_BLHP, dt_BLH, A_H, B_BLN, C_BLN, state_BHPN, D_H = (tensor.detach() for tensor in inputs)
    weight_BLHP, weight_BHPN = (weight.abs() for weight in weights)
    leaves = [t.abs().requires_grad_() for t in (x_BLHP, dt_BLH, B_BLN, C_BLN, state_BHPN, D_H)]
    log_BLH = (dt_BLH * A_H).requires_grad_()
    y_BLHP, last_BHPN = scan_by_log_decay(log_BLH, *leaves, reset_BL)
    loss = (y_BLHP * weight_BLHP).sum() + (last_BHPN * weight_BHPN).sum()
    dlog_BLH, dx, ddt_BLH, dB, dC, dstate, _ = torch.autograd.grad(loss, [log_BLH, *leaves])
    y_BLHP, last_BHPN = y_BLHP.detach(), last_BHPN.detach()

    skip_BLHP = x_BLHP.abs() * weight_BLHP
    ends_BLH = ((y_BLHP + D_H.abs()[:, None] * x_BLHP.abs()) * weight_BLHP).sum(-1) + ddt_BLH * dt_BLH
    later_BLH = by_chunk(ends_BLH.square(), lambda t: t.flip(2).cumsum(2).flip(2)).sqrt()
    all_of_A = (ends_BLH * by_chunk(dt_BLH, lambda t: t.cumsum(2))).square().sum((0, 1)).sqrt()
    all_of_D = skip_BLHP.square().sum((0, 1, 3)).sqrt()
    added = [y_BLHP, last_BHPN, dx, ddt_BLH + later_BLH * A_H.abs(), all_of_A, dB, dC, dstate, all_of_D]
    decayed = [*added[:3], ddt_BLH + dlog_BLH * A_H.abs(), (dlog_BLH * dt_BLH).sum((0, 1)), dB, dC, dstate, 0 * D_H]

    roots = math.sqrt(CHUNK + x_BLHP.shape[1] / CHUNK + HEAD_DIM + STATE)
    longest = by_chunk(-log_BLH.detach(), lambda t: t.cumsum(2)).max().item()
    return [2 * UNIT * (roots * a + 2 * longest * d) for a, d in zip(added, decayed, strict=True)]


def scan_by_log_decay(log_BLH, x_BLHP, dt_BLH, B_BLN, C_BLN, state_BHPN, D_H, reset_BL):
    """Run the recurrence with the decay as a separate input."""
    y_BHP = []
    for t in range(x_BLHP.shape[1]):
        if reset_BL is not None:
            state_BHPN = state_BHPN.masked_fill(reset_BL[:, t, None, None, None], 0.0)
        state_BHPN = state_BHPN * log_BLH[:, t, :, None, None].exp()
        state_BHPN = state_BHPN + (x_BLHP * dt_BLH[..., None])[:, t, ..., None] * B_BLN[:, t, None, None]
        y_BHP.append((state_BHPN * C_BLN[:, t, None, None]).sum(-1))
    return torch.stack(y_BHP, 1) + x_BLHP * D_H[:, None], state_BHPN


def by_chunk(t_BLH, function):
    """Apply a function of [B, c, Q, H] along a chunk."""
    chunks = F.pad(t_BLH, (0, 0, 0, -t_BLH.shape[1] % CHUNK)).unflatten(1, (-1, CHUNK))
    return function(chunks).flatten(1, 2)[:, : t_BLH.shape[1]]


@pytest.mark.parametrize("kind", ["none", "resets"])
@pytest.mark.parametrize("length", LENGTHS)
def test_chunked_in_single_precision(length, kind):
    """Nothing is lost beyond the rounding of single operations, as it would be by resets that are large logarithms."""
    for i, (error, bound) in enumerate(zip(*single_precision(length, kind), strict=True)):
        assert (error <= bound).all(), f"tensor {i}: {(error / bound).max():.2f} times its bound"


def drop_a_carry(monkeypatch, direction):
    """Forget the state at the second chunk's boundary."""
    carry = ssd._carry

    def forgetful(first, add, keep, reverse=False):
        states = carry(first, add, keep, reverse)
        if reverse == direction:
            states[:, :, 2] = 0.0
        return states

    monkeypatch.setattr(ssd, "_carry", forgetful)


def miss_a_reset(monkeypatch):
    """Ignore the last reset of row 0."""
    decays = ssd._decays

    def overlooking(dt, A, reset_BL):
        reset_BL = reset_BL.clone()
        reset_BL[0, reset_BL[0].nonzero()[-1]] = False
        return decays(dt, A, reset_BL)

    monkeypatch.setattr(ssd, "_decays", overlooking)


def reset_by_logarithm(monkeypatch):
    """Write a reset as a decay by exp(-20,000), which costs sums of logarithms their precision."""
    decays = ssd._decays

    def imprecise(dt_GQ, A_H, reset_BL):
        reset_GQ = reset_BL[:, None].unflatten(-1, (-1, CHUNK)).expand_as(dt_GQ)
        return decays(torch.where(reset_GQ, -2e4 / A_H[:, None, None], dt_GQ), A_H, None)

    monkeypatch.setattr(ssd, "_decays", imprecise)


FAULTS = {
    "a carry forwards": lambda patch: drop_a_carry(patch, False),
    "a carry backwards": lambda patch: drop_a_carry(patch, True),
    "a reset": miss_a_reset,
    "resets by logarithm": reset_by_logarithm,
    "a sign": lambda patch: patch.setattr(ssd, "_add_bmm_", lambda into, a, b: into.sub_(ssd._bmm(a, b))),
    "a factor": lambda patch: patch.setattr(ssd, "LOG2_E", ssd.LOG2_E * 1.002),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_bounds_find_faults(fault, monkeypatch):
    """This includes faults in the gradient of A only."""
    FAULTS[fault](monkeypatch)
    errors, bounds = single_precision(100, "resets")
    exceeded = [bool((error > bound).any()) for error, bound in zip(errors, bounds, strict=True)]
    assert sum(exceeded) >= 2
    assert exceeded[4], "the gradient of A"


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

"""Mamba-2's block in machine code against the plain one on the reference's recurrence, in double precision."""

import pytest
import torch

from tallystick.kernels import cpu
from tallystick.models import mamba2

torch.set_num_threads(1)  # faster for tensors this small

BATCH, WIDTH = 3, 12
VALUES, GRADIENTS = 3e-6, 1e-5  # of a tensor's largest entry, or of one where that is smaller
LENGTHS = [1, 2, 3, 16, 17, 100]


def make_block(head_dim=8, d_conv=4):
    """With parameters that are not those of the start, so that none is one or zero."""
    torch.manual_seed(0)
    config = mamba2.Mamba2.Config(vocab_size=5, d_model=WIDTH, d_state=6, head_dim=head_dim, d_conv=d_conv)
    block = mamba2.Block(config)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return block, mamba2.empty(config, BATCH, block.D)


def masks(kind, length):
    """Resets and lengths: resets at the start, two in a row and around the first tokens that are taken together."""
    reset_BL = torch.rand(BATCH, length, generator=torch.Generator().manual_seed(7)) < 0.08
    reset_BL[0, :2] = True
    reset_BL[1, 15:17] = True
    length_B = torch.tensor([length, length // 2, 0])
    return reset_BL if "resets" in kind else None, length_B if "ragged" in kind else None


def counting(out_BLE, length_B):
    """What ragged rows leave undefined set to zero."""
    if length_B is None:
        return out_BLE
    return out_BLE * (torch.arange(out_BLE.shape[1]) < length_B[:, None])[..., None]


def run(block, empty, length, kind, dtype):
    """The three results and the gradients to inputs and parameters of a random weighting of them."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(BATCH, length, WIDTH), *(tensor.shape for tensor in empty)]
    inputs, weights = ([torch.randn(shape, generator=generator) for shape in shapes] for _ in range(2))
    inputs = [tensor.to(dtype).requires_grad_() for tensor in inputs]
    reset_BL, length_B = masks(kind, length)
    spans = mamba2.Spans(torch.zeros(BATCH, length), reset_BL, length_B, empty[0].shape[1])
    block = block.to(dtype)
    out_BLD, *states = block(*inputs, spans)
    results = [counting(out_BLD, length_B), *states]
    loss = sum((result * weight).sum() for result, weight in zip(results, weights, strict=True))
    return results, torch.autograd.grad(loss, [*inputs, *block.parameters()])


def assert_each_close(got, want, atol):
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        scale = max(1.0, b.abs().max().item())
        torch.testing.assert_close(a.double(), b, rtol=0.0, atol=atol * scale, msg=lambda m, i=i: f"tensor {i}: {m}")


@pytest.fixture
def calls(monkeypatch):
    """How often machine code was called; the plain block in turn takes the reference's recurrence at any length."""
    made = []
    monkeypatch.setattr(mamba2, "LONGEST_LOOP", max(LENGTHS))
    monkeypatch.setattr(cpu._Mix, "apply", lambda *given, apply=cpu._Mix.apply: made.append(1) or apply(*given))
    return made


@pytest.mark.parametrize("kind", ["whole", "resets", "ragged", "resets, ragged"])
@pytest.mark.parametrize("length", LENGTHS)
def test_the_block_equals_the_plain_one(calls, length, kind):
    got, got_gradients = run(*make_block(), length, kind, torch.float32)
    assert len(calls) == 1
    want, want_gradients = run(*make_block(), length, kind, torch.float64)
    assert len(calls) == 1
    assert_each_close(got, want, VALUES)
    assert_each_close(got_gradients, want_gradients, GRADIENTS)


@pytest.mark.parametrize(("head_dim", "d_conv"), [(24, 2), (3, 5)])
def test_other_sizes(calls, head_dim, d_conv):
    """One head and eight; convolutions that reach back less and more."""
    got, got_gradients = run(*make_block(head_dim, d_conv), 40, "resets", torch.float32)
    want, want_gradients = run(*make_block(head_dim, d_conv), 40, "resets", torch.float64)
    assert len(calls) == 1
    assert_each_close([*got, *got_gradients], [*want, *want_gradients], GRADIENTS)


def test_large_and_absurd_numbers(calls):
    """Sigmoid and softplus far out, a strong decay; and what is not a number stays so."""
    block, empty = make_block()
    with torch.no_grad():
        block.in_proj.weight *= 40.0
    got, _ = run(block, empty, 40, "whole", torch.float32)
    want, _ = run(block, empty, 40, "whole", torch.float64)
    assert_each_close(got, want, 1e-4)
    x_BLD = torch.zeros(BATCH, 40, WIDTH)
    x_BLD[1, 20] = torch.nan
    out_BLD = block.float()(x_BLD, *empty, mamba2.Spans(x_BLD[..., 0], None, None, 3))[0]
    assert out_BLD[1, 20:].isnan().all()
    assert out_BLD[[0, 2]].isfinite().all()


def test_no_token_leaves_the_states_bit_for_bit():
    block, empty = make_block()
    states = [torch.randn_like(tensor) for tensor in empty]
    spans = mamba2.Spans(torch.zeros(BATCH, 4), None, torch.zeros(BATCH, dtype=torch.int64), 3)
    for got, want in zip(block(torch.randn(BATCH, 4, WIDTH), *states, spans)[1:], states, strict=True):
        torch.testing.assert_close(got, want, rtol=0.0, atol=0.0)


@pytest.mark.parametrize("kind", ["odd", "large", "double", "without numba"])
def test_what_is_left_to_torch(calls, kind, monkeypatch):
    monkeypatch.setattr(mamba2, "NUMBA", kind != "without numba")
    sizes = {"odd": {"d_state": 5}, "large": {"d_state": 1024}}.get(kind, {})
    model = mamba2.Mamba2(mamba2.Mamba2.Config(vocab_size=5, **sizes)).to(torch.float64 if kind == "double" else None)
    model(torch.zeros(1, 20, dtype=torch.int64))
    assert not calls

"""The floor of the step size: both Mambas against their equations, written with the reference's scans."""

import pytest
import torch
from torch.nn import functional as F

from tallystick import models
from tallystick.kernels.reference import selective_scan, ssd_recurrent
from tallystick.models.state_space import PackedRows

FLOOR, LENGTH, BATCH = 0.7, 45, 2
TOLERANCE = 1e-9
SIZES = {"n_layer": 1, "d_model": 12, "d_state": 3, "dt_floor": FLOOR}


def make_block(name):
    """Return a block in double precision with two step sizes A below 1, its settings, and random inputs and states."""
    torch.manual_seed(0)
    head = {"head_dim": 8} if name == "mamba2" else {}
    model = models.build(name, vocab_size=5, **SIZES, **head).double()
    block = model.layers[0]
    with torch.no_grad():
        for parameter in block.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        block.A_log.flatten()[:2] = -1.0
    shapes = [(BATCH, LENGTH, 12), *(tensor.shape for tensor in block.init_state(BATCH))]
    return block, model.config, [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]


def normed(block, x_BLD):
    return F.rms_norm(x_BLD, block.norm.weight.shape, block.norm.weight, block.norm.eps)


def convolved(block, padded_BJX):
    return F.silu(F.conv1d(padded_BJX.mT, block.conv.weight, block.conv.bias, groups=padded_BJX.shape[-1]).mT)


def mamba2_by_hand(block, x_BLD, tail, state):
    z, xBC, dt = (normed(block, x_BLD) @ block.in_proj.weight.T).split(block.sizes, -1)
    padded = torch.cat([tail, xBC], 1)
    x, B, C = convolved(block, padded).split((24, 3, 3), -1)
    dt, A = torch.log1p(torch.exp(dt + block.dt_bias)) + FLOOR, -torch.clamp(block.A_log.exp(), min=1.0)
    y, state = ssd_recurrent(x.unflatten(-1, (3, 8)), dt, A, B, C, state, None, block.D)
    y = F.rms_norm(y.flatten(2) * F.silu(z), (24,), block.gate_norm.weight, block.gate_norm.eps)
    return x_BLD + y @ block.out_proj.weight.T, padded[:, -3:], state


def mamba1_by_hand(block, x_BLD, tail, state):
    x, z = (normed(block, x_BLD) @ block.in_proj.weight.T).chunk(2, -1)
    padded = torch.cat([tail, x], 1)
    x = convolved(block, padded)
    dt, B, C = (x @ block.x_proj.weight.T).split(block.sizes, -1)
    dt, A = torch.log1p(torch.exp(block.dt_proj(dt))) + FLOOR, -torch.clamp(block.A_log.exp(), min=1.0)
    y, state = selective_scan(x, dt, A, B, C, state)
    y = (y + x * block.D) * F.silu(z)
    return x_BLD + y @ block.out_proj.weight.T, padded[:, -3:], state


def with_gradients(results, tensors):
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(result.shape, dtype=torch.float64, generator=generator) for result in results]
    loss = sum((result * weight).sum() for result, weight in zip(results, weights, strict=True))
    return [*results, *torch.autograd.grad(loss, tensors)]


@pytest.mark.parametrize(("name", "by_hand"), [("mamba2", mamba2_by_hand), ("mamba1", mamba1_by_hand)])
def test_values_states_and_gradients(name, by_hand):
    block, config, inputs = make_block(name)
    rows = PackedRows(torch.zeros(BATCH, LENGTH), None, None, config)
    tensors = [*inputs, *block.parameters()]
    got = with_gradients(block(*inputs, rows), tensors)
    want = with_gradients(by_hand(block, *inputs), tensors)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["mamba2", "mamba1"])
def test_any_chunking_agrees_with_a_floor(name):
    torch.manual_seed(0)
    model = models.build(name, vocab_size=5, dt_floor=2)
    ids = torch.randint(5, (3, 40))
    length = torch.tensor([40, 17, 0])
    with torch.no_grad():
        want, state = model(ids[1:2, :17])
        got, ragged = model(ids, length_B=length)
        stepwise, steps = [], None
        for t in range(17):
            logits, steps = model(ids[1:2, t : t + 1], steps)
            stepwise.append(logits)
    for logits in (got[1:2, :17], torch.cat(stepwise, 1)):
        torch.testing.assert_close(logits, want, rtol=0.0, atol=1e-5)
    for key in state:
        torch.testing.assert_close(ragged[key][1:2], state[key], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(steps[key], state[key], rtol=1e-5, atol=1e-6)
        assert not ragged[key][2].any()


def initial_A(**sizes):
    torch.manual_seed(0)
    model = models.build("mamba2:tiny", vocab_size=5, head_dim=1, **sizes)
    return torch.stack([block.A_log.detach().exp() for block in model.layers])


def test_A_is_drawn_from_1_to_A_max():
    torch.testing.assert_close(initial_A(A_max=1), torch.ones(2, 128))
    for most, A in ((3.0, initial_A(A_max=3)), (16.0, initial_A())):
        assert 1.0 <= A.min() < 1.2
        assert 0.9 * most < A.max() <= most
    torch.testing.assert_close((initial_A() - 1) / 15, (initial_A(A_max=3) - 1) / 2)

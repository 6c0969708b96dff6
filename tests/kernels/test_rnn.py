"""LSTM and GRU against the reference and against torch's own: values, final state and gradients."""

import pytest
import torch

from tallystick.kernels import rnn
from tallystick.kernels.reference import gru_recurrent, lstm_recurrent
from tallystick.kernels.rnn import gru, lstm

BATCH, UNITS = 3, 5
FORMS = {
    "lstm": (lstm, lstm_recurrent, 4, 2),
    "coupled lstm": (lstm, lstm_recurrent, 3, 2),
    "gru": (gru, gru_recurrent, 3, 1),
}
"""Fast form, reference, number of gates, number of state tensors."""


def inputs(name, length):
    """Return the input's part of the gates (time first), the weights and the state."""
    _, _, gates, states = FORMS[name]
    generator = torch.Generator().manual_seed(0)
    shapes = [(length, BATCH, gates * UNITS), (gates * UNITS, UNITS), *[(BATCH, UNITS)] * states]
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


def resets(kind, length):
    if kind == "none":
        return None
    reset_LB = torch.rand(length, BATCH, generator=torch.Generator().manual_seed(7)) < 0.2
    reset_LB[:2, 0] = True  # at the start, and two in a row
    reset_LB[:, 1] = False
    return reset_LB


def gradients(outputs, tensors):
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(output.shape, dtype=output.dtype, generator=generator) for output in outputs]
    loss = sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True))
    return torch.autograd.grad(loss, tensors)


def assert_each_close(got, want):
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, msg=lambda m, i=i: f"tensor {i}: {m}")


@pytest.mark.parametrize("kind", ["none", "resets", "resets of a GPU"])
@pytest.mark.parametrize("length", [1, 2, 17])
@pytest.mark.parametrize("name", FORMS)
def test_fast_equals_the_reference(name, length, kind, monkeypatch):
    if (
        kind == "resets of a GPU"
    ):  # one tensor, not asked for its values; double precision takes the Python loop there, too
        monkeypatch.setattr(rnn, "_on_gpu", lambda tensor: True)
    fast, plain, _, _ = FORMS[name]
    tensors, reset_LB = inputs(name, length), resets(kind, length)
    reset_BL = None if reset_LB is None else reset_LB.t()
    want_BLH, *want = plain(tensors[0].transpose(0, 1), *tensors[1:], reset_BL)
    want = [want_BLH.transpose(0, 1), *want]
    got = fast(*tensors, reset_LB)
    assert_each_close([*got, *gradients(got, tensors)], [*want, *gradients(want, tensors)])


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_the_reference_equals_torch(name):
    """Torch orders the gates as i, f, g, o, and as r, z, n."""
    _, plain, gates, _ = FORMS[name]
    x_LBG, weight_GH, *state = inputs(name, 9)
    peer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[name](gates * UNITS, UNITS, bias=False, dtype=torch.float64)
    order = [1, 0, 2, 3] if name == "lstm" else [0, 1, 2]
    rows = torch.arange(gates * UNITS).unflatten(0, (gates, UNITS))[order].flatten()
    peer.weight_ih_l0.data = torch.eye(gates * UNITS, dtype=torch.float64)[rows]
    peer.weight_hh_l0.data = weight_GH.detach()[rows]
    want, after = peer(x_LBG, tuple(s[None] for s in state) if name == "lstm" else state[0][None])
    got_BLH, *got = plain(x_LBG.transpose(0, 1), weight_GH, *state)
    assert_each_close([got_BLH.transpose(0, 1), *got], [want, *(s[0] for s in (after if name == "lstm" else [after]))])

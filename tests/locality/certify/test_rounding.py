"""What the bounds assume of float32 and of boxes, measured."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tallystick.kernels import decode_numba, mamba2_numba
from tallystick.kernels.reference import selective_scan, ssd_recurrent
from tallystick.kernels.selective_scan import selective_scan_chunked
from tallystick.kernels.ssd import ssd_chunked
from tallystick.locality.certify import boxes, checker, intervals
from tallystick.locality.certify.blocks import Coefficients, Mamba1Block, Mamba2Block
from tallystick.locality.certify.boxes import ELEMENTARY, TINY, Box
from tallystick.locality.certify.network import Network
from tallystick.locality.proof import proved_graph
from tallystick.models.mamba2 import Mamba2
from tallystick.tasks import load

sys.path.insert(0, str(Path(__file__).parent))
from walking import random_model

GRID = np.concatenate([np.linspace(-100, 100, 400_001), np.linspace(-1, 1, 100_001)]).astype(np.float32)
POSITIVE = np.exp(np.linspace(-12, 12, 200_001)).astype(np.float32)


FUNCTIONS = {
    "exp": (torch.exp, np.exp, GRID),
    "exp2": (torch.exp2, np.exp2, GRID),
    "softplus": (F.softplus, lambda x: np.logaddexp(0.0, x), GRID),
    "silu": (F.silu, lambda x: x / (1 + np.exp(-x)), GRID[np.abs(GRID) < 80]),
    "rsqrt": (torch.rsqrt, lambda x: 1 / np.sqrt(x), POSITIVE),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_elementary_functions_are_as_right_as_assumed(name):
    single, double, at = FUNCTIONS[name]
    want = double(at.astype(np.float64))
    usual = np.abs(want) < 1e38
    got = single(torch.from_numpy(at)).double().numpy()
    assert (np.abs(got - want)[usual] <= ELEMENTARY * np.abs(want)[usual] + TINY).all()


def test_the_compiled_sigmoid_is_as_right_as_assumed():
    at = GRID[::40]
    got = np.array([float(value) * mamba2_numba._sigmoid(value) for value in at])
    wide = at.astype(np.float64)
    want = wide * np.exp(-np.logaddexp(0.0, -wide))
    assert (np.abs(got - want) <= ELEMENTARY * np.abs(want) + TINY).all()


DECODING = {
    "_exp": (np.exp, GRID[np.abs(GRID) < 80]),
    "_softplus": (FUNCTIONS["softplus"][1], GRID[np.abs(GRID) < 80]),
    "_sigmoid": (lambda x: np.exp(-np.logaddexp(0.0, -x)), GRID[np.abs(GRID) < 80]),
}


@pytest.mark.parametrize("name", DECODING)
def test_functions_of_the_decoding_step_are_as_right_as_assumed(name):
    double, at = DECODING[name]
    at = at[::40]
    got = np.array([float(getattr(decode_numba, name)(value)) for value in at])
    want = double(at.astype(np.float64))
    assert (np.abs(got - want) <= ELEMENTARY * np.abs(want) + TINY).all()


@pytest.mark.parametrize("terms", [4, 64, 512])
def test_sums_in_any_order_are_as_right_as_assumed(terms):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((200, terms)).astype(np.float32) for _ in range(2))
    exact, size = ((f(a.astype(np.float64) * b)).sum(1) for f in (np.asarray, np.abs))
    forms = {
        "product": (torch.from_numpy(a) @ torch.from_numpy(b).T).diagonal().numpy(),
        "one by one": np.cumsum(a * b, axis=1, dtype=np.float32)[:, -1],
        "pairwise": (a * b).sum(1, dtype=np.float32),
    }
    for form in forms.values():
        assert (np.abs(form - exact) <= boxes.rate(terms) * size).all()


@pytest.mark.parametrize("kind", ["loop", 32, 64])
@pytest.mark.parametrize("steps", [(0.5, 1.0), (0.5, 60.0), (2.0, 9.0)], ids=["small", "wide", "large"])
def test_the_scan_loses_no_more_than_is_bounded(kind, steps):
    """The real scan against the ideal one on the same coefficients: the state, and the output beside it."""
    generator = torch.Generator().manual_seed(0)
    block = Mamba2Block(Mamba2(Mamba2.Config(vocab_size=5, d_model=8, d_state=3, head_dim=4, dt_floor=0.5)).layers[0])
    heads, length = block.heads, 300
    A = -torch.tensor([1.0, 1.3, 4.0, 16.0])
    block.A = boxes.point(-A.double().numpy()[:, None])
    x, B, C = (torch.randn(1, length, *size, generator=generator) for size in ((heads, 4), (3,), (3,)))
    dt = torch.rand(1, length, heads, generator=generator) * (steps[1] - steps[0]) + steps[0]
    inputs = (x, dt, A, B, C, torch.zeros(1, heads, 4, 3))
    added = ((dt[..., None] * x)[..., None] * B[:, :, None, None]).abs().amax((0, 1)).reshape(-1, 3)
    block.set_scan_error(dt.amin((0, 1)).double().numpy(), dt.amax((0, 1)).double().numpy(), added.double().numpy())
    scan = ssd_recurrent if kind == "loop" else partial(ssd_chunked, chunk=kind)
    lost = []
    for size in range(1, length, 7):
        got, want = (
            form(*(t.to(kind)[:, :size] if t.dim() > 2 and t.shape[1] == length else t.to(kind) for t in inputs))[1]
            for form, kind in ((scan, torch.float32), (ssd_recurrent, torch.float64))
        )
        error = (got.double() - want)[0].abs().reshape(-1, 3).numpy()
        assert (error <= block.scan_error).all()
        lost.append(error.max())
    assert max(lost) > 0
    y, exact = scan(*inputs)[0], ssd_recurrent(*(t.double() for t in inputs))[0]
    allowed = (C[0, :, None].abs().double().numpy() * block.scan_error[None]).sum(-1)
    assert ((y.double() - exact)[0].abs().flatten(1).numpy() <= allowed).all()


@pytest.mark.parametrize("form", [selective_scan, selective_scan_chunked], ids=["loop", "chunks"])
@pytest.mark.parametrize("steps", [(0.5, 1.0), (0.5, 60.0), (2.0, 9.0)], ids=["small", "wide", "large"])
def test_the_selective_scan_loses_no_more_than_is_bounded(form, steps):
    """Of Mamba-1, each entry of whose state has its own decay: the state and the output after some lengths."""
    generator = torch.Generator().manual_seed(0)
    model = random_model(5, 0, "mamba1:tiny", n_layer=1, d_model=8, d_state=3)
    block, inner, length = Mamba1Block(model.layers[0]), 16, 400
    A = -(torch.rand(inner, 3, generator=generator) * 5 + 1)
    A[0], A[1, 1] = -1.0, -16.0
    block.A = boxes.point(-A.double().numpy())
    x, B, C = (torch.randn(1, length, size, generator=generator) for size in (inner, 3, 3))
    dt = torch.rand(1, length, inner, generator=generator) * (steps[1] - steps[0]) + steps[0]
    added = ((dt * x).double()[..., None] * B.double()[:, :, None]).abs().amax((0, 1)).numpy()
    block.set_scan_error(dt.amin((0, 1)).double().numpy(), dt.amax((0, 1)).double().numpy(), added)
    checked = intervals.Mamba1Block(model.layers[0])
    checked.rate = (-A.double().numpy(),) * 2
    steps_ = dt[0].double().numpy()
    checked.limit_scan((steps_, steps_), (-added[None], added[None]))
    first = torch.zeros(1, inner, 3)
    for size in range(1, length + 1, 57):
        part = [t[:, :size] for t in (x, dt, B, C)]
        got_y, got = form(*part[:2], A, *part[2:], first)
        want_y, want = selective_scan(*(t.double() for t in (*part[:2], A, *part[2:], first)))
        for allowed in (block.scan_error, checked.error):
            assert ((got.double() - want)[0].abs().numpy() <= allowed).all()
        assert (got.double() - want).abs().max() > 0
        allowed = (C[0, :size, None].abs().double().numpy() * block.scan_error).sum(-1)
        assert ((got_y.double() - want_y)[0].abs().numpy() <= allowed).all()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("cancel", [False, True])
@pytest.mark.parametrize("simple", [False, True], ids=["certify", "check"])
def test_coefficients_of_mamba1_hold_what_float32_computes(seed, cancel, simple):
    """Step sizes, B and C of any convolved x in a box; cancel: of large terms; simple: by the checker's intervals."""
    rng = np.random.default_rng(seed)
    layer = random_model(5, seed, "mamba1:tiny", n_layer=1).layers[0]
    x = in_float32(random_box((3, layer.D.numel()), rng))
    if cancel:
        x = make_cancelling(layer, rng)
    if simple:
        checked = intervals.Mamba1Block(layer)
        checked.convolve = lambda taps, new: new
        ends = x.lo, x.hi
        at = Coefficients(*(Box(*each) for each in checked.inputs(ends, ends, ends)))
    else:
        block = Mamba1Block(layer)
        block.convolved = lambda seen: seen[0]
        at = block.coefficients(x[:, :0], [x])
    for inputs in points(x, rng):
        with torch.no_grad():
            raw, B, C = (torch.from_numpy(inputs).float() @ layer.x_proj.weight.T).split(layer.sizes, -1)
            dt = F.softplus(layer.dt_proj(raw)) + layer.dt_floor
        for box, value in ((at.B, B), (at.C, C), (at.dt, dt)):
            assert holds(box, value.double().numpy())


def make_cancelling(layer, rng):
    """Let the second half of the channels be as the first, with weights of the other sign; return large inputs."""
    with torch.no_grad():
        layer.x_proj.weight[:, 12:] = -layer.x_proj.weight[:, :12]
        layer.dt_proj.bias.zero_()
    half = 1e3 * rng.standard_normal((3, 12))
    return in_float32(boxes.point(np.concatenate([half, half], 1)))


@pytest.mark.parametrize("simple", [False, True], ids=["certify", "check"])
@pytest.mark.parametrize("name", ["mamba1:tiny", "conv:tiny"])
def test_sums_that_cancel_lose_as_much_as_is_bounded(name, simple):
    """An output that is not normalised: its products are large, and their sum is small."""
    model = random_model(5, 0, name, n_layer=1)
    with torch.no_grad():
        model.layers[0].out_proj.weight[:, 0::2] = 1.0
        model.layers[0].out_proj.weight[:, 1::2] = -1.0
    vector = np.random.default_rng(0).uniform(3e4, 4e4, (1, 24)).astype(np.float32).astype(np.float64)
    vector[:, 1::2] = vector[:, 0::2] - 1e-3
    real = model.embedding.weight[0].detach().numpy()
    for place, sign in enumerate([1.0, -1.0] * 12):
        real = (real + np.float32(sign) * vector[0, place].astype(np.float32)).astype(np.float32)
    if simple:
        check = checker._Check(model, proved_graph(load("reverse")).graph, 2, lambda _: None)
        held = Box(*check._stream(np.array([0]), [intervals.read_as_it_is((vector, vector))], np.eye(12)))
    else:
        network = Network(model)
        held = network.linear_of_residual(np.eye(12), np.array([0]), [network.blocks[0].output(boxes.point(vector))])
    assert holds(held, real.astype(np.float64))
    assert (held.hi - held.lo).max() < 1000  # of sums of 8e5


def in_float32(box):
    """Round the ends of a box to single precision, so that points of the box, rounded, lie in it."""
    return Box(*(end.astype(np.float32).astype(np.float64) for end in (box.lo, box.hi)))


def test_a_sum_may_begin_with_the_residual_stream():
    """Our compiled step adds a block's products to the residual stream one by one; here each is rounded away."""
    network = Network(random_model(5, 0, n_layer=1))
    network.embedding = np.ones_like(network.embedding)
    block, inner = network.blocks[0], network.blocks[0].inner
    block.out_proj = np.full_like(block.out_proj, 0.7 * 2.0**-24)
    output = block.output(boxes.point(np.ones((1, inner))))
    held = network.linear_of_residual(np.eye(network.width), np.array([0]), [output])
    real = np.float32(1.0)
    for _ in range(inner):
        real = real + np.float32(0.7 * 2.0**-24)
    assert real == 1.0
    assert holds(held, float(real))


def random_box(shape, rng, scale=2.0):
    middle, radius = (
        scale * rng.standard_normal(shape),
        np.abs(rng.standard_normal(shape)) * rng.choice([0.0, 0.1, 2.0]),
    )
    return Box(middle - radius, middle + radius)


def points(box, rng, count=50):
    """Yield points of a box, its corners among them."""
    for _ in range(count):
        share = rng.choice([0.0, 1.0, rng.random()], size=box.lo.shape)
        yield np.clip(box.lo + share * (box.hi - box.lo), box.lo, box.hi)


def holds(box, value):
    return bool((box.lo <= value).all() and (value <= box.hi).all())


@pytest.mark.parametrize("seed", range(20))
def test_boxes_hold_what_they_are_the_boxes_of(seed):
    rng = np.random.default_rng(seed)
    box, other = random_box((3, 6), rng), random_box((3, 6), rng)
    matrix = rng.standard_normal((4, 6))
    squares = boxes.square(box)
    sum_, product, through, gate = box + other, box * other, boxes.linear(matrix, box), boxes.silu(box)
    unit, scale = boxes.normed(box, squares, 1e-5), boxes.inverse_rms(squares, 1e-5)
    for x, y in zip(points(box, rng), points(other, rng), strict=True):
        rms = np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
        pairs = [(sum_, x + y), (product, x * y), (through, x @ matrix.T), (gate, x / (1 + np.exp(-x)))]
        for number, (made, value) in enumerate([*pairs, (squares, x * x), (unit, x / rms), (scale, 1 / rms)]):
            assert holds(made, value), number


@pytest.mark.parametrize("seed", range(10))
def test_a_step_of_the_scan_holds_every_step(seed):
    rng = np.random.default_rng(seed)
    block = Mamba2Block(Mamba2(Mamba2.Config(vocab_size=5, d_model=8, d_state=3, head_dim=4, dt_floor=0.3)).layers[0])
    rate_ = block.A.hi
    x, B, C, state = (random_box((2, size), rng) for size in (16, 3, 3, 48))
    dt = boxes.widen(Box(*np.sort(rng.uniform(0.3, 1.5, (2, 2, 4)), axis=0)), 0.0)
    at = Coefficients(x, B, C, dt)
    after, most = block.advance(state, at), block.bound_of_state(at)
    for h, step, input_, into in zip(*(points(box, rng) for box in (state, dt, x, B)), strict=True):
        kept = np.repeat(np.exp(-step * rate_[:, 0]), 4, axis=1)[..., None]
        added = (np.repeat(step, 4, axis=1) * input_)[..., None] * into[:, None]
        assert holds(after, (kept * h.reshape(2, 16, 3) + added).reshape(2, -1))
        assert (np.abs((kept * np.sign(added) * most.reshape(16, 3) + added).reshape(2, -1)) <= most * (1 + 1e-6)).all()

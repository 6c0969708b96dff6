"""The Triton kernels of training against the reference in double precision: values, final state and all gradients.

Without a GPU Triton's interpreter runs them, in a process of its own: it must be asked for before Triton is imported.
Inputs are slices of wider tensors, rows are ragged, every step size has a floor, and new memory holds NaN.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tallystick import models
from tallystick.kernels import gpu
from tallystick.kernels.reference import selective_scan, ssd_recurrent

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}  # of a tensor's norm
FLOOR = 0.3
IN_INTERPRETER = os.environ.get("TRITON_INTERPRET") == "1"
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="there is no triton for it")
interpreted = pytest.mark.skipif(not IN_INTERPRETER, reason="run by test_in_the_interpreter")
quiet = pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")  # the interpreter's own


@pytest.fixture(autouse=True)
def _poisoned():
    """Fill new memory with NaN, so that an output that nobody writes is seen."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


class Case:
    """Random inputs of one kernel, its call, and the reference's."""

    def __init__(self, rows, length, dtype, device, resets):
        self.rows, self.length, self.dtype, self.device = rows, length, dtype, device
        self.generator = torch.Generator(device).manual_seed(0)
        self.reset_BL = self.length_B = None
        self.counts_BL = torch.ones(rows, length, dtype=torch.bool, device=device)
        if resets:
            self.reset_BL = torch.rand(rows, length, generator=self.generator, device=device) < 0.1
            self.reset_BL[0, : min(2, length)] = True  # at the start, and two in a row
            self.length_B = torch.tensor([length] * (rows - 1) + [length * 2 // 3], device=device)
            self.counts_BL = torch.arange(length, device=device) < self.length_B[:, None]

    def normal(self, *shape, low=False):
        tensor = torch.randn(shape, generator=self.generator, device=self.device)
        return tensor.to(self.dtype) if low else tensor

    def resets(self):
        return None if self.reset_BL is None else self.reset_BL & self.counts_BL

    def steps(self, raw_dt, bias):
        return (F.softplus(raw_dt + bias) + FLOOR) * self.counts_BL[..., None]

    def with_gradients(self, form, inputs):
        """Return the results, without invalid tokens, and the gradients of a random weighting of them."""
        results = [self._valid(result) for result in form(*inputs)]
        generator = torch.Generator(self.device).manual_seed(1)
        weights = [torch.randn(r.shape, generator=generator, device=self.device) for r in results]
        loss = sum((result.double() * weight).sum() for result, weight in zip(results, weights, strict=True))
        return [*results, *torch.autograd.grad(loss, inputs)]

    def _valid(self, result):
        return result * self.counts_BL[..., None] if result.shape[:2] == self.counts_BL.shape else result

    def check(self):
        inputs = self.inputs()
        got = self.with_gradients(self.kernel, [tensor.clone().requires_grad_() for tensor in inputs])
        want = self.with_gradients(self.reference, [tensor.double().requires_grad_() for tensor in inputs])
        for i, (a, b) in enumerate(zip(got, want, strict=True)):
            error = (a.double() - b).norm() / b.norm().clamp(min=0.01)
            assert error <= TOLERANCE[self.dtype], f"tensor {i}: {error:.1e}"


class Convolution(Case):
    sizes, real = (5, 4), (1792, 4)

    def inputs(self):
        channels, taps = self.shape
        wide = self.normal(self.rows, self.length, channels + 3, low=True)
        return [wide, *(self.normal(*s) for s in [(self.rows, taps - 1, channels), (channels, 1, taps), (channels,)])]

    def kernel(self, wide, tail, weight, bias):
        from tallystick.kernels.conv_triton import conv_silu

        return [conv_silu(wide[..., 2:-1], tail, weight, bias, self.reset_BL)]

    def reference(self, wide, tail, weight, bias):
        taps, padded, keep = weight.shape[-1], torch.cat([tail, wide[..., 2:-1]], 1), torch.ones_like(wide[..., :1])
        total = bias.expand(self.rows, self.length, -1)
        for back in range(taps):
            first = taps - 1 - back
            total = total + padded[:, first : first + self.length] * keep * weight[:, 0, first]
            if self.reset_BL is not None:
                keep = keep * ~F.pad(self.reset_BL, (back, 0))[:, : self.length, None]
        return [F.silu(total)]


class Norm(Case):
    sizes, real = (5,), (1536,)

    def inputs(self):
        (channels,) = self.shape
        wide = self.normal(self.rows, self.length, channels + 2, low=True)
        return [wide, self.normal(self.rows, self.length, channels, low=True), self.normal(channels)]

    def kernel(self, wide, x, weight):
        from tallystick.kernels.norm_triton import gated_norm

        gated = gated_norm(x, wide[..., 1:-1], weight, 1e-5, self.dtype)
        return [gated, gated_norm(x, None, weight, 1e-5, torch.float32)]

    def reference(self, wide, x, weight):
        return [F.rms_norm(t, weight.shape, weight, 1e-5) for t in (x * F.silu(wide[..., 1:-1]), x)]


class SSD(Case):
    sizes, real = (3, 5, 3), (24, 64, 128)

    def inputs(self):
        heads, channels, entries = self.shape
        convolved = self.normal(self.rows, self.length, heads * channels + 2 * entries, low=True)
        wide = self.normal(self.rows, self.length, heads + 3, low=True)
        A = -self.normal(heads).exp()
        return [convolved, wide, self.normal(heads), A, self.normal(heads), self.normal(self.rows, *self.shape)]

    def kernel(self, convolved, wide, bias, A, D, state):
        from tallystick.kernels.ssd_triton import ssd

        return ssd(convolved, wide[..., 2:-1], bias, A, D, state, self.reset_BL, self.length_B, FLOOR)

    def reference(self, convolved, wide, bias, A, D, state):
        heads, channels, entries = self.shape
        x, B, C = convolved.split((heads * channels, entries, entries), -1)
        x, dt = x.unflatten(-1, (heads, channels)), self.steps(wide[..., 2:-1], bias)
        y, state = ssd_recurrent(x, dt, A, B, C, state, self.resets(), D)
        return y.flatten(2), state


class Scan(Case):
    sizes, real = (5, 3), (1536, 16)

    def inputs(self):
        channels, entries = self.shape
        shapes = [(2 * channels,), (channels,), (2 * entries + 3,)]
        low = [self.normal(self.rows, self.length, *shape, low=True) for shape in shapes]
        A, state = -self.normal(channels, entries).exp(), self.normal(self.rows, channels, entries)
        return [*low, self.normal(channels), A, self.normal(channels), state]

    def kernel(self, xz, raw_dt, wide, bias, A, D, state):
        from tallystick.kernels.scan_triton import gated_scan

        x, z = xz.chunk(2, -1)
        return gated_scan(x, z, raw_dt, bias, A, wide[..., 3:], D, state, self.reset_BL, self.length_B, FLOOR)

    def reference(self, xz, raw_dt, wide, bias, A, D, state):
        (x, z), (B, C) = xz.chunk(2, -1), wide[..., 3:].chunk(2, -1)
        y, state = selective_scan(x, self.steps(raw_dt, bias), A, B, C, state, self.resets())
        return (y + x * D) * F.silu(z), state


CASES = [Convolution, Norm, SSD, Scan]
by_case = pytest.mark.parametrize("case", CASES)
by_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


@on_linux
@pytest.mark.slow
@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) >= "2.4.0", reason="Triton's interpreter needs numpy<2.4")
def test_in_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "-k", "interpreted", "-m", ""]
    interpreter = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([*command, __file__], capture_output=True, text=True, env=interpreter)
    assert done.returncode == 0, done.stdout
    assert "37 passed" in done.stdout
    assert "skipped" not in done.stdout


@on_linux
@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels can be run")
def test_every_kernel_compiles_for_a_gpu():
    """The interpreter accepts what the compiler refuses, which needs no GPU."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("compile_triton.py")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 36


@interpreted
@quiet
@by_case
@by_dtype
@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("length", [1, 35])
def test_interpreted_kernel_equals_the_reference(case, length, resets, dtype, monkeypatch):
    """Of 35 tokens, the convolution makes 2 spans, the scan 3 chunks of 2 tiles, and the SSD 3 chunks in 2 segments."""
    from tallystick.kernels import conv_triton, scan_triton, ssd_triton

    monkeypatch.setattr(conv_triton, "SPAN", 32)
    monkeypatch.setattr(scan_triton, "MIN_CHUNK", 16)
    for name, value in {"CHUNK": 16, "SEGMENT": 1, "PROGRAMS": 12}.items():
        monkeypatch.setattr(ssd_triton, name, value)
    made = case(2, length, dtype, "cpu", resets)
    made.shape = case.sizes
    made.check()


@interpreted
@quiet
@pytest.mark.parametrize("name", ["mamba2", "mamba1", "gated-deltanet", "hybrid"])
def test_interpreted_model_equals_plain_torch(name, monkeypatch):
    """This covers carried tails and states: a chunk follows another one."""
    torch.manual_seed(0)
    sizes = {} if name == "gated-deltanet" else {"d_state": 5, "dt_floor": FLOOR}
    model = models.build(name, vocab_size=7, d_model=16, n_layer=3, **sizes)
    ids_BL, reset_BL = torch.randint(7, (2, 26)), torch.rand(2, 26) < 0.1
    results = []
    for on_gpu in (False, True):
        monkeypatch.setattr(gpu, "is_on_gpu", lambda tensor, on_gpu=on_gpu: on_gpu)
        first_BLV, state = model(ids_BL[:, :15], reset_BL=reset_BL[:, :15])
        last_BLV, state = model(ids_BL[:, 15:], state, length_B=torch.tensor([11, 4]))
        loss = first_BLV.square().sum() + last_BLV[0].square().sum() + sum(t.float().sum() for t in state.values())
        results.append([first_BLV, last_BLV[0], *state.values(), *torch.autograd.grad(loss, model.embedding.weight)])
    for plain, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4 * plain.abs().max().item())


@interpreted
@quiet
def test_interpreted_selfcheck_passes(monkeypatch):
    monkeypatch.setattr(gpu, "is_on_gpu", lambda tensor: True)
    monkeypatch.setenv("TALLYSTICK_KERNELS", "triton")
    for name in ("conv_triton", "norm_triton", "ssd_triton", "scan_triton"):
        assert gpu.load(name, torch.zeros(1)) is not None


@pytest.mark.gpu
@by_case
@by_dtype
@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("length", [9, 300])
def test_kernel_equals_the_reference(case, length, resets, dtype):
    for shape in (case.sizes, case.real):
        made = case(3, length, dtype, "cuda", resets)
        made.shape = shape
        made.check()

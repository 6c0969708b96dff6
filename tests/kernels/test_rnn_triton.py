"""The Triton kernels against the reference in double precision: values, final state and gradients.

Without a GPU Triton's interpreter runs them, in a process of its own: it must be asked for before Triton is imported.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tallystick.kernels import rnn
from tallystick.kernels.reference import gru_recurrent, lstm_recurrent

TOLERANCE = 1e-5  # of a tensor's largest entry
FORMS = {
    "lstm": (rnn.lstm, lstm_recurrent, 4, 2),
    "coupled lstm": (rnn.lstm, lstm_recurrent, 3, 2),
    "gru": (rnn.gru, gru_recurrent, 3, 1),
}
"""Fast form, reference, number of gates, number of state tensors."""
IN_INTERPRETER = os.environ.get("TRITON_INTERPRET") == "1"
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="there is no triton for it")
interpreted = pytest.mark.skipif(not IN_INTERPRETER, reason="run by test_in_the_interpreter")


def make(name, length, rows, units, device="cpu"):
    """Return the input's part of the gates (time first), weights, state, and the results' weights in the loss."""
    _, _, gates, states = FORMS[name]
    generator = torch.Generator().manual_seed(0)
    state, own = [(rows, units)] * states, (gates * units, units)
    inputs = [torch.randn(shape, generator=generator) for shape in [(length, rows, gates * units), own, *state]]
    inputs[1] /= units**0.5
    weights = [torch.randn(shape, generator=generator) for shape in [(length, rows, units), *state]]
    return [tensor.to(device).requires_grad_() for tensor in inputs], [tensor.to(device) for tensor in weights]


def make_reset(kind, length, rows, device="cpu"):
    """Return resets with rows first, as models have them: transposed, they are not contiguous."""
    if kind == "none":
        return None
    reset_BL = torch.rand(rows, length, generator=torch.Generator().manual_seed(7)) < 0.2
    reset_BL[0, :2] = True  # at the start, and two in a row
    reset_BL[1] = False
    return reset_BL.to(device)


def fast(name, inputs, weights, reset_BL):
    """Return the results, and the gradients of all inputs."""
    results = FORMS[name][0](*inputs, None if reset_BL is None else reset_BL.t())
    loss = sum((result * weight).sum() for result, weight in zip(results, weights, strict=True))
    return [*results, *torch.autograd.grad(loss, inputs)]


def reference(name, inputs, weights, reset_BL):
    """Return the results, and the gradients of all inputs, in double precision."""
    inputs = [tensor.detach().double().requires_grad_() for tensor in inputs]
    states_BLH, *results = FORMS[name][1](inputs[0].transpose(0, 1), *inputs[1:], reset_BL)
    results = [states_BLH.transpose(0, 1), *results]
    loss = sum((result * weight).sum() for result, weight in zip(results, weights, strict=True))
    return [*results, *torch.autograd.grad(loss, inputs)]


def assert_each_close(got, want):
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        atol = TOLERANCE * b.abs().max().item()
        torch.testing.assert_close(a.double(), b, rtol=0.0, atol=atol, msg=lambda m, i=i: f"tensor {i}: {m}")


@on_linux
@pytest.mark.slow
@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) >= "2.4.0", reason="Triton's interpreter needs numpy<2.4")
@pytest.mark.parametrize(("marks", "count"), [("not slow", 6), pytest.param("slow", 12, marks=pytest.mark.slow)])
def test_in_the_interpreter(marks, count):
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "-k", "interpreted", "-m", marks]
    interpreter = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([*command, __file__], capture_output=True, text=True, env=interpreter)
    assert done.returncode == 0, done.stdout
    assert f"{count} passed" in done.stdout
    assert "skipped" not in done.stdout


@on_linux
@pytest.mark.slow
def test_without_a_folder_for_kernels():
    """The state of a user without a home: a temporary folder is used, and removed in the end."""
    code = """
from tallystick.kernels import rnn_triton
from triton.runtime.cache import FileCacheManager
print(FileCacheManager("key").put(b"", "file"))
"""
    own = {key: value for key, value in os.environ.items() if not key.startswith("TRITON")} | {"HOME": "/dev/null"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=own)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("tallystick: Triton finds no writable folder")
    assert not Path(done.stdout.strip()).exists()


@interpreted
@pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")  # the interpreter's own
@pytest.mark.parametrize("kind", [pytest.param("none", marks=pytest.mark.slow), "resets"])
# Few rows have a program each; of many, 16 share one, and the last program has fewer.
@pytest.mark.parametrize(("rows", "length"), [pytest.param(2, 1, marks=pytest.mark.slow), (2, 5), (35, 3)])
@pytest.mark.parametrize("name", FORMS)
def test_interpreted_kernel_equals_the_reference(name, rows, length, kind, monkeypatch):
    monkeypatch.setattr(rnn, "_on_gpu", lambda tensor: True)
    inputs, weights = make(name, length, rows, units=32)
    reset_BL = make_reset(kind, length, rows)
    assert_each_close(fast(name, inputs, weights, reset_BL), reference(name, inputs, weights, reset_BL))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["none", "resets"])
@pytest.mark.parametrize("rows", [16, 128])
@pytest.mark.parametrize("units", [128, 256])
@pytest.mark.parametrize("name", FORMS)
def test_kernel_equals_the_reference(name, units, rows, kind):
    inputs, weights = make(name, 128, rows, units, "cuda")
    reset_BL = make_reset(kind, 128, rows, "cuda")
    want = reference(name, inputs, weights, reset_BL)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):  # compiled before it is captured
        assert_each_close(fast(name, inputs, weights, reset_BL), want)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = fast(name, inputs, weights, reset_BL)
    for tensor in got:
        tensor.detach().fill_(torch.nan)
    graph.replay()
    assert_each_close(got, want)

"""Mamba-2's compiled block against the plain one on the reference's recurrence, in double precision."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

import tallystick
from tallystick.kernels import mamba2_numba
from tallystick.models import mamba2
from tallystick.models.state_space import PackedRows

BATCH, WIDTH = 3, 12
VALUES, GRADIENTS = 3e-6, 1e-5  # of a tensor's largest entry, or of one where that is smaller
LENGTHS = [1, 2, 3, 16, 17, 100]


def make_block(head_dim=8, d_conv=4, dt_floor=0.0):
    """Return a block whose parameters are moved away from their initial values, and its empty state."""
    torch.manual_seed(0)
    sizes = {"head_dim": head_dim, "d_conv": d_conv, "dt_floor": dt_floor}
    config = mamba2.Mamba2.Config(vocab_size=5, d_model=WIDTH, d_state=6, **sizes)
    block = mamba2.Block(config)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        block.A_log[0] = -1.0  # with a floor, A is 1 there
    return block, config, block.init_state(BATCH)


def masks(kind, length):
    """Return resets (at the start, two in a row, around the end of the first block of tokens) and lengths."""
    reset_BL = torch.rand(BATCH, length, generator=torch.Generator().manual_seed(7)) < 0.08
    reset_BL[0, :2] = True
    reset_BL[1, 15:17] = True
    length_B = torch.tensor([length, length // 2, 0])
    return reset_BL if "resets" in kind else None, length_B if "ragged" in kind else None


def counting(out_BLE, length_B):
    """Return the result with invalid tokens set to zero."""
    if length_B is None:
        return out_BLE
    return out_BLE * (torch.arange(out_BLE.shape[1]) < length_B[:, None])[..., None]


def run(block, config, empty, length, kind, dtype):
    """Return the three results, and the gradients of inputs and parameters for a random weighting of them."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(BATCH, length, WIDTH), *(tensor.shape for tensor in empty)]
    inputs, weights = ([torch.randn(shape, generator=generator) for shape in shapes] for _ in range(2))
    inputs = [tensor.to(dtype).requires_grad_() for tensor in inputs]
    reset_BL, length_B = masks(kind, length)
    rows = PackedRows(torch.zeros(BATCH, length), reset_BL, length_B, config)
    block = block.to(dtype)
    out_BLD, *states = block(*inputs, rows)
    results = [counting(out_BLD, length_B), *states]
    loss = sum((result * weight).sum() for result, weight in zip(results, weights, strict=True))
    return results, torch.autograd.grad(loss, [*inputs, *block.parameters()])


def assert_each_close(got, want, atol):
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        scale = max(1.0, b.abs().max().item())
        torch.testing.assert_close(a.double(), b, rtol=0.0, atol=atol * scale, msg=lambda m, i=i: f"tensor {i}: {m}")


@pytest.fixture
def calls(monkeypatch):
    """Return a list that grows with each call of the compiled block; the plain one always uses the recurrence."""
    made = []
    monkeypatch.setattr(mamba2, "MAX_LOOP", max(LENGTHS))
    apply = mamba2_numba._Mix.apply
    monkeypatch.setattr(mamba2_numba._Mix, "apply", lambda *given: made.append(1) or apply(*given))
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
    """Use one head and eight, and convolutions that reach back less and more."""
    got, got_gradients = run(*make_block(head_dim, d_conv), 40, "resets", torch.float32)
    want, want_gradients = run(*make_block(head_dim, d_conv), 40, "resets", torch.float64)
    assert len(calls) == 1
    assert_each_close([*got, *got_gradients], [*want, *want_gradients], GRADIENTS)


@pytest.mark.parametrize("kind", ["whole", "resets, ragged"])
def test_a_floor_of_the_step_size(calls, kind):
    got, got_gradients = run(*make_block(dt_floor=0.7), 40, kind, torch.float32)
    want, want_gradients = run(*make_block(dt_floor=0.7), 40, kind, torch.float64)
    assert len(calls) == 1
    assert_each_close([*got, *got_gradients], [*want, *want_gradients], GRADIENTS)
    without, _ = run(*make_block(), 40, kind, torch.float64)
    assert (want[0] - without[0]).abs().max() > 0.01


def test_large_and_absurd_numbers(calls):
    """Sigmoid and softplus have extreme arguments, and the decay is strong; NaN stays NaN."""
    block, config, empty = make_block()
    with torch.no_grad():
        block.in_proj.weight *= 40.0
    got, _ = run(block, config, empty, 40, "whole", torch.float32)
    want, _ = run(block, config, empty, 40, "whole", torch.float64)
    assert_each_close(got, want, 1e-4)
    x_BLD = torch.zeros(BATCH, 40, WIDTH)
    x_BLD[1, 20] = torch.nan
    out_BLD = block.float()(x_BLD, *empty, PackedRows(x_BLD[..., 0], None, None, config))[0]
    assert out_BLD[1, 20:].isnan().all()
    assert out_BLD[[0, 2]].isfinite().all()


def test_zero_tokens_leave_the_states_bit_for_bit():
    block, config, empty = make_block()
    states = [torch.randn_like(tensor) for tensor in empty]
    rows = PackedRows(torch.zeros(BATCH, 4), None, torch.zeros(BATCH, dtype=torch.int64), config)
    for got, want in zip(block(torch.randn(BATCH, 4, WIDTH), *states, rows)[1:], states, strict=True):
        torch.testing.assert_close(got, want, rtol=0.0, atol=0.0)


@pytest.mark.parametrize("kind", ["odd", "large", "double", "without numba"])
def test_what_is_left_to_torch(calls, kind, monkeypatch):
    if kind == "without numba":
        monkeypatch.setattr(mamba2, "load_compiled", lambda: None)
    sizes = {"odd": {"d_state": 5}, "large": {"d_state": 1024}}.get(kind, {})
    model = mamba2.Mamba2(mamba2.Mamba2.Config(vocab_size=5, **sizes)).to(torch.float64 if kind == "double" else None)
    model(torch.zeros(1, 20, dtype=torch.int64))
    assert not calls


def test_numba_that_does_not_work_is_said_once(monkeypatch, capsys):
    """This happens after an update of Python or numpy that numba does not support."""
    monkeypatch.setitem(sys.modules, "tallystick.kernels.mamba2_numba", None)  # its import raises ImportError
    monkeypatch.setattr(mamba2, "load_compiled", cache(mamba2.load_compiled.__wrapped__))
    model = mamba2.Mamba2(mamba2.Mamba2.Config(vocab_size=5))
    for _ in range(2):
        model(torch.zeros(1, 20, dtype=torch.int64))
    said = capsys.readouterr().err
    assert said.startswith("tallystick: numba is installed but does not work (")
    assert said.count("\n") == 1


def run_apart(code, folder, environment):
    """Run code in a separate process, on a copy of the package."""
    shutil.copytree(Path(tallystick.__file__).parent, folder / "tallystick", ignore=lambda *_: ["__pycache__"])
    (folder / "tallystick" / "kernels" / "__pycache__").touch()  # a file: no folder can be made here
    own = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA", "XDG"))}
    own |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/dev/null", **environment}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=own, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_without_a_folder_for_compiled_code(tmp_path):
    """A user without a home folder uses a package that another user has installed."""
    code = "from tallystick.kernels.mamba2_numba import _sigmoid; assert _sigmoid(0.0) == 0.5"
    said = run_apart(code, tmp_path, {})
    assert said.startswith("tallystick: numba finds no writable folder")
    assert said.count("\n") == 1


@pytest.mark.slow
def test_compiled_code_that_cannot_be_read_back(tmp_path):
    """A crash or a full disk may have left empty files."""
    code = """
import os, pathlib
from tallystick.kernels.mamba2_numba import _sigmoid
from tallystick.kernels.numba_jit import run
run(_sigmoid, 0.0)
files = list(pathlib.Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.nbi"))
assert files
for file in files:
    file.write_bytes(b"")
run(_sigmoid, 0)
run(_sigmoid, True)
"""
    said = run_apart(code, tmp_path, {"NUMBA_CACHE_DIR": str(tmp_path / "cache")})
    assert said.startswith("tallystick: numba cannot store compiled code (EOFError")
    assert said.count("\n") == 1

"""Decoding by the Triton kernel against torch: values, states, and half-trained models' episodes to their ends.

Without a GPU Triton's interpreter runs the kernel, in a process of its own: it must be asked for before Triton is
imported. It takes some 50 ms a token, so that models and problems are as small as can be.
"""

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from tallystick import engine, models, runs, tasks
from tallystick.engine import gpu_packing, reader
from tallystick.engine.reader import Eager, open_reader
from tallystick.engine.session import Session
from tallystick.episode import Recorder, StopReason
from tallystick.evaluation.verify import verify
from tallystick.models import mamba2
from tallystick.tools import arrays
from tallystick.tools.shell.fast import FastShell

VALUES = 1e-5  # of the largest logit, and of the largest entry of a state
MARGINS = 1e-4  # logits are about 10
IN_INTERPRETER = os.environ.get("TRITON_INTERPRET") == "1"
PLACES = [
    pytest.param("interpreted", marks=pytest.mark.skipif(not IN_INTERPRETER, reason="run by test_in_the_interpreter")),
    pytest.param("cuda", marks=pytest.mark.gpu),
]
SMALL = {"d_model": 16, "d_state": 4, "head_dim": 8, "n_layer": 1}
SIZES = {
    "three layers": {"d_model": 12, "d_state": 5, "head_dim": 8, "d_conv": 2, "n_layer": 3},
    "odd": {"d_model": 11, "d_state": 1, "head_dim": 1, "d_conv": 7, "expand": 3, "tied": False},
    "a floor": {**SMALL, "dt_floor": 2.0},
    "many tokens": {**SMALL, "vocab_size": 1500},
    "eight warps": {"d_model": 64, "expand": 4, "n_layer": 1},
    "sixteen warps": {"d_model": 128, "n_layer": 1},
}
slow = pytest.mark.slow
HALF_TRAINED = [
    pytest.param("reverse", 1e-3, 1, id="pointer", marks=slow),
    pytest.param("turing:bb3", 1e-3, 2, id="tape"),
    pytest.param("turing-universal:bb3", 1e-4, 2, id="search", marks=slow),
    pytest.param("turing:bb3:1,reverse:1", 1e-4, 1, id="mixture", marks=slow),
]
"""Task, ridge and length of the problems."""
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="there is no triton for it"),
    # the interpreter's own:
    pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),
]


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) >= "2.4.0", reason="Triton's interpreter needs numpy<2.4")
@pytest.mark.skipif(IN_INTERPRETER, reason="it is the interpreter")
@pytest.mark.parametrize(("marks", "count"), [("not slow", 5), pytest.param("slow", 15, marks=slow)])
def test_in_the_interpreter(marks, count):
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "-k", "interpreted", "-m", marks]
    interpreter = {**os.environ, "TRITON_INTERPRET": "1"}
    files = [__file__, str(Path(__file__).parents[1] / "tools" / "test_compiled_triton.py")]
    done = subprocess.run([*command, *files], capture_output=True, text=True, env=interpreter)
    assert done.returncode == 0, done.stdout
    assert f"{count} passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.fixture(params=PLACES)
def device(request, monkeypatch):
    """Return where the kernel runs; models are compared with torch by the tests themselves."""
    place = torch.device("cpu" if request.param == "interpreted" else "cuda")
    if request.param == "interpreted":
        from tallystick.engine import gpu

        monkeypatch.setattr(gpu_packing, "device", lambda: place)
        monkeypatch.setattr(gpu.OnGPU, "check", lambda reader, eager: None)
    return place


@pytest.fixture
def taught(fitted, device):
    """Return a function that makes a task, a half-trained model and problems that it has not been taught."""

    def teach(name, ridge, length, count):
        task = tasks.load(name)
        length, settings = max(task.min_length, length), SMALL if device.type == "cpu" else {}
        known = [task.problem("train", 0, length, i) for i in range(20)]
        model = fitted("mamba2:tiny", task, known, ridge, tied=False, **settings).to(device)
        return task, model, [task.problem("test", 0, length, i) for i in range(count)]

    return teach


def assert_close(got, want):
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0.0, atol=VALUES * max(float(np.abs(want).max()), 1e-6))


def assert_same(some, others):
    for one, other in zip(some, others, strict=True):
        values, margins = [], []
        for result in (one, other):
            fields = asdict(result)
            error = fields["first_error"] or {"margin": 0.0}
            margins.append([fields.pop("min_margin"), error.pop("margin")])
            values.append(fields)
        assert values[0] == values[1]
        assert margins[0] == pytest.approx(margins[1], abs=MARGINS, nan_ok=True)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name == "many tokens" else slow) for name in SIZES])
def test_logits_margins_and_states_are_those_of_torch(device, name):
    torch.manual_seed(0)
    model = models.build("mamba2:tiny", **{"vocab_size": 37, **SIZES[name]})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    eager, kernel = Eager(model.to(device)), open_reader(model, "cuda")
    for unread, kept in (([[1, 36, 5], [7]], [1, 0]), ([[3], [2, 4]], [0, 1])):
        for want, got in zip(eager.read(unread), kernel.read(unread), strict=True):
            assert_close(got.logits_V, want.logits_V)
            assert got.margin == pytest.approx(want.margin, abs=2 * VALUES * float(np.abs(want.logits_V).max()))
            assert (got.token, got.silent) == (want.token, want.silent)
        eager.keep(kept)
        kernel.keep(kept)
    assert eager.state.keys() == kernel.state.keys()
    for part, tensor in eager.state.items():
        assert_close(kernel.state[part].cpu().numpy(), tensor.cpu().numpy())


def test_long_texts_are_read_in_chunks(device, monkeypatch):
    from tallystick.engine import slots

    torch.manual_seed(0)
    model = models.build("mamba2:tiny", **{"vocab_size": 37, **SMALL, "d_conv": 3}).to(device)
    eager, kernel = Eager(model), open_reader(model, "cuda")
    monkeypatch.setattr(slots, "LONG", 3)
    monkeypatch.setattr(model, "verify_chunk_gpu", 2)
    for unread in ([1, 36, 5, 7, 9, 11, 3], [7], [2, 2, 8, 1]), ([3, 1], [4, 5, 6, 30, 31], [20]), ([1], [2], [3]):
        for want, got in zip(eager.read(unread), kernel.read(unread), strict=True):
            assert_close(got.logits_V, want.logits_V)
    for part, tensor in eager.state.items():
        assert_close(kernel.state[part].cpu().numpy(), tensor.cpu().numpy())


@pytest.mark.parametrize(("name", "ridge", "length"), HALF_TRAINED)
def test_generate_is_that_of_torch_and_verify(taught, name, ridge, length):
    task, model, tested = taught(name, ridge, length, 2)
    by_torch, by_kernel = (engine.generate(model, task, tested, backend=b, max_tokens=60) for b in ("eager", "cuda"))
    assert_same(by_kernel, by_torch)
    for one, other in zip(verify(model, task, tested), by_kernel, strict=True):
        if other.stop != StopReason.TOKEN_LIMIT:
            assert (one.exact, one.model_tokens) == (other.exact, other.model_tokens)


@slow
def test_slots_are_reused_and_memories_and_buffers_outgrow_their_room(taught, monkeypatch):
    from tallystick.engine import pool

    task, model, tested = taught("turing:bb3", 1e-6, 2, 3)
    want = engine.generate(model, task, tested, backend="cuda", max_tokens=50)
    monkeypatch.setattr(pool, "EPISODES", 2)
    monkeypatch.setattr(pool, "STEPS", 7)
    monkeypatch.setattr(arrays, "CAPACITY", 1)
    assert engine.generate(model, task, tested, backend="cuda", max_tokens=50) == want


@pytest.mark.parametrize("limit", [6, pytest.param(9, marks=slow)])
def test_limits_and_sinks(taught, limit):
    task, model, (prompt,) = taught("reverse", 1e-3, 1, 1)
    sinks = {"eager": Recorder(), "cuda": Recorder()}
    results = [
        engine.generate(model, task, [prompt], max_tokens=limit, sink=sink, backend=backend)
        for backend, sink in sinks.items()
    ]
    assert_same(*results)
    assert np.array_equal(sinks["cuda"].ids, sinks["eager"].ids)
    assert np.array_equal(sinks["cuda"].roles, sinks["eager"].roles)


@slow
@pytest.mark.parametrize("value", [0.0, torch.nan])
@pytest.mark.parametrize("name", ["reverse", "turing-universal:bb3"])
def test_a_model_that_abstains_or_is_broken(device, value, name):
    task = tasks.load(name)
    model = models.build("mamba2:tiny", vocab_size=len(task.vocab), tied=False, **SMALL).to(device)
    with torch.no_grad():
        model.head.weight.fill_(value)
    prompt = task.problem("test", 0, task.min_length, 0)
    results = [engine.generate(model, task, [prompt], backend=backend) for backend in ("eager", "cuda")]
    assert_same(*results)
    assert results[1][0].stop == (StopReason.BAD_COMMAND if value else StopReason.UNSEEN)


@slow
@pytest.mark.skipif(not IN_INTERPRETER, reason="run by test_in_the_interpreter")
def test_interpreted_kernel_that_differs_from_torch_is_refused(monkeypatch):
    from tallystick.engine import gpu

    monkeypatch.setattr(gpu_packing, "device", lambda: torch.device("cpu"))
    monkeypatch.setattr(gpu, "TOLERANCE", 0.0)
    monkeypatch.setattr(gpu, "CHECKED", set())
    with pytest.raises(ValueError, match="the backend cuda differs from torch by .* use --backend eager"):
        open_reader(models.build("mamba2:tiny", vocab_size=9, **SMALL), "cuda")


def test_out_of_memory_names_what_fits(monkeypatch):
    from tallystick.engine import gpu, slots

    def run(slots, live, low, steps):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(gpu_packing, "device", lambda: torch.device("cpu"))
    monkeypatch.setattr(gpu.OnGPU, "check", lambda reader, eager: None)
    monkeypatch.setattr(slots.Slots, "run", run)
    task = tasks.load("reverse")
    model = models.build("mamba2:tiny", vocab_size=len(task.vocab), **SMALL)
    with pytest.raises(ValueError, match="8 episodes at once do not fit into the GPU's memory; evaluate 4 at a time"):
        engine.generate(model, task, [["1", ">"]] * 8, backend="cuda")


class Own(mamba2.Mamba2):
    """A user's class, which may compute something else."""


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        (lambda: models.build("gru", vocab_size=9), "runs Mamba2, not GRU"),
        (lambda: Own(mamba2.Mamba2.Config(vocab_size=9)), "not Own"),
        (lambda: models.build("mamba2:tiny", vocab_size=9).double(), "in float32, not in float64"),
        (lambda: models.build("mamba2:tiny", vocab_size=9, d_model=160), "supports d_model up to 128, not 160"),
        (lambda: models.build("mamba2:tiny", vocab_size=9, expand=8), "d_model up to 256, not 512"),
        (lambda: models.build("mamba2:tiny", vocab_size=9, d_state=128), "d_state up to 64, not 128"),
    ],
)
def test_models_that_are_refused(model, wrong):
    with pytest.raises(ValueError, match=wrong):
        open_reader(model(), "cuda")


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (None, "needs an NVIDIA GPU, and torch finds none; use --backend cpu or eager"),
        ((7, 5), "has compute capability 7.5; the backend cuda needs 8.0"),
        ((9, 0), "needs Triton, which is missing: pip install triton"),
    ],
)
def test_machines_that_are_refused(monkeypatch, capsys, found, wrong):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found is not None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: found)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA T4")
    monkeypatch.setattr(gpu_packing, "find_spec", lambda name: None)
    model = models.build("mamba2:tiny", vocab_size=9)
    with pytest.raises(ValueError, match=wrong):
        open_reader(model, "cuda")
    reader._say.cache_clear()
    for _ in range(2):
        assert isinstance(reader._open_on_gpu_or_eager(model), Eager)
    said = capsys.readouterr().err
    assert said.startswith("tallystick: the ")
    assert said.endswith("; torch is used\n")
    assert said.count("\n") == 1


@pytest.mark.gpu
def test_auto_on_a_gpu_is_the_kernel_where_that_is_supported():
    assert open_reader(models.build("mamba2:tiny", vocab_size=9).cuda()).backend == "cuda"
    assert open_reader(models.build("gru:tiny", vocab_size=9).cuda()).backend == "eager"


@pytest.mark.gpu
def test_a_session_of_a_trained_model_is_the_same_as_with_torch():
    """Its prompt and the answers to its commands, of hundreds of tokens, are read in one piece."""
    run = runs.load(Path(__file__).parents[2] / "models" / "codefix")
    problem, turns = run.task.problem("test", 0, 4, 0), {"eager": [], "cuda": []}
    for backend, said in turns.items():
        session, shell = Session(run.model, run.task, run.task.default_prompt, backend), FastShell(problem.files)
        while not said or said[-1].command is not None:
            if said:
                session.hear(shell.run(said[-1].command))
            said.append(session.speak())
        said.append((session.tokens, session.state_bytes))
    assert turns["eager"] == turns["cuda"]
    assert len(turns["cuda"]) > 4

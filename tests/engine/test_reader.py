"""The compiled step against torch: values, states and margins; bit for bit whatever the batch; and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tallystick import models, runs
from tallystick.engine import packing, reader
from tallystick.engine.reader import Compiled, Eager, in_rows, open_reader
from tallystick.engine.session import Session
from tallystick.models import mamba2
from tallystick.tools.shell.fast import FastShell

pytest.importorskip("numba")
VALUES = 1e-5  # of the largest logit, and of the largest entry of a state
VOCAB = 37
LENGTHS = [[1, 1, 1], [5, 1, 90], [1, 70, 2], [3, 3, 3], [1, 1, 1]]
"""Numbers of tokens of three sequences, of several calls."""
SIZES = {
    "mamba2:tiny": {},
    "mamba2:small": {},
    "mamba1:tiny": {},
    "mamba1:small": {},
    "lstm:tiny": {},
    "lstm:small": {},
    "gru:tiny": {},
    "gru:small": {},
    "mamba2:tiny one channel a head": {"head_dim": 1, "d_state": 5, "d_conv": 2, "expand": 3, "d_model": 11},
    "mamba2:tiny one head": {"head_dim": 24, "d_state": 1, "d_conv": 7, "d_model": 12, "tied": False, "n_layer": 1},
    "mamba1:tiny odd": {"d_state": 3, "d_conv": 2, "expand": 3, "d_model": 19, "tied": False, "n_layer": 3},
    "mamba2:tiny with a floor": {"dt_floor": 2.0},
    "mamba1:tiny with a floor": {"dt_floor": 0.5},
    "lstm:tiny four gates": {"coupled": False, "n_layer": 3, "d_model": 21},
    "lstm:tiny deep": {"n_layer": 2, "d_model": 1},
    "gru:tiny deep": {"n_layer": 3, "d_model": 18},
}


def make_model(name):
    """Return a model whose parameters are moved away from their initial values."""
    torch.manual_seed(0)
    model = models.build(name.split()[0], vocab_size=VOCAB, **SIZES[name])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def calls(seed=0):
    """Return the tokens of each sequence of each call."""
    rng = np.random.default_rng(seed)
    return [[rng.integers(VOCAB, size=length).tolist() for length in lengths] for lengths in LENGTHS]


def assert_close(got, want):
    scale = max(float(np.abs(want).max()), 1e-6)
    np.testing.assert_allclose(got, want, rtol=0.0, atol=VALUES * scale)


@pytest.mark.parametrize("name", SIZES)
def test_logits_margins_and_states_are_those_of_torch(name):
    model = make_model(name)
    eager, compiled = Eager(model), open_reader(model, "cpu")
    for unread in calls():
        for want, got in zip(eager.read(unread), compiled.read(unread), strict=True):
            assert_close(got.logits_V, want.logits_V)
            assert got.margin == pytest.approx(want.margin, abs=2 * VALUES * float(np.abs(want.logits_V).max()))
            assert (got.token, got.silent) == (want.token, want.silent)
    assert eager.state.keys() == compiled.state.keys()
    for part, tensor in eager.state.items():
        assert_close(compiled.state[part].numpy(), tensor.numpy())


@pytest.mark.parametrize("name", SIZES)
def test_batch_and_chunks_change_no_bit(name):
    model = make_model(name)
    together = Compiled(model)
    logits = [together.read_all(unread) for unread in calls()]
    for sequence in range(3):
        alone, steps = Compiled(model), Compiled(model)
        for unread, want in zip(calls(), logits, strict=True):
            got = alone.read_all([unread[sequence]])
            for token in unread[sequence]:
                last = steps.read_all([[token]])
            assert np.array_equal(got[0, :VOCAB], want[sequence, :VOCAB])
            assert np.array_equal(last[0, :VOCAB], want[sequence, :VOCAB])
        assert np.array_equal(alone.states_BZ[0], together.states_BZ[sequence])
        assert np.array_equal(steps.states_BZ[0], together.states_BZ[sequence])


@pytest.mark.parametrize("name", ["mamba2:tiny", "mamba1:tiny odd", "lstm:tiny", "gru:tiny deep"])
def test_sequences_are_dropped_and_states_go_both_ways(name):
    model = make_model(name)
    eager, compiled = Eager(model), Compiled(model)
    first, second, *_ = calls()
    for each in (eager, compiled):
        each.read(first)
        each.keep([2, 0])
    kept = [second[2], second[0]]
    for want, got in zip(eager.read(kept), compiled.read(kept), strict=True):
        assert_close(got.logits_V, want.logits_V)
    assert np.array_equal(compiled.packed.pack_state(compiled.state), compiled.states_BZ)


def test_sixty_five_sequences_take_two_passes():
    model = make_model("gru:tiny")
    unread = [[token % VOCAB, 3] for token in range(65)]
    for want, got in zip(Eager(model).read(unread), Compiled(model).read(unread), strict=True):
        assert_close(got.logits_V, want.logits_V)


def test_rows_come_by_time_and_then_by_sequence():
    id_R, slot_R, last_R = in_rows([[7, 8], [9], [4, 5, 6]])
    assert id_R.tolist() == [7, 9, 4, 8, 5, 6]
    assert slot_R.tolist() == [0, 1, 2, 0, 2, 2]
    assert last_R.tolist() == [-1, 1, -1, 0, -1, 2]


@pytest.mark.parametrize("name", ["mamba2:tiny", "mamba1:tiny", "lstm:tiny", "gru:tiny"])
def test_nan_stays_nan(name):
    model = make_model(name)
    with torch.no_grad():
        next(model.layers[0].parameters())[0] = torch.nan
    (want,), (got,) = (each.read([[1, 2]]) for each in (Eager(model), Compiled(model)))
    assert np.isnan(want.logits_V).all()
    assert np.isnan(got.logits_V).all()
    assert np.isnan(got.margin)
    assert (got.token, got.silent) == (want.token, want.silent)


@pytest.mark.parametrize(
    ("logits", "said"),
    [
        ([1.0, 3.0, 2.0], (1, 1.0, False)),
        ([3.0, 3.0, 2.0], (0, 0.0, False)),
        ([2.0, 2.0, 2.0], (0, 0.0, True)),
        ([-np.inf, 0.0, -np.inf], (1, np.inf, False)),
        ([1.0, np.nan, 2.0], (1, np.nan, False)),
        ([np.nan, np.nan, 2.0], (0, np.nan, False)),
    ],
)
def test_greedy(logits, said):
    token, margin, silent = packing.compiled_step().greedy(np.array(logits, np.float32))
    assert (token, silent) == (said[0], said[2])
    assert margin == pytest.approx(said[1], nan_ok=True)


def test_a_model_that_is_trained_on_is_packed_anew():
    model = make_model("gru:tiny")
    before = Compiled(model).read([[1]])[0].logits_V
    with torch.no_grad():
        model.head.weight *= 2
    assert_close(Compiled(model).read([[1]])[0].logits_V, 2 * before)


class Own(mamba2.Mamba2):
    """A user's class, which may compute something else."""


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        (lambda: models.build("pythia", vocab_size=9), "runs Mamba2, Mamba1, LSTM, GRU, not Pythia"),
        (lambda: Own(mamba2.Mamba2.Config(vocab_size=9)), "not Own"),
        (lambda: models.build("gru", vocab_size=9).double(), "in float32 on the cpu, not in float64 on cpu"),
    ],
)
def test_what_is_left_to_torch(model, wrong):
    model = model()
    assert isinstance(open_reader(model), Eager)
    with pytest.raises(ValueError, match=wrong):
        open_reader(model, "cpu")


def test_backends():
    model = models.build("gru", vocab_size=9)
    assert isinstance(open_reader(model), Compiled)
    assert isinstance(open_reader(model, "eager"), Eager)
    with pytest.raises(ValueError, match="unknown backend 'fast'; there are: auto, cpu, cuda, eager"):
        open_reader(model, "fast")


def test_without_numba_torch_is_used_and_that_is_said_once(monkeypatch, capsys):
    monkeypatch.setattr(reader, "find_spec", lambda name: None)
    monkeypatch.setattr(packing.numba_jit, "find_spec", lambda name: None)
    for cached in (reader._has_numba, packing.compiled_step):
        cached.cache_clear()
    try:
        model = models.build("gru", vocab_size=9)
        assert isinstance(open_reader(model), Eager)
        assert isinstance(open_reader(model), Eager)
        with pytest.raises(ValueError, match="needs numba, which is missing"):
            open_reader(model, "cpu")
        said = capsys.readouterr().err
        assert said.startswith("tallystick: numba is not installed")
        assert said.count("\n") == 1
    finally:
        reader._has_numba.cache_clear()
        packing.compiled_step.cache_clear()


def test_a_session_of_a_trained_model_is_the_same_on_both_backends():
    """Its prompt and the answers to its commands, of hundreds of tokens, are read in one piece."""
    run = runs.load(Path(__file__).parents[2] / "models" / "codefix")
    problem = run.task.problem("test", 0, 4, 0)
    turns = {"eager": [], "cpu": []}
    for backend, said in turns.items():
        session, shell = Session(run.model, run.task, run.task.default_prompt, backend), FastShell(problem.files)
        while True:
            said.append(session.speak())
            if said[-1].command is None:
                break
            session.hear(shell.run(said[-1].command))
        state = session._reader.state
        turns[backend].append((session.tokens, session.state_bytes, {part: t.shape for part, t in state.items()}))
    assert turns["eager"] == turns["cpu"]
    assert turns["cpu"][-2].stop == "eos"
    assert len(turns["cpu"]) > 4

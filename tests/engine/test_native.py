"""Episodes in machine code against torch and Python's tools: half-trained models, with every way in which they end."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from tallystick import engine, models, tasks
from tallystick.engine import native, native_numba
from tallystick.engine.reader import Compiled
from tallystick.episode import Recorder, StopReason
from tallystick.evaluation.verify import verify
from tallystick.tools import arrays

pytest.importorskip("numba")
MARGINS = 1e-4
"""Difference of margins; logits are about 10."""
MIXTURE = "turing:bb3:1,sort:3,reverse:1"
HALF_TRAINED = [
    ("addition", "gru:tiny", 1e-6, {"d_model": 64}),
    ("addition", "mamba2:tiny", 1e-6, {"tied": False}),
    ("reverse", "lstm:tiny", 1e-6, {"coupled": False}),
    ("reverse", "mamba1:tiny", 1e-3, {"tied": False}),
    ("turing:bb4", "gru:tiny", 1e-3, {}),
    ("turing:bb4", "mamba2:tiny", 1e-6, {"tied": False}),
    ("turing-universal:bb3", "lstm:tiny", 1e-4, {}),
    ("multiplication-2", "gru:tiny", 1e-6, {}),
    ("sort", "mamba2:tiny", 1e-6, {"tied": False, "d_model": 32}),
    (MIXTURE, "gru:tiny", 1e-6, {}),
    ("chomsky:parity-check", "lstm:tiny", 1.0, {}),
]
LONG = 3
"""Length of the problems."""


def problems(task, split, count):
    return [task.problem(split, 0, max(task.min_length, LONG), i) for i in range(count)]


@pytest.fixture(scope="session")
def taught(fitted):
    """Return a function that makes the task and a half-trained model, once for the same arguments."""
    made = {}

    def teach(name, model, ridge, settings):
        key = name, model, ridge
        if key not in made:
            task = tasks.load(name)
            made[key] = task, fitted(model, task, problems(task, "train", 20), ridge, **settings)
        return made[key]

    return teach


@pytest.fixture
def ran(monkeypatch):
    """Return a list that grows with each batch of episodes that runs in machine code."""
    made, run = [], native.Episodes.run
    monkeypatch.setattr(native.Episodes, "run", lambda episodes: made.append(1) or run(episodes))
    return made


def facts(result):
    """Return what is compared exactly, and the margins."""
    values = asdict(result)
    error = values["first_error"] or {"margin": 0.0}
    return values, [values.pop("min_margin"), error.pop("margin")]


def assert_same(some, others):
    for one, other in zip(some, others, strict=True):
        (one, margins), (other, wanted) = facts(one), facts(other)
        assert one == other
        assert margins == pytest.approx(wanted, abs=MARGINS, nan_ok=True)


@pytest.mark.parametrize(("name", "model", "ridge", "settings"), HALF_TRAINED)
def test_generate_is_verify_on_every_backend(taught, ran, name, model, ridge, settings):
    task, model = taught(name, model, ridge, settings)
    tested = problems(task, "test", 4)
    by_torch, by_loop = (engine.generate(model, task, tested, backend=backend) for backend in ("eager", "cpu"))
    assert len(ran) == ("universal" not in name)  # whose tool is the search
    assert_same(by_loop, by_torch)
    for one, other in zip(verify(model, task, tested), by_loop, strict=True):
        assert (one.exact, one.model_tokens) == (other.exact, other.model_tokens)
        assert (one.first_error or {}).get("position") == (other.first_error or {}).get("position")


def test_half_trained_models_end_in_many_ways(taught):
    """The test above is only as good as its models."""
    stops, exact = set(), set()
    for kind in HALF_TRAINED:
        task, model = taught(*kind)
        for result in engine.generate(model, task, problems(task, "test", 4)):
            stops.add(result.stop)
            exact.add(result.exact)
    assert stops >= {StopReason.EOS, StopReason.TOKEN_LIMIT, StopReason.BAD_COMMAND}
    assert exact == {True, False}


def test_two_runs_are_equal_bit_for_bit_and_a_batch_to_single_ones(taught):
    task, model = taught(*HALF_TRAINED[1])
    tested = problems(task, "test", 4)
    first, again = (engine.generate(model, task, tested, backend="cpu") for _ in range(2))
    alone = [engine.generate(model, task, [prompt], backend="cpu")[0] for prompt in tested]
    for index, result in enumerate(alone):
        result.index = index
        if result.first_error:
            result.first_error["index"] = index
    low = [result.low_margin_tokens for result in first]
    assert first == again
    assert [*map(asdict, first)] == [
        asdict(result) | {"low_margin_tokens": n} for result, n in zip(alone, low, strict=True)
    ]


@pytest.mark.parametrize("kind", [HALF_TRAINED[5], HALF_TRAINED[9]])
def test_buffers_and_tools_outgrow_their_room(taught, monkeypatch, kind):
    task, model = taught(*kind)
    tested = problems(task, "test", 6)
    want = engine.generate(model, task, tested, backend="cpu", max_tokens=300)
    monkeypatch.setattr(native, "BUFFER", 7)
    monkeypatch.setattr(arrays, "CAPACITY", 1)
    ends = []
    run = native_numba.run
    monkeypatch.setattr(native_numba, "run", lambda *given: ends.append(run(*given)) or ends[-1])
    assert engine.generate(model, task, tested, backend="cpu", max_tokens=300) == want
    assert {why for why, _ in ends} >= {native_numba.OVER, native_numba.CROWDED, native_numba.UNDRAINED}
    assert any(begin for _, begin in ends), "a batch is interrupted in its midst"


@pytest.mark.parametrize("limit", [5, 6, 7, 8, 40, 41])
def test_limits_and_sinks(taught, limit):
    task, model = taught(*HALF_TRAINED[0])
    (prompt,) = problems(task, "test", 1)
    sinks = {"eager": Recorder(), "cpu": Recorder()}
    results = [
        engine.generate(model, task, [prompt], max_tokens=limit, sink=sink, backend=backend)
        for backend, sink in sinks.items()
    ]
    assert_same(*results)
    assert np.array_equal(sinks["cpu"].ids, sinks["eager"].ids)
    assert np.array_equal(sinks["cpu"].roles, sinks["eager"].roles)


@pytest.mark.parametrize("value", [0.0, torch.nan])
def test_a_model_that_abstains_or_is_broken(value):
    task = tasks.load("reverse")
    model = models.build("gru", vocab_size=len(task.vocab))
    with torch.no_grad():
        model.head.weight.fill_(value)
    results = [engine.generate(model, task, [["1", ">"]], backend=backend) for backend in ("eager", "cpu")]
    assert_same(*results)
    assert results[1][0].stop == (StopReason.BAD_COMMAND if value else StopReason.UNSEEN)


def test_a_model_of_a_smaller_vocabulary_is_refused():
    task = tasks.load("reverse")
    model = models.build("gru", vocab_size=len(task.vocab) - 1)
    with pytest.raises(AssertionError, match="compiled code checks no bounds"):
        native.Episodes(Compiled(model), task, [], 0.0)

"""Bounds over contexts: whatever a model computes in float32, by any of its paths, lies within them."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tallystick.engine.reader import Compiled
from tallystick.locality import sequences
from tallystick.models import mamba2
from tallystick.tasks import load

sys.path.insert(0, str(Path(__file__).parent))
from walking import bounds_of, contexts_of, following, passed, random_model, trained

LENGTHS = (1, 6, 40)
PIECE = 37
"""Number of tokens after which the state is looked at."""


@pytest.fixture(params=["compiled", "plain", "steps"])
def form(request, monkeypatch):
    """Return how a model reads: many tokens a call, by compiled loops or in chunks, or one by one."""
    if request.param != "compiled":
        monkeypatch.setattr(mamba2, "load_compiled", lambda: None)
    return request.param


OTHER = [
    {},
    {"dt_floor": 2.0, "n_layer": 3, "d_conv": 3},
    {"d_state": 5, "expand": 1, "head_dim": 4},
    {"name": "mamba1:tiny"},
    {"name": "mamba1:tiny", "dt_floor": 2.0, "n_layer": 3, "d_conv": 3, "d_state": 5, "expand": 1, "d_model": 19},
    {"name": "conv:tiny"},
    {"name": "conv:tiny", "n_layer": 3, "d_conv": 3, "expand": 1},
]


@pytest.mark.parametrize("settings", OTHER, ids=str)
@pytest.mark.parametrize(("name", "tokens"), [("reverse", 4), ("reverse", 1), ("turing:bb2", 1)])
def test_runs_stay_within_the_bounds(name, tokens, settings, form):
    """The state is looked at where a call ends, the logits everywhere."""
    if form == "compiled" and settings.get("name", "mamba2:tiny") != "mamba2:tiny":
        pytest.skip("only Mamba-2 has compiled loops")
    piece = 1 if form == "steps" else PIECE
    task, contexts = load(name), contexts_of(name, tokens)
    model = random_model(len(task.vocab), 3, **settings)
    bounds = bounds_of(model, contexts)
    least = np.full(len(contexts), -np.inf)
    least[contexts.speaking] = bounds.margins(contexts.speaking)[0]
    for length in LENGTHS[: 2 if piece == 1 else 3]:
        ids, mask = sequences.of(task, task.problem("train", 0, length, 0))
        ways = passed(contexts, ids)
        margins = within(model, bounds, ids, ways, piece)
        for at in np.flatnonzero(mask[1:]):
            for context in ways[at]:
                if contexts.said[context] == ids[at + 1]:
                    assert margins[at] >= least[context]


@torch.no_grad()
def within(model, bounds, ids, ways, piece):
    """Assert that tails and states lie within their bounds after each call; return the margins of the next tokens."""
    state, logits = None, []
    for begin in range(0, len(ids), piece):
        part = torch.from_numpy(ids[begin : begin + piece].astype(np.int64))[None]
        out, state = model(part, state)
        logits.append(out[0])
        for context in ways[begin + part.shape[1] - 1]:
            assert_within(bounds, state, context)
    return margins_of(torch.cat(logits)[:-1], ids[1:])


def margins_of(logits, want):
    """Return the margins of the wanted tokens."""
    logits, want = logits.double(), torch.from_numpy(want.astype(np.int64))[:, None]
    return (logits.gather(1, want)[:, 0] - logits.scatter(1, want, float("-inf")).amax(1)).numpy()


def assert_within(bounds, state, context):
    """Assert that tails and states lie within their bounds in a context."""
    for number, (block, layer) in enumerate(zip(bounds.network.blocks, bounds.layers, strict=True)):
        seen = [block.split(layer.mixed[context])[1], *(tail[context] for tail in layer.tails)]
        for real, box in zip(state[f"conv.{number}"][0].double().numpy()[::-1], seen, strict=False):
            assert (box.lo <= real).all()
            assert (real <= box.hi).all()
        if block.states:
            assert_scan_within(block, layer, state[f"ssm.{number}"], context)


def assert_scan_within(block, layer, state, context):
    real, error = state[0].double().numpy().ravel(), block.scan_error.ravel()
    assert (layer.state.lo[context] - error <= real).all()
    assert (real <= layer.state.hi[context] + error).all()


@pytest.mark.parametrize("known", [1, 2, 4])
@pytest.mark.parametrize("name", ["mamba2:tiny", "mamba1:tiny", "conv:tiny"])
def test_runs_stay_within_refined_bounds(name, known):
    """known: number of further tokens."""
    task, contexts = load("turing:bb2"), contexts_of("turing:bb2", 1)
    model = random_model(len(task.vocab), 5, name)
    bounds = bounds_of(model, contexts)
    ids, mask = sequences.of(task, task.problem("train", 0, 40, 1))
    ways = passed(contexts, ids)
    margins = within(model, bounds, ids, ways, PIECE)
    places = [at for at in np.flatnonzero(mask[1:]) if at >= known and contexts.said[ways[at][0]] == ids[at + 1]]
    paths = np.array([[ways[at - back][0] for back in range(known, -1, -1)] for at in places])
    assert len(paths) > 10
    assert all(
        before in contexts.before[after] for path in paths for before, after in zip(path, path[1:], strict=False)
    )
    refined, _ = bounds.margins_along(paths)
    assert (margins[places] >= refined).all()
    assert (refined >= bounds.margins(paths[:, -1])[0] - 1e-9).all()


@pytest.mark.parametrize("length", [25_000, pytest.param(2_500_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["mamba1", "conv"])
@torch.no_grad()
def test_a_long_run_stays_within_the_bounds(name, length):
    """length: of the problem; a run has 4 tokens for each bit, and passes one context at each."""
    task, contexts = load("reverse"), contexts_of("reverse")
    model = trained(name)
    bounds, after = bounds_of(model, contexts), following(contexts)
    least = np.full(len(contexts), -np.inf)
    least[contexts.speaking] = bounds.margins(contexts.speaking)[0]
    ids, mask = sequences.of(task, task.problem("test", 0, length, 0))
    assert len(ids) >= 4 * length
    state, context = None, 0
    for begin in range(0, len(ids) - 1, 8192):
        read, want = ids[:-1][begin : begin + 8192], ids[1:][begin : begin + 8192]
        logits, state = model(torch.from_numpy(read.astype(np.int64))[None], state)
        ways = []
        for token in read.tolist():
            (context,) = after[context, token]
            ways.append(context)
        said = mask[1:][begin : begin + 8192]
        assert (contexts.said[ways][said] == want[said]).all()
        assert (margins_of(logits[0], want) >= least[ways])[said].all()
        assert_within(bounds, state, context)


@pytest.mark.parametrize("name", ["mamba2", "mamba1"])
def test_the_compiled_step_stays_within_the_bounds(name):
    """Token by token, by the loops that `generate` uses."""
    pytest.importorskip("numba")
    task, contexts = load("reverse"), contexts_of("reverse")
    model = random_model(len(task.vocab), 3, f"{name}:tiny")
    bounds, read = bounds_of(model, contexts), Compiled(model)
    margins = dict(zip(contexts.speaking.tolist(), bounds.margins(contexts.speaking)[0], strict=True))
    ids, mask = sequences.of(task, task.problem("train", 0, 40, 0))
    for at, context in enumerate(passed(contexts, ids)[:-1]):
        (said,) = read.read([[int(ids[at])]])
        assert_within(bounds, read.state, context[0])
        if mask[at + 1]:
            want = int(ids[at + 1])
            assert said.logits_V[want] - np.delete(said.logits_V, want).max() >= margins[context[0]]


def test_conv_sees_exactly_its_field():
    """Tokens before the last `field` change nothing, the first of them does; known contexts of the field are exact."""
    model = random_model(9, 1, "conv:tiny", n_layer=2, d_conv=4)
    field = model.config.field
    assert field == 7
    ids = torch.randint(9, (1, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        want = model(ids)[0][0, -1]
        for back, same in ((field, True), (field - 1, False)):
            other = ids.clone()
            other[0, -1 - back] = (other[0, -1 - back] + 1) % 9
            assert bool((model(other)[0][0, -1] - want).abs().max() < 1e-6) == same


def test_contexts_hold_every_run():
    contexts, task = contexts_of("addition", 2), load("addition")
    rng = random.Random(0)
    for length in (1, 3, 12):
        ids, mask = sequences.of(task, task.sample(length, rng))
        ways = passed(contexts, ids)
        assert all(ids[at + 1] in contexts.said[ways[at]] for at in np.flatnonzero(mask[1:]))


def test_sets_of_predecessors():
    """The reduction over shared sets, in small parts, is that over each context's own predecessors."""
    contexts = contexts_of("reverse")
    rows = np.random.default_rng(0).standard_normal((len(contexts), 3))
    for part in (1, 20, 10**6):
        found = contexts.over_groups(np.minimum, rows, part)[contexts.group]
        want = [rows[before].min(0) if before else np.zeros(3) for before in contexts.before]
        np.testing.assert_array_equal(found, np.array(want))

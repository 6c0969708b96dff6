"""Bounds over contexts: whatever a model computes in float32, by any of its paths, lies within them."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tallystick.locality import sequences
from tallystick.models import mamba2
from tallystick.tasks import load

sys.path.insert(0, str(Path(__file__).parent))
from walking import bounds_of, contexts_of, passed, random_model

LENGTHS = (1, 6, 40)
PIECE = 37
"""Number of tokens after which the state is looked at."""


@pytest.fixture(params=["compiled", "plain", "steps"])
def piece(request, monkeypatch):
    """Return how many tokens a call reads: many, by compiled loops or in chunks, or one."""
    if request.param != "compiled":
        monkeypatch.setattr(mamba2, "load_compiled", lambda: None)
    return 1 if request.param == "steps" else PIECE


OTHER = [{}, {"dt_floor": 2.0, "n_layer": 3, "d_conv": 3}, {"d_state": 5, "expand": 1, "head_dim": 4}]


@pytest.mark.parametrize("settings", OTHER, ids=str)
@pytest.mark.parametrize(("name", "tokens"), [("reverse", 4), ("reverse", 1), ("turing:bb2", 1)])
def test_runs_stay_within_the_bounds(name, tokens, settings, piece):
    """The state is looked at where a call ends, the logits everywhere."""
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
            for number, (block, layer) in enumerate(zip(bounds.network.blocks, bounds.layers, strict=True)):
                seen = [block.split(layer.mixed[context])[1], *(tail[context] for tail in layer.tails)]
                for real, box in zip(state[f"conv.{number}"][0].double().numpy()[::-1], seen, strict=False):
                    assert (box.lo <= real).all()
                    assert (real <= box.hi).all()
                real, error = state[f"ssm.{number}"][0].double().numpy().ravel(), block.scan_error.ravel()
                assert (layer.state.lo[context] - error <= real).all()
                assert (real <= layer.state.hi[context] + error).all()
    logits = torch.cat(logits).double()[:-1]
    want = torch.from_numpy(ids[1:].astype(np.int64))[:, None]
    return (logits.gather(1, want)[:, 0] - logits.scatter(1, want, float("-inf")).amax(1)).numpy()


@pytest.mark.parametrize("known", [1, 2, 4])
def test_runs_stay_within_refined_bounds(known):
    """known: number of further tokens."""
    task, contexts = load("turing:bb2"), contexts_of("turing:bb2", 1)
    model = random_model(len(task.vocab), 5)
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

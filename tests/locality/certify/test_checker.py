"""The checker alone: real runs stay within its bounds, and what it calls right is right."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tallystick.locality import sequences
from tallystick.locality.certify import checker
from tallystick.locality.certify.checker import _Check
from tallystick.locality.certify.intervals import rows_of, size
from tallystick.locality.proof import proved_graph
from tallystick.tasks import load

sys.path.insert(0, str(Path(__file__).parent))
from walking import TRAINED, random_model, trained

TASK, GRAPH = load("reverse"), proved_graph(load("reverse")).graph
MODELS = {
    "random": lambda: random_model(len(TASK.vocab), 3),
    "deep": lambda: random_model(len(TASK.vocab), 4, n_layer=3, d_conv=3, dt_floor=2.0),
    "mamba1": lambda: random_model(len(TASK.vocab), 3, "mamba1:tiny", n_layer=3, d_state=3, dt_floor=2.0),
    "conv": lambda: random_model(len(TASK.vocab), 3, "conv:tiny", n_layer=3),
    **{f"trained {name}": partial(trained, name) for name in TRAINED},
}


def passed(check, ids):
    """Return for each token of a run the contexts to which the tokens up to it lead."""
    now, ways = {0}, []
    for token in ids.tolist():
        now = {to for to, before in enumerate(check.predecessors) if check.token[to] == token and now & {*before}}
        ways.append(sorted(now))
    return ways


@pytest.mark.parametrize("tightened", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_runs_stay_within_the_bounds(name, tightened):
    model = MODELS[name]()
    check = _Check(model, GRAPH, 4, lambda _: None)
    state = check._any_state()
    if tightened:
        check._tighten(state)
    # context by context: is the said token shown to be right, one more token being known
    speaking = [int(context) for context in np.flatnonzero(check.said >= 0)]
    paths = [[before, context] for context in speaking for before in check.predecessors[context]]
    doubted = {tuple(path) for path in check._open(state, paths)}
    for problem in ("0>", "1101>", "00101110100>", "1" * 12 + ">"):
        ids, mask = sequences.of(TASK, TASK.parse(problem))
        ways, real = passed(check, ids), None
        for at, token in enumerate(ids.tolist()):
            with torch.no_grad():
                logits, real = model(torch.tensor([[token]]), real)
            for context in ways[at]:
                assert_within(check, state, real, context)
                if at + 1 < len(ids) and mask[at + 1] and check.said[context] == ids[at + 1]:
                    known = [(before, context) for before in ways[at - 1] if before in check.predecessors[context]]
                    assert known
                    if not doubted >= {*known}:
                        assert int(logits[0, 0].argmax()) == ids[at + 1]


def test_the_scan_error_is_bounded_by_all_contexts():
    check = _Check(MODELS["trained mamba2"](), GRAPH, 4, lambda _: None)
    state = check._any_state()
    block, before = check.blocks[0], check.blocks[0].error
    check._tighten(state)
    assert (block.error < before).any()
    contexts = np.arange(1, len(check.said))
    (mixed,) = check._in_parts(lambda rows: [check._mixed(0, check.token[rows], [])])
    _, added, dt = block.scan(rows_of(mixed, contexts), check._hull(state[0][0], contexts))
    found = block.error
    block.limit_scan(dt, added)
    assert (block.error == found).all()
    most = size(added).reshape(len(contexts), -1)
    for entry in range(0, most.shape[1], 7):  # each counts: without the context of the largest, the error is smaller
        less = np.delete(contexts - 1, most[:, entry].argmax())
        block.limit_scan(rows_of(dt, less), rows_of(added, less))
        assert block.error.flat[entry] < found.flat[entry]


def test_paths_that_begin_alike_are_bounded_as_each_alone():
    check = _Check(MODELS["random"](), GRAPH, 4, lambda _: None)
    state = check._any_state()
    check._tighten(state)
    paths = [[int(context)] for context in np.flatnonzero(check.said >= 0)]
    for _ in range(3):
        paths = [[before, *path] for path in paths for before in check.predecessors[path[0]]]
    together = check._open(state, paths)
    assert 0 < len(together) < len(paths)
    assert together == sorted(path for path in paths if check._open(state, [path]))


def test_a_margin_counts_at_its_least_scale(monkeypatch):
    check = _Check(MODELS["trained mamba2"](), GRAPH, 4, lambda _: None)
    state = check._any_state()
    check._tighten(state)
    paths = [[before, int(at)] for at in np.flatnonzero(check.said >= 0) for before in check.predecessors[at]]
    assert len(check._open(state, paths)) < len(paths)
    monkeypatch.setattr(
        checker, "shrink", lambda a, eps: (np.full((len(a[0]), 1), 1e-12), np.full((len(a[0]), 1), 1e12))
    )
    assert check._open(state, paths) == sorted(paths)


def assert_within(check, state, real, context):
    for number, (block, (taps, held)) in enumerate(zip(check.blocks, state, strict=True)):
        inputs = real[f"conv.{number}"][0].double().numpy()
        assert (taps[0][context] <= inputs).all()
        assert (inputs <= taps[1][context]).all()
        if f"ssm.{number}" not in real:
            continue
        scanned = real[f"ssm.{number}"][0].double().numpy().reshape(held[0][context].shape)
        assert (held[0][context] - block.error <= scanned).all()
        assert (scanned <= held[1][context] + block.error).all()

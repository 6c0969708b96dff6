"""Helpers: contexts that a run passes, trained models, and models of random weights."""

from functools import cache
from pathlib import Path

import torch

from tallystick import models, runs
from tallystick.locality import sequences
from tallystick.locality.certify.contexts import Contexts
from tallystick.locality.certify.network import Network
from tallystick.locality.certify.propagate import Bounds
from tallystick.locality.proof import proved_graph
from tallystick.tasks import load


@cache
def contexts_of(name, tokens=4):
    return Contexts(proved_graph(load(name)).graph, tokens)


def following(contexts):
    """Return the contexts that a token leads to from a context, by both."""
    after = {}
    for to, before in enumerate(contexts.before):
        for begin in before:
            after.setdefault((begin, int(contexts.tokens[to, -1])), []).append(to)
    return after


def passed(contexts, ids):
    """Return for each token of a run the contexts to which the tokens up to it lead."""
    after, now, ways = following(contexts), {0}, []
    for token in ids.tolist():
        now = {to for begin in now for to in after.get((begin, token), [])}
        assert now, "a run leaves the contexts"
        ways.append(sorted(now))
    return ways


def random_model(vocab_size, seed, name="mamba2:tiny", **settings):
    """Return a small model with random weights, large enough that no bound is loose by chance."""
    torch.manual_seed(seed)
    sizes = {
        "mamba2:tiny": {"d_state": 2, "head_dim": 8, "dt_floor": 0.8, "tied": False},
        "mamba1:tiny": {"d_state": 2, "dt_floor": 0.8, "tied": False},
        "conv:tiny": {},
    }[name]
    model = models.build(name, vocab_size=vocab_size, **{"d_model": 12} | sizes | settings).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter += (0.5 if parameter.dim() > 1 and not key.endswith("A_log") else 0.3) * torch.randn_like(
                parameter
            )
            if key.endswith("A_log"):
                parameter[0] = -1.0  # the floor makes it 1
    return model


def bounds_of(model, contexts):
    return Bounds(Network(model), contexts)


TRAINED = {
    "mamba2": Path(__file__).parent / "reverse",
    "mamba1": Path(__file__).parent / "reverse-mamba1",
    "conv": Path(__file__).parent / "reverse-conv",
}
"""Runs of reverse, with d_model=16 min_margin=5; the Mambas also with d_state=2 dt_floor=2 dt_min=0.5 dt_max=2."""


def trained(name):
    return runs.load(TRAINED[name]).model


def fitted(examples):
    """Return a lookup model of reverse."""
    task = load("reverse")
    model = models.build("lookup", vocab_size=len(task.vocab))
    problems = (task.problem("train", 0, 5, number) for number in range(examples))
    return model.fit([sequences.of(task, problem) for problem in problems])

"""Helpers: contexts that a run passes, and models of random weights."""

from functools import cache

import torch

from tallystick import models, runs
from tallystick.locality.certify.contexts import Contexts
from tallystick.locality.certify.network import Network
from tallystick.locality.certify.propagate import Bounds
from tallystick.locality.proof import proved_graph
from tallystick.tasks import load


@cache
def contexts_of(name, tokens=4):
    return Contexts(proved_graph(load(name)).graph, tokens)


def passed(contexts, ids):
    """Return for each token of a run the contexts to which the tokens up to it lead."""
    after = {}
    for to, before in enumerate(contexts.before):
        for begin in before:
            after.setdefault((begin, int(contexts.tokens[to, -1])), []).append(to)
    now, ways = {0}, []
    for token in ids.tolist():
        now = {to for begin in now for to in after.get((begin, token), [])}
        assert now, "a run leaves the contexts"
        ways.append(sorted(now))
    return ways


def random_model(vocab_size, seed, **settings):
    """Return a small model with random weights, large enough that no bound is loose by chance."""
    torch.manual_seed(seed)
    sizes = {"d_model": 12, "d_state": 2, "head_dim": 8, "dt_floor": 0.8, "tied": False} | settings
    model = models.build("mamba2:tiny", vocab_size=vocab_size, **sizes).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += (0.5 if parameter.dim() > 1 else 0.3) * torch.randn_like(parameter)
            if name.endswith("A_log"):
                parameter[0] = -1.0  # the floor makes it 1
    return model


def bounds_of(model, contexts):
    return Bounds(Network(model), contexts)


def trained(folder):
    return runs.load(folder)

"""Models that have learned a little in no time: random ones whose last layer is fitted to trajectories."""

import numpy as np
import pytest
import torch

from tallystick import models
from tallystick.episode import Role
from tallystick.tasks import runner

SCALE = 10.0
"""Factor of the logits, whose margins are below 1 otherwise."""


@pytest.fixture(scope="session")
def fitted():
    """Return a function that fits the last layer of a random model to the programs' tokens, by ridge regression.

    ridge: with much of it the model is right now and then, with little nearly always.
    """

    def fit(name, task, prompts, ridge, **settings):
        torch.manual_seed(0)
        model = models.build(name, vocab_size=len(task.vocab), **settings)
        width = model.head.weight.shape[1]
        model.head.weight = torch.nn.Parameter(torch.eye(width))  # its logits are its activations now
        read = [_read(model, runner.record(task, prompt)) for prompt in prompts]
        activations_TD = torch.cat([activations for activations, _ in read]).double()
        targets_TV = torch.nn.functional.one_hot(torch.cat([said for _, said in read]), len(task.vocab)).double()
        squares_DD = activations_TD.T @ activations_TD + ridge * len(activations_TD) * torch.eye(width)
        weight_DV = torch.linalg.solve(squares_DD, activations_TD.T @ targets_TV)
        model.head.weight = torch.nn.Parameter((SCALE * weight_DV.T).float().contiguous())
        return model

    return fit


@torch.no_grad()
def _read(model, recorder):
    """Return the activations before each token that the program says, and those tokens."""
    ids = torch.from_numpy(recorder.ids.astype(np.int64))
    said = ~np.isin(recorder.roles[1:], [Role.PROMPT, Role.OBSERVATION])
    return model(ids[None, :-1])[0][0][said], ids[1:][said]

"""Random models that solve a task, made in a second: their last layer is fitted to the program's tokens."""

from __future__ import annotations

import numpy as np
import torch

from tallystick import models
from tallystick.episode import Role
from tallystick.models.base import Model
from tallystick.tasks import Task, runner

PROBLEMS, LENGTH = 60, 20
UNTIED = {"mamba1": {"tied": False}, "mamba2": {"tied": False}}
"""Settings by which a model's last layer has weights of its own."""
SHARPNESS = 10
"""Logit of the right token."""


@torch.no_grad()
def fitted(name: str, task: Task, **settings: object) -> Model:
    """Build a random model and fit its last layer to the programs' tokens by ridge regression, in float64.

    settings: of the model, such as a larger vocabulary than the task's.

    `reverse` is solved at any length so: its next token depends on the last tokens alone.
    """
    torch.manual_seed(0)
    known = {"vocab_size": len(task.vocab), **UNTIED.get(name.partition(":")[0], {}), **settings}
    model = models.build(name, **known)
    head: torch.nn.Linear = model.head  # pyright: ignore[reportAssignmentType]
    head.weight = torch.nn.Parameter(torch.eye(head.in_features))
    x, target = _features(model, task)
    y = torch.nn.functional.one_hot(target, head.out_features).double()
    weight = torch.linalg.solve(x.T @ x + 1e-6 * len(x) * torch.eye(x.shape[1]), x.T @ y)
    head.weight = torch.nn.Parameter((SHARPNESS * weight.T).float().contiguous())
    return model


def _features(model: Model, task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the last layer sees before each token that the program says, and these tokens."""
    inputs, targets = [], []
    for index in range(PROBLEMS):
        recorder = runner.record(task, task.problem("train", 0, LENGTH, index))
        ids = torch.from_numpy(recorder.ids.astype(np.int64))
        said = torch.from_numpy(~np.isin(recorder.roles[1:], [Role.PROMPT, Role.OBSERVATION]))
        inputs.append(model(ids[None, :-1])[0][0][said])
        targets.append(ids[1:][said])
    return torch.cat(inputs).double(), torch.cat(targets)

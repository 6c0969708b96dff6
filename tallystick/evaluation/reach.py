"""How far back a trained model looks: how many last tokens give the prediction that the whole sequence gives.

A model that learned a local program looks back k tokens, as the program does. What it reads further back decides
nothing in training, and may differ in longer problems.

Glossary: P positions, W tokens of a window, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tallystick.locality import sequences
from tallystick.models.base import Model
from tallystick.tasks import Task

WINDOWS = (*range(1, 17), 20, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512)
"""Numbers of last tokens that are tried."""
TOLERANCE = 0.01
"""Total variation distance from which on two predictions count as different."""
PROBLEMS, POSITIONS = 4, 32
"""Number of problems, and of model tokens of each whose prediction is looked at."""
LONGEST = 2048
"""Maximum number of tokens of a problem that is looked at."""


class Reach(NamedTuple):
    """How far back a model looks in problems of one length."""

    length: int
    k: int | None
    """Fewest last tokens that give every prediction looked at, as any larger number does; None if there are none."""
    windows: tuple[int, ...]
    distances: tuple[float, ...]
    """Largest total variation distance from the prediction of the whole sequence, for each number of last tokens."""


def measure(model: Model, task: Task, seed: int = 0) -> Reach:
    """Measure how far back a model looks, on problems of the longest `check` length that is not too long."""
    length, told = _problems(task, seed)
    windows = [size for size in WINDOWS if size < max(len(ids) for ids, _ in told)]
    distances = np.max([_distances(model, ids, mask, windows) for ids, mask in told], axis=0)
    far = np.flatnonzero(distances > TOLERANCE)
    last = int(far[-1]) + 1 if len(far) else 0
    k = windows[last] if last < len(windows) else None
    return Reach(length, k, tuple(windows), tuple(distances.tolist()))


def _problems(task: Task, seed: int) -> tuple[int, list[sequences.Sequence]]:
    """Record problems of the longest `check` length with at most LONGEST tokens, or of the shortest one."""
    lengths = sorted({*task.defaults.check, task.defaults.train_length}, reverse=True)
    for length in lengths:
        first = sequences.of(task, task.problem("check", seed, length, 0))
        if len(first[0]) <= LONGEST or length == lengths[-1]:
            break
    prompts = [task.problem("check", seed, length, i) for i in task.indices("check", length, PROBLEMS)]
    return length, [(ids[:LONGEST], mask[:LONGEST]) for ids, mask in (sequences.of(task, p) for p in prompts)]


@torch.no_grad()
def _distances(model: Model, ids: np.ndarray, mask: np.ndarray, windows: Sequence[int]) -> list[float]:
    """Return the largest distance at a sequence's model tokens, for each number of last tokens."""
    device = next((tensor.device for tensor in model.state_dict().values()), torch.device("cpu"))
    said = np.flatnonzero(mask)
    places = said[np.unique(np.linspace(0, len(said) - 1, POSITIONS).astype(int))]
    ids_L = torch.from_numpy(ids.astype(np.int64)).to(device)
    whole_PV = _prediction(model(ids_L[None, :-1])[0][0][places - 1])
    found = []
    for size in windows:
        beyond = np.flatnonzero(places > size)  # the others' whole sequence is no longer than that
        if not len(beyond):
            found.append(0.0)
            continue
        window_PW = torch.stack([ids_L[at - size : at] for at in places[beyond].tolist()])
        last_PV = _prediction(model(window_PW)[0][:, -1])
        found.append(float((last_PV - whole_PV[beyond]).abs().sum(-1).nan_to_num(2.0).max()) / 2)
    return found


def _prediction(logits_PV: Tensor) -> Tensor:
    return logits_PV.float().softmax(-1).cpu()

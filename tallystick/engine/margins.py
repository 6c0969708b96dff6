"""Logit margins, and the margin below which rounding may decide.

Glossary: T tokens, V vocabulary, B batch, L length.
"""

from __future__ import annotations

import numpy as np
import torch

from tallystick.models.base import Model
from tallystick.tasks import Task, runner

PROBE = 128
"""Number of tokens on which one pass is compared with single steps."""


def margin(logits_TV: torch.Tensor, targets_T: torch.Tensor) -> torch.Tensor:
    """Compute each target's logit minus the best other logit, float32 [T]; NaN becomes the smallest float32."""
    target_T1 = targets_T[:, None]
    others_TV = logits_TV.scatter(1, target_T1, float("-inf"))
    margin_T = (logits_TV.gather(1, target_T1)[:, 0] - others_TV.amax(1)).float()
    return margin_T.masked_fill(margin_T.isnan(), torch.finfo(torch.float32).min)


def best_other(logits_V: torch.Tensor, target: int) -> int:
    """Return the token with the largest logit other than the target."""
    others_V = logits_V.clone()
    others_V[target] = float("-inf")
    return int(others_V.argmax())


def abstains(logits_V: torch.Tensor) -> bool:
    """Return whether the model abstains: all its logits are equal (lookup, in a context it has not seen)."""
    return bool(logits_V.amax() == logits_V.amin())


@torch.no_grad()
def low_margin(model: Model, task: Task, prompt: list[str], device: torch.device) -> float:
    """Measure the margin below which rounding may decide: max(1e-3, 4 x the difference between one pass and steps)."""
    recorder = runner.record(task, prompt, limit=PROBE)
    ids_BL = torch.from_numpy(recorder.ids[:PROBE].astype(np.int64))[None].to(device)
    chunk_BLV, state = model(ids_BL)[0], None
    difference = 0.0
    for i in range(ids_BL.shape[1]):
        step_B1V, state = model(ids_BL[:, i : i + 1], state)
        difference = max(difference, float((step_B1V[:, 0] - chunk_BLV[:, i]).abs().max()))
    return max(1e-3, 4 * difference)

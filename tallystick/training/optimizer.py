"""The optimizer: AdamW, with weight decay on matrices only."""

from __future__ import annotations

import torch

from tallystick.config import Settings
from tallystick.models.base import Model


def build(model: Model, settings: Settings) -> torch.optim.Optimizer:
    """Build the optimizer of a model's parameters."""
    decays: dict[bool, list[torch.nn.Parameter]] = {True: [], False: []}
    for parameter in model.parameters():
        decays[parameter.ndim > 1 and not getattr(parameter, "_no_weight_decay", False)].append(parameter)
    groups = [{"params": decays[True], "weight_decay": settings.weight_decay}, {"params": decays[False]}]
    gpu = settings.device == "cuda"
    lr = torch.tensor(settings.lr, device="cuda") if gpu else settings.lr
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True, capturable=gpu)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate for the next step."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)  # in place: a captured CUDA graph reads this tensor
        else:
            group["lr"] = rate

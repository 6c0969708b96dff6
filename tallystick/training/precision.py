"""The precision of a training step's matrix products."""

from __future__ import annotations

import torch

from tallystick.config import Settings


def autocast(settings: Settings) -> torch.autocast:
    """Return a context in which matrix products compute in the precision of the settings."""
    return torch.autocast(settings.device, torch.bfloat16, enabled=settings.precision == "bf16")

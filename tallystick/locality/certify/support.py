"""Which models have bounds, and why others have none."""

from __future__ import annotations

from typing import Any

from tallystick.locality.certify.contexts import Contexts
from tallystick.locality.extraction import Refusal
from tallystick.models.base import Model
from tallystick.models.conv import Conv
from tallystick.models.lookup import Lookup
from tallystick.models.mamba1 import Mamba1
from tallystick.models.mamba2 import Mamba2

LARGEST = 1e6
"""Largest weight, so that nothing overflows in float32."""
WIDEST = 512
"""Largest number of terms of a sum for which rounding is bounded."""
MEMORY = 8 * 2**30
"""Bytes that bounds may take."""

GROWS = "its attention reads the whole sequence, so no number of last tokens decides what it says"
WHY_NOT = {
    "LSTM": "an LSTM's forget gate may stay near 1, so its state need not fade",
    "GRU": "a GRU's update gate may stay near 1, so its state need not fade",
    "NoPE": GROWS,
    "Pythia": GROWS,
    "Hybrid": GROWS,
    "Mistral": "its attention sees a window of tokens, but bounds of attention are not known",
    "RMT": "its memory tokens are carried without decay",
    "GatedDeltaNet": "its state is rotated, not only scaled, and its step size has no floor",
    "Bits": "its bits may be kept for ever",
}
"""Why models of some kinds have no certificate, by class name."""


def reason_against(model: Model) -> str:
    """Say why there is no certificate for a kind of model; empty if there may be one."""
    name = type(model).__name__
    if type(model) is Lookup:
        return "" if len(model.keys_E) else "it was not fitted"
    if type(model) not in (Mamba1, Mamba2, Conv):
        return WHY_NOT.get(name, f"bounds are known for mamba1, mamba2, conv and lookup alone, not for {name}")
    if not all(bool((tensor.abs() < LARGEST).all()) for tensor in model.state_dict().values()):
        return f"some of its weights are not finite, or larger than {LARGEST:g}"
    config: Any = model.config
    if max(config.d_inner, config.d_model) > WIDEST or config.d_conv > 32:
        return f"it is wider than the bounds of rounding allow: d_inner up to {WIDEST}, d_conv 32"
    if isinstance(model, Conv):
        return ""
    if config.d_state > 64:
        return f"it is wider than the bounds of rounding allow: d_state up to 64, not {config.d_state}"
    if not config.dt_floor:
        return "its step size has no floor, so its state may keep a token for ever; train with dt_floor=2 or so"
    return ""


def check_memory(model: Model, contexts: Contexts) -> None:
    """Raise Refusal if bounds in so many contexts take too much memory."""
    if isinstance(model, Lookup):
        return
    config: Any = model.config
    inner, states = config.d_inner, 0 if isinstance(model, Conv) else config.d_state
    entries = inner * states + (config.d_conv + 1) * (inner + 2 * states) + 2 * inner
    needed = 16 * entries * config.n_layer * len(contexts)
    if needed > MEMORY:
        raise Refusal(
            f"bounds of {len(contexts):,} contexts would take {needed / 2**30:.0f} GiB, more than {MEMORY >> 30}; "
            f"train with a smaller {'d_model' if isinstance(model, Conv) else 'd_state'}"
        )

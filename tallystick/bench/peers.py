"""Other implementations of the same models, with our weights: Hugging Face's Mamba and Mamba-2."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import torch

from tallystick.models.base import Model
from tallystick.models.mamba1 import Mamba1
from tallystick.models.mamba2 import Mamba2

PARITY = 1e-4
"""Allowed difference of logits, as a share of the largest."""
MISSING = "not installed"
THEIR_NAMES = {
    "embedding": "backbone.embeddings",
    "head": "lm_head",
    "layers": "backbone.layers",
    "norm": "norm",
    "gate_norm": "mixer.norm",
    "conv": "mixer.conv1d",
}
"""Names in transformers of what is named otherwise there; a layer's other parameters belong to its mixer."""


class ParityError(ValueError):
    """Two implementations that should agree do not, so that no speed is printed."""


def like(model: Model) -> tuple[dict[str, torch.nn.Module], dict[str, str]]:
    """Build the peers with the same shape and weights, by name; and say why others are missing."""
    if not isinstance(model, Mamba1 | Mamba2):
        return {}, {}
    missing = {} if find_spec("mamba_ssm") else {"mamba-ssm": MISSING}
    if not find_spec("transformers"):
        return {}, {"transformers": MISSING} | missing
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns of each missing CUDA kernel
    theirs = _mamba2(model) if isinstance(model, Mamba2) else _mamba1(model)
    theirs.load_state_dict({their_name(name): tensor for name, tensor in model.state_dict().items()})
    return {"transformers": theirs.train().to(next(model.parameters()).device)}, missing


def check_parity(name: str, ours: Model, theirs: torch.nn.Module, ids_BL: torch.Tensor) -> None:
    """Raise ParityError unless both give the same logits up to rounding."""
    with torch.no_grad():
        want_BLV, got_BLV = theirs(ids_BL, use_cache=False).logits, ours(ids_BL)[0]
    difference = ((got_BLV - want_BLV).abs().max() / want_BLV.abs().max()).item()
    if not difference <= PARITY:
        raise ParityError(f"logits differ from those of {name} by {difference:.1e} of the largest; no speed is printed")


def their_name(name: str) -> str:
    """Return the name in transformers of one of our parameters."""
    parts = name.split(".")
    if parts[0] == "norm":
        return "backbone.norm_f.weight"
    if parts[0] != "layers":
        return ".".join(THEIR_NAMES.get(part, part) for part in parts)
    layer, rest = parts[1], parts[2:]
    inner = THEIR_NAMES.get(rest[0], f"mixer.{rest[0]}")
    return ".".join(["backbone.layers", layer, inner, *rest[1:]])


def _mamba2(model: Mamba2) -> Any:
    import transformers

    config = model.config
    return transformers.Mamba2ForCausalLM(
        transformers.Mamba2Config(
            **_shape(config),
            head_dim=config.head_dim,
            num_heads=config.d_inner // config.head_dim,
            n_groups=1,
            chunk_size=32,  # faster than its default of 256 for small shapes
        )
    )


def _mamba1(model: Mamba1) -> Any:
    import transformers

    return transformers.MambaForCausalLM(transformers.MambaConfig(**_shape(model.config)))


def _shape(config: Any) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layer,
        "state_size": config.d_state,
        "expand": config.expand,
        "conv_kernel": config.d_conv,
        "tie_word_embeddings": config.tied,
    }

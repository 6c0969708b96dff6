"""Models by name: `build("mamba2:tiny", vocab_size=30, d_state=32)`.  A model is imported when it is built."""

from __future__ import annotations

import importlib
from typing import get_type_hints

from tallystick import userfile

MODELS = {
    "mamba2": "tallystick.models.mamba2:Mamba2",
    "mamba1": "tallystick.models.mamba1:Mamba1",
    "gated-deltanet": "tallystick.models.deltanet:GatedDeltaNet",
    "lstm": "tallystick.models.rnn:LSTM",
    "gru": "tallystick.models.rnn:GRU",
    "pythia": "tallystick.models.transformer:Pythia",
    "nope": "tallystick.models.transformer:NoPE",
    "mistral": "tallystick.models.transformer:Mistral",
    "hybrid": "tallystick.models.hybrid:Hybrid",
    "rmt": "tallystick.models.rmt:RMT",
    "lookup": "tallystick.models.lookup:Lookup",
    "bits": "tallystick.models.bits:Bits",
}
"""Short name -> module:Class.  Wherever a name is taken, so are "package.module:Class" and "my_model.py:Class"."""


def names() -> list[str]:
    """The built-in models' short names."""
    return list(MODELS)


def load_class(name: str) -> type:
    """The model class called `name`: a short name, "package.module:Class" or "file.py:Class".

    Raises ValueError, one line, when there is none.
    """
    place, _, class_name = MODELS.get(name, name).partition(":")
    if not class_name:
        choices = ", ".join(MODELS)
        raise ValueError(f"unknown model {name!r}: choose from {choices}, or give module:Class or file.py:Class")
    try:
        module = userfile.load(place) if place.endswith(".py") else importlib.import_module(place)
        model_class = getattr(module, class_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot load model {name!r}: {error}") from error
    if not all(hasattr(model_class, part) for part in ("Config", "PRESETS", "init_state")):
        raise ValueError(f"cannot load model {name!r}: {class_name} is no subclass of tallystick.models.base.Model")
    return model_class


def split_preset(name: str) -> tuple[str, str]:
    """ "mamba2:small" -> ("mamba2", "small").  A class's path keeps its own colon; the preset is tiny if not named."""
    parts = name.split(":")
    own = 1 if parts[0] in MODELS or len(parts) == 1 else 2
    if len(parts) > own + 1:
        raise ValueError(f"model {name!r} has too many parts: write name:preset or module:Class:preset")
    return ":".join(parts[:own]), parts[own] if len(parts) > own else "tiny"


def build(name: str, *, vocab_size: int, **overrides):
    """A freshly initialised model, e.g. `build("mamba2:small", vocab_size=30, d_state=32)`.

    An override replaces a field of the model's `Config`; text, as from a command line, is read as the field's type.
    Raises ValueError, one line, for an unknown model, preset or key, a value of the wrong type, or a size below 1.
    """
    path, preset = split_preset(name)
    model_class = load_class(path)
    if preset not in model_class.PRESETS:
        raise ValueError(f"model {path!r} has no preset {preset!r}: choose from {', '.join(model_class.PRESETS)}")
    kinds = {key: kind for key, kind in get_type_hints(model_class.Config).items() if key != "vocab_size"}
    for key in overrides:
        if key not in kinds:
            raise ValueError(f"model {path!r} has no setting {key!r}: choose from {', '.join(kinds)}")
    values = {key: read_value(key, value, kinds[key]) for key, value in overrides.items()}
    for key, value in values.items():
        if kinds[key] is int and value < 1:
            raise ValueError(f"{key}={value} must be at least 1")
    return model_class(model_class.Config(vocab_size=vocab_size, **{**model_class.PRESETS[preset], **values}))


def read_value(key: str, value: object, kind: type):
    """`value` as `kind`: bool, int, float or str, the types that a Config may use."""
    try:
        return {"true": True, "false": False}[str(value).lower()] if kind is bool else kind(str(value))
    except (KeyError, ValueError):
        raise ValueError(f"setting {key}={value!r} is not of type {kind.__name__}") from None

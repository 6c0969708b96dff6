"""Build models by name: `build("mamba2:tiny", vocab_size=30, d_state=32)`; a model's module is imported when needed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_type_hints, overload

from tallystick import userfile

if TYPE_CHECKING:  # importing this package must not import torch
    from tallystick.models.base import Model
    from tallystick.models.config import Config
    from tallystick.models.lookup import Lookup

MODELS = {
    "mamba2": "tallystick.models.mamba2:Mamba2",
    "mamba1": "tallystick.models.mamba1:Mamba1",
    "conv": "tallystick.models.conv:Conv",
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
"""Module and class of each built-in model, by short name. A name may also be "package.module:Class" or
"my_model.py:Class"."""


def names() -> list[str]:
    """Return the built-in models' short names."""
    return list(MODELS)


def load_class(name: str) -> type[Model]:
    """Import a model class by its short name, "package.module:Class" or "file.py:Class".

    Raises ValueError, in one line, if there is no such class.
    """
    place, _, class_name = MODELS.get(name, name).partition(":")
    if not class_name:
        choices = ", ".join(MODELS)
        raise ValueError(f"unknown model {name!r}; choose from {choices}, or give module:Class or file.py:Class")
    try:
        module = userfile.load(place) if place.endswith(".py") else importlib.import_module(place)
        model_class = getattr(module, class_name)
    except Exception as error:
        message = " ".join(str(error).split())
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"cannot load model {name!r}: {kind}{message}") from error
    _check_class(name, model_class)
    return model_class


def _check_class(name: str, model_class: Any) -> None:
    from tallystick.models.base import Model
    from tallystick.models.config import Config

    if not (isinstance(model_class, type) and issubclass(model_class, Model)):
        raise ValueError(f"cannot load model {name!r}: it is not a subclass of tallystick.models.base.Model")
    if not issubclass(model_class.Config, Config):
        raise ValueError(f"cannot load model {name!r}: its Config is not a subclass of tallystick.models.config.Config")


def split_preset(name: str) -> tuple[str, str]:
    """Split "mamba2:small" into ("mamba2", "small"); the default preset is "tiny".

    The first colon of "my_model.py:Class:small", a class given by its module or file, belongs to the name.
    """
    parts = name.split(":")
    own = 1 if parts[0] in MODELS or len(parts) == 1 else 2
    if len(parts) > own + 1:
        raise ValueError(f"model {name!r} has too many parts; write name:preset or module:Class:preset")
    return ":".join(parts[:own]), parts[own] if len(parts) > own else "tiny"


def resolve(name: str, overrides: Mapping[str, object] | None = None, *, vocab_size: int) -> tuple[type[Model], Config]:
    """Return the class and the checked `Config` of a model: `resolve("mamba2:small", {"d_state": 32}, vocab_size=30)`.

    No weights are allocated. An override replaces a field of `Config`; text, such as from a command line, is parsed as
    the field's type. Raises ValueError, in one line, for an unknown model, preset or key, and for a value of the wrong
    type or outside its range.
    """
    path, preset = split_preset(name)
    model_class = load_class(path)
    if preset not in model_class.PRESETS:
        raise ValueError(f"model {path!r} has no preset {preset!r}; choose from {', '.join(model_class.PRESETS)}")
    kinds = setting_kinds(name)
    values = dict(model_class.PRESETS[preset])
    for key, value in (overrides or {}).items():
        if key not in kinds:
            raise ValueError(f"model {path!r} has no setting {key!r}; choose from {', '.join(kinds)}")
        values[key] = read_value(key, value, kinds[key])
    config: Any = model_class.Config
    return model_class, config(vocab_size=vocab_size, **values)


def setting_kinds(name: str) -> dict[str, type]:
    """Return the type of each setting of a model. Raises ValueError for an unknown model."""
    path, _ = split_preset(name)
    return {key: kind for key, kind in get_type_hints(load_class(path).Config).items() if key != "vocab_size"}


@overload
def build(name: Literal["lookup"], /, *, vocab_size: int, **overrides: object) -> Lookup: ...
@overload
def build(name: str, /, *, vocab_size: int, **overrides: object) -> Model: ...
def build(name: str, /, *, vocab_size: int, **overrides: object) -> Model:
    """Build a freshly initialised model, e.g. `build("mamba2:small", vocab_size=30, d_state=32)`.

    Arguments and errors are those of `resolve`.
    """
    model_class, config = resolve(name, overrides, vocab_size=vocab_size)
    model = model_class(config)
    if model.fixed_state != (model.state_bytes(1) == model.state_bytes(1000)):
        raise ValueError(f"model {name!r} has fixed_state={model.fixed_state}, but its state_bytes says otherwise")
    return model


def count_parameters(model_class: type[Model], config: Config) -> int:
    """Return the number of a model's parameters, without allocating them."""
    import torch

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in model_class(config).parameters())


def read_value(key: str, value: object, kind: type) -> Any:
    """Convert a setting's value to `kind`: bool, int, float or str. Raises ValueError if that is impossible."""
    try:
        return {"true": True, "false": False}[str(value).lower()] if kind is bool else kind(str(value))
    except (KeyError, ValueError):
        raise ValueError(f"setting {key}={value!r} is not of type {kind.__name__}") from None

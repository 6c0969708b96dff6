"""A snapshot of a session: the model's state and the little else that the session has to know, of a fixed size.

Its file is one of safetensors: the state's tensors by name, and in the metadata the rest, as JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tallystick.models.base import Model, State
from tallystick.storage import replace_file

FORMAT = 1
"""Version of the file; another one is refused."""
KEY = "tallystick.session"
"""Name of the manifest in the file's metadata."""


@dataclass(frozen=True)
class Snapshot:
    """A session between two turns. `Session.resume` goes on from it, as often as one likes, which forks it."""

    model: str
    """Digest of the model."""
    vocab: str
    """Digest of the vocabulary."""
    prompt: list[str]
    """The prompt's marks, which tell the part of a mixture; what they enclose is in the state."""
    unread: list[int]
    """Tokens that the model has not read yet."""
    position: int
    """Number of tokens so far."""
    mode: list[int]
    """What the grammar allows next, as `Episode.mode` has it."""
    command: str | None
    """The command line that waits for its answer."""
    state: State = field(repr=False)
    """The model's state, on the CPU; empty before the first token."""

    def save(self, path: Path | str) -> None:
        """Write the snapshot to a file. Raises OSError if that fails."""
        manifest = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "state"}
        metadata = {KEY: json.dumps({"format": FORMAT, **manifest})}
        tensors = {name: tensor.contiguous() for name, tensor in self.state.items()}
        replace_file(Path(path), lambda beside: save_file(tensors, beside, metadata))

    def check(self, model: Model, vocab: Sequence[str]) -> None:
        """Raise ValueError unless the snapshot is of this model and this vocabulary."""
        if self.model != digest(model):
            raise ValueError("the snapshot is of another model: its weights or sizes differ; resume it with its own")
        if self.vocab != digest_of_vocabulary(vocab):
            raise ValueError("the snapshot is of another vocabulary; resume it with its own run")


def load(path: Path | str) -> Snapshot:
    """Read a snapshot. Raises ValueError for a file that is none or of another version, OSError if there is no file."""
    try:
        with safe_open(path, "pt") as file:
            manifest = json.loads((file.metadata() or {})[KEY])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- it is no dict
        version = manifest.pop("format")
    except (SafetensorError, KeyError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a snapshot of a session") from error
    if version != FORMAT:
        raise ValueError(f"{path} is a snapshot of format {version}; this version of tallystick reads {FORMAT}")
    try:
        return Snapshot(**manifest, state=state)
    except TypeError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def digest(model: Model) -> str:
    """Return the SHA-256 of a model's class, sizes and weights."""
    found = hashlib.sha256(f"{type(model).__name__} {model.config}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def digest_of_vocabulary(vocab: Sequence[str]) -> str:
    """Return the SHA-256 of a vocabulary's tokens in their order."""
    return hashlib.sha256(json.dumps([*vocab]).encode()).hexdigest()

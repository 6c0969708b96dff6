"""A model's weights and states as flat arrays, which the compiled step reads.

Glossary: S sequences, Z numbers of a state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from tallystick.kernels import numba_jit
from tallystick.models.base import Model, State
from tallystick.models.mamba1 import Block as Mamba1Block
from tallystick.models.mamba1 import Mamba1
from tallystick.models.mamba2 import Block as Mamba2Block
from tallystick.models.mamba2 import Mamba2
from tallystick.models.rnn import GRU, LSTM, Layer, Recurrent
from tallystick.models.state_space import StateSpaceModel, decay_rate


@dataclass(frozen=True)
class Packed:
    """A model for the compiled step."""

    sizes: np.ndarray
    """Sizes, int64, by the places that `kernels.decode_numba` names."""
    weights: np.ndarray
    """All weights, float32, in the order in which they are read."""
    parts: dict[str, tuple[int, ...]]
    """Shape of each tensor of one sequence's state, in the order in which they stand in the array."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens of the vocabulary."""
        return int(self.sizes[compiled_step().VOCAB])

    @property
    def state_size(self) -> int:
        """Number of floats of one sequence's state (Z)."""
        return sum(math.prod(shape) for shape in self.parts.values())

    def pack_state(self, state: State) -> np.ndarray:
        """Return a state as an array [S, Z]."""
        rows = [_channels_last(name, state[name]).flatten(1) for name in self.parts]
        return np.ascontiguousarray(torch.cat(rows, 1).numpy())

    def unpack_state(self, states_SZ: np.ndarray) -> State:
        """Return an array [S, Z] as a state."""
        state, z = {}, 0
        for name, shape in self.parts.items():
            size = math.prod(shape)
            state[name] = _channels_first(name, torch.from_numpy(states_SZ[:, z : z + size].copy()), shape)
            z += size
        return state


def _channels_last(name: str, tensor: Tensor) -> Tensor:
    """Return a recurrence's state as [S, N, E], from [S, E, N] or [S, H, P, N]; leave other tensors as they are."""
    return tensor.flatten(1, -2).mT if name.startswith("ssm.") else tensor


def _channels_first(name: str, flat_SZ: Tensor, shape: tuple[int, ...]) -> Tensor:
    if not name.startswith("ssm."):
        return flat_SZ.view(-1, *shape)
    return flat_SZ.view(-1, shape[-1], math.prod(shape[:-1])).mT.reshape(-1, *shape)


class Unsupported(ValueError):
    """The compiled step does not support a model."""


@cache
def compiled_step() -> ModuleType:
    """Import the compiled step. Raises Unsupported without numba; one that does not work is said on stderr."""
    module = numba_jit.load("tallystick.kernels.decode_numba")
    if module is None:
        raise Unsupported("the backend cpu needs numba, which is missing: pip install 'tallystick[cpu]'")
    return module


def check_support(model: Model) -> None:
    """Raise Unsupported, in one line, for a model of another class, type or device."""
    if type(model) not in _MAKERS:
        kinds = ", ".join(kind.__name__ for kind in _MAKERS)
        raise Unsupported(f"the backend cpu runs {kinds}, not {type(model).__name__}; use --backend eager")
    for parameter in model.parameters():
        if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
            kind = f"{str(parameter.dtype).removeprefix('torch.')} on {parameter.device.type}"
            raise Unsupported(f"the backend cpu computes in float32 on the cpu, not in {kind}; use --backend eager")


def pack(model: Model) -> Packed:
    """Pack a model. Raises Unsupported."""
    check_support(model)
    step = compiled_step()
    with torch.no_grad():
        sizes, tensors = _MAKERS[type(model)](model, step)
        weights = torch.cat([tensor.flatten() for tensor in tensors]).numpy()
    given = np.zeros(step.SIZES, np.int64)
    for place, size in sizes.items():
        given[place] = size
    parts = {name: tuple(tensor.shape[1:]) for name, tensor in model.init_state(1).items()}
    return Packed(given, weights, parts)


def _rows(weight: Tensor) -> Tensor:
    """Transpose a linear layer's weight and pad its rows, one for each input."""
    return _pad(weight.mT)


def _pad(tensor: Tensor) -> Tensor:
    width = tensor.shape[-1]
    return torch.nn.functional.pad(tensor, (0, compiled_step().padded(width) - width))


def _state_space_sizes(model: StateSpaceModel, step: ModuleType, kind: int) -> dict[int, int]:
    config = model.config
    return {
        step.KIND: kind,
        step.VOCAB: config.vocab_size,
        step.WIDTH: config.d_model,
        step.LAYERS: config.n_layer,
        step.TAPS: config.d_conv,
    }


def _mamba2(model: Mamba2, step: ModuleType) -> tuple[dict[int, int], Iterator[Tensor]]:
    config = model.config
    sizes = _state_space_sizes(model, step, step.MAMBA2)
    heads = config.d_inner // config.head_dim
    sizes |= {step.INNER: config.d_inner, step.STATES: config.d_state, step.HEADS: heads}
    return sizes, _state_space(model, _mamba2_block)


def _mamba1(model: Mamba1, step: ModuleType) -> tuple[dict[int, int], Iterator[Tensor]]:
    config = model.config
    sizes = _state_space_sizes(model, step, step.MAMBA1)
    rank = math.ceil(config.d_model / 16)
    sizes |= {step.INNER: config.d_inner, step.STATES: config.d_state, step.RANK: rank}
    return sizes, _state_space(model, _mamba1_block)


def _state_space(model: StateSpaceModel, block: Callable[..., Iterator[Tensor]]) -> Iterator[Tensor]:
    yield _pad(model.embedding.weight)
    for layer in model.layers:
        yield from block(layer)
    yield model.norm.weight
    yield _rows(model.head.weight)


def _up_to_scan(block: Mamba1Block | Mamba2Block) -> Iterator[Tensor]:
    """Yield what both kinds of blocks have before the scan: norm, projection and convolution."""
    assert block.conv.bias is not None
    yield block.norm.weight
    yield _rows(block.in_proj.weight)
    yield block.conv.weight[:, 0].mT
    yield block.conv.bias


def _mamba2_block(block: Mamba2Block) -> Iterator[Tensor]:
    yield from _up_to_scan(block)
    yield decay_rate(block.A_log, block.dt_floor)
    yield block.dt_bias
    yield _floor(block)
    yield block.D.repeat_interleave(block.sizes[0] // block.heads)
    yield block.gate_norm.weight
    yield _rows(block.out_proj.weight)


def _floor(block: Mamba1Block | Mamba2Block) -> Tensor:
    """Return the floor of the step size as a tensor of one entry."""
    return torch.tensor([block.dt_floor])


def _mamba1_block(block: Mamba1Block) -> Iterator[Tensor]:
    yield from _up_to_scan(block)
    yield _rows(block.x_proj.weight)
    yield _rows(block.dt_proj.weight)
    yield block.dt_proj.bias
    yield _floor(block)
    yield decay_rate(block.A_log, block.dt_floor).mT
    yield block.D
    yield _rows(block.out_proj.weight)


def _recurrent(model: Recurrent, step: ModuleType) -> tuple[dict[int, int], Iterator[Tensor]]:
    config, (first, *_) = model.config, model.layers
    assert isinstance(first, Layer)
    sizes = {
        step.KIND: step.LSTM if isinstance(model, LSTM) else step.GRU,
        step.VOCAB: config.vocab_size,
        step.WIDTH: config.d_model,
        step.LAYERS: config.n_layer,
        step.GATES: first.own.out_features // config.d_model,
    }
    return sizes, _recurrent_weights(model)


def _recurrent_weights(model: Recurrent) -> Iterator[Tensor]:
    """Yield the weights; the first layer's input is a table with a row for each token."""
    for i, layer in enumerate(model.layers):
        assert isinstance(layer, Layer)
        if i == 0:
            # In double precision, since torch's sums in single precision differ from call to call.
            table = model.embedding.weight.double() @ layer.input.weight.mT.double() + layer.input.bias.double()
            yield _pad(table.float())
        else:
            yield _pad(layer.input.bias)
            yield _rows(layer.input.weight)
        yield _rows(layer.own.weight)
    yield _rows(model.head.weight)


_MAKERS: dict[type, Callable[..., tuple[dict[int, int], Iterator[Tensor]]]] = {
    Mamba2: _mamba2,
    Mamba1: _mamba1,
    LSTM: _recurrent,
    GRU: _recurrent,
}
"""The function that lists sizes and weights, by the exact class: a subclass may compute something else."""

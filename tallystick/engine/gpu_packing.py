"""A model's weights on a GPU, in the order in which `kernels.decode_triton` reads them, and states that it leaves.

Glossary: S sequences, Z numbers of a state; the sizes of a model are those of `kernels.decode_triton`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain

import torch
from torch import Tensor
from torch.nn.functional import pad

from tallystick.engine.packing import Unsupported
from tallystick.models.base import Model, State
from tallystick.models.mamba2 import Block, Mamba2
from tallystick.models.state_space import decay_rate

CAPABILITY = (8, 0)
"""The oldest generation of NVIDIA's GPUs that is supported: Ampere."""
MAX_WIDTH, MAX_INNER, MAX_STATES = 128, 256, 64
"""Maximum sizes: the registers of a program hold a matrix of weights."""
THREAD = 64
"""Number of weights of a matrix that a thread holds."""
TILE = 8192
"""Maximum number of the head's weights in registers at once."""


class Unavailable(Unsupported):
    """This machine cannot run the backend cuda."""


def device() -> torch.device:
    """Return the GPU. Raises Unavailable, in one line, if there is none, an old one, or no Triton."""
    if not torch.cuda.is_available():
        raise Unavailable("the backend cuda needs an NVIDIA GPU, and torch finds none; use --backend cpu or eager")
    found = torch.cuda.get_device_capability()
    if found < CAPABILITY:
        names = torch.cuda.get_device_name(), ".".join(map(str, found)), ".".join(map(str, CAPABILITY))
        raise Unavailable("the {} has compute capability {}; the backend cuda needs {}".format(*names))
    if find_spec("triton") is None:
        raise Unavailable("the backend cuda needs Triton, which is missing: pip install triton")
    return torch.device("cuda", torch.cuda.current_device())


@dataclass(frozen=True)
class PackedOnGPU:
    """A model for the Triton kernel."""

    weights: Tensor
    sizes: dict[str, int]
    """The kernel's compile-time arguments."""
    config: Mamba2.Config

    @property
    def floor(self) -> float:
        """The floor of the step sizes."""
        return self.config.dt_floor

    def pack_state(self, state: State) -> Tensor:
        """Return a state as the kernel has it, [S, Z], for sequences that count their tokens from here on."""
        config, layers = self.config, list[Tensor]()
        inner, states, E, N = config.d_inner, config.d_state, self.sizes["E"], self.sizes["N"]
        for i in range(config.n_layer):
            ring_SRX = pad(state[f"conv.{i}"], (0, 0, 1, 0))  # place 0 is the next token's
            x, B, C = ring_SRX.split([inner, states, states], 2)
            BC = torch.cat([pad(B, (0, N - states)), pad(C, (0, N - states))], 2)
            kept_SNE = state[f"ssm.{i}"].flatten(1, 2).mT
            layers += pad(x, (0, E - inner)), BC, pad(kept_SNE, (0, E - inner, 0, N - states))
        return torch.cat([layer.flatten(1) for layer in layers], 1).to(self.weights.device)

    def unpack_state(self, states_SZ: Tensor, count_S: Tensor) -> State:
        """Return states as the model has them; count_S: number of tokens that each has read."""
        E, N, J, config, state = self.sizes["E"], self.sizes["N"], self.sizes["J"], self.config, State()
        shapes = [(J + 1, E), (J + 1, 2 * N), (N, E)]
        place_SJ = (count_S[:, None] + 1 + torch.arange(J, device=count_S.device)) % (J + 1)
        row_S1 = torch.arange(len(states_SZ), device=count_S.device)[:, None]
        for i, layer_SZ in enumerate(states_SZ.chunk(config.n_layer, 1)):
            parts = layer_SZ.split([rows * columns for rows, columns in shapes], 1)
            x, BC, ssm_SNE = (part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True))
            B, C = (part[..., : config.d_state] for part in BC.split(N, 2))
            tail_SRX = torch.cat([x[..., : config.d_inner], B, C], 2)
            state[f"conv.{i}"] = tail_SRX[row_S1, place_SJ]
            kept_SEN = ssm_SNE[:, : config.d_state, : config.d_inner].mT
            state[f"ssm.{i}"] = kept_SEN.unflatten(1, (-1, config.head_dim)).contiguous()
        return state


def check_supported(model: Model) -> None:
    """Raise Unsupported, in one line, for a model of another class, type or size."""
    if type(model) is not Mamba2:
        raise Unsupported(f"the backend cuda runs Mamba2, not {type(model).__name__}; use --backend eager")
    types = {str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()} - {"float32"}
    if types:
        raise Unsupported(f"the backend cuda computes in float32, not in {', '.join(types)}; use --backend eager")
    config = model.config
    for name, size, most in (
        ("d_model", config.d_model, MAX_WIDTH),
        ("expand * d_model", config.d_inner, MAX_INNER),
        ("d_state", config.d_state, MAX_STATES),
    ):
        if size > most:
            raise Unsupported(f"the backend cuda supports {name} up to {most}, not {size}; use --backend eager")


def pack(model: Model, device: torch.device) -> PackedOnGPU:
    """Pack a model. Raises Unsupported."""
    check_supported(model)
    assert isinstance(model, Mamba2)
    config = model.config
    D, E, N, V = map(_padded, (config.d_model, config.d_inner, config.d_state, config.vocab_size))
    M = 2 * N + -(-E // config.head_dim // 4) * 4
    with torch.no_grad():
        layers = chain.from_iterable(_block(layer, config, D, E, N, M) for layer in model.layers)
        head_DV = _pad((model.head.weight * model.norm.weight).mT, D, V)
        tensors = [_pad(model.embedding.weight, V, D), *layers, head_DV]
        weights = torch.cat([tensor.flatten() for tensor in tensors]).to(device)
    J, layers = config.d_conv - 1, config.n_layer
    sizes = {"WIDTH": config.d_model, "INNER": config.d_inner, "D": D, "E": E, "N": N, "M": M}
    sizes |= {
        "P": config.head_dim,
        "J": J,
        "WARPS": min(max(D * E // (32 * THREAD), 4), 16),
        "LAYERS": layers,
        "V": V,
        "T": min(V, max(TILE // D, 1)),
        "HEAD_AT": len(weights) - D * V,
    }
    sizes["Z"] = layers * ((J + 1) * (E + 2 * N) + N * E)
    return PackedOnGPU(weights, sizes, config)


def _block(block: object, config: Mamba2.Config, D: int, E: int, N: int, M: int) -> Iterator[Tensor]:
    assert isinstance(block, Block)
    assert block.conv.bias is not None
    inner, states, heads = config.d_inner, config.d_state, block.heads
    in_MD = block.in_proj.weight * block.norm.weight
    z, x, B, C, dt = (part.mT for part in in_MD.split([inner, inner, states, states, heads]))
    yield _pad(z, D, E)
    yield _pad(x, D, E)
    yield torch.cat([_pad(B, D, N), _pad(C, D, N), _pad(dt, D, M - 2 * N)], 1)
    taps_KX = torch.cat([block.conv.weight[:, 0].mT, block.conv.bias[None]])
    x, B, C = taps_KX.split([inner, states, states], 1)
    yield _pad(x, len(x), E)
    yield torch.cat([_pad(B, len(B), N), _pad(C, len(C), N)], 1)
    for per_head in (block.D, decay_rate(block.A_log, block.dt_floor), block.dt_bias):
        yield _pad(per_head.repeat_interleave(config.head_dim)[None], 1, E)
    yield _pad((block.out_proj.weight * block.gate_norm.weight).mT, E, D)


def _padded(size: int) -> int:
    """Return the power of two that a size is padded to."""
    return 1 << (size - 1).bit_length()


def _pad(matrix: Tensor, rows: int, columns: int) -> Tensor:
    return pad(matrix, (0, columns - matrix.shape[1], 0, rows - matrix.shape[0]))

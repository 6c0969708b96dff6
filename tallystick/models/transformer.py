"""Transformers: Pythia, Pythia without position encoding (NoPE), and Mistral with a sliding window.

Sources: Biderman et al. 2023, arXiv 2304.01373 (Pythia, a GPT-NeoX); Kazemnejad et al. 2023, arXiv 2305.19466 (NoPE);
Jiang et al. 2023, arXiv 2310.06825 (Mistral).

Glossary: B batch, L length, V vocabulary, D model width, H heads, P channels of a head, T cached tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from tallystick.models.attention import Cache, WindowCache, empty
from tallystick.models.base import Model, State
from tallystick.models.config import FACTORS, HeadsConfig, RotaryConfig
from tallystick.ranges import ranged


class Transformer(Model):
    """A stack of attention blocks between an embedding and an untied output layer; its state is that of its cache."""

    config: HeadsConfig
    cache: type[Cache] | type[WindowCache] = Cache
    window: int = 0
    """Number of tokens visible to a layer, if the cache is a `WindowCache`."""
    rotated: int = 0
    """Number of channels of each head that are rotated by position."""

    def __init__(self, config: HeadsConfig, block: Callable[..., nn.Module], norm: nn.Module):
        """Build the model from blocks made by `block(config)`; norm: the norm before the output layer."""
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(block(config) for _ in range(config.n_layer))
        self.norm = norm
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        initialise(self, config.n_layer)

    def forward(
        self,
        ids_BL: Tensor,
        state: State | None = None,
        *,
        reset_BL: Tensor | None = None,
        length_B: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        state = self.init_state(len(ids_BL)) if state is None else state
        cached = state["k.0"].shape[1]
        cache = self.cache(state["length"], cached, ids_BL, reset_BL, length_B, self.rotated)
        x_BLD, new = self.embedding(ids_BL), {"length": cache.length_B}
        for i, layer in enumerate(self.layers):
            x_BLD, new[f"k.{i}"], new[f"v.{i}"] = layer(x_BLD, state[f"k.{i}"], state[f"v.{i}"], cache)
        return self.head(self.norm(x_BLD)), new

    def init_state(self, batch: int) -> State:
        config, entries = self.config, self.cache.entries(0, self.window)
        return empty(range(config.n_layer), batch, entries, config.n_head, config.head_width, self.embedding.weight)

    def state_bytes(self, length: int) -> int:
        entries = 2 * self.config.n_layer * self.config.d_model * self.cache.entries(length, self.window)
        return self.embedding.weight.element_size() * entries + 8  # 8 for `length`


def initialise(model: nn.Module, n_layer: int) -> None:
    """Initialise weights as in GPT-2: smaller in every Linear named *_out, which adds to the residual stream."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            deep = name.endswith("_out")
            nn.init.normal_(module.weight, std=0.02 / math.sqrt(2 * n_layer) if deep else 0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


class Attention(nn.Module):
    """A layer that computes attention_out(attend(qkv(x))) for all heads at once."""

    def __init__(self, width: int, heads: int, bias: bool):
        super().__init__()
        self.heads = heads
        self.qkv, self.attention_out = nn.Linear(width, 3 * width, bias), nn.Linear(width, width, bias)

    def forward(
        self, x_BLD: Tensor, old_key_BTHP: Tensor, old_value_BTHP: Tensor, cache: Cache | WindowCache
    ) -> tuple[Tensor, Tensor, Tensor]:
        query_BLHP, key_BLHP, value_BLHP = self.qkv(x_BLD).unflatten(-1, (3, self.heads, -1)).unbind(2)
        seen_BLD, key_BTHP, value_BTHP = cache.attend(query_BLHP, key_BLHP, value_BLHP, old_key_BTHP, old_value_BTHP)
        return self.attention_out(seen_BLD), key_BTHP, value_BTHP


class ParallelBlock(nn.Module):
    """A block that computes x + attention(norm(x)) + mlp(norm(x)), with layer norms and biases."""

    def __init__(self, config: HeadsConfig):
        super().__init__()
        width, inner = config.d_model, config.mlp_ratio * config.d_model
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, config.n_head, bias=True)
        self.mlp_in, self.mlp_out = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(
        self, x_BLD: Tensor, old_key_BTHP: Tensor, old_value_BTHP: Tensor, cache: Cache | WindowCache
    ) -> tuple[Tensor, Tensor, Tensor]:
        normed_BLD = self.attention_norm(x_BLD)
        attended_BLD, key_BTHP, value_BTHP = self.attention(normed_BLD, old_key_BTHP, old_value_BTHP, cache)
        mlp_BLD = self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x_BLD))))
        return x_BLD + attended_BLD + mlp_BLD, key_BTHP, value_BTHP


class GatedMLP(nn.Module):
    """A layer that computes x + mlp_out(silu(gate(norm(x))) * up(norm(x))): SwiGLU (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.gate_up, self.mlp_out = nn.Linear(width, 2 * inner, bias=False), nn.Linear(inner, width, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        gate, up = self.gate_up(self.norm(x_BLD)).chunk(2, dim=-1)
        return x_BLD + self.mlp_out(F.silu(gate) * up)


class GatedBlock(nn.Module):
    """A block that computes mlp(x + attention(norm(x))), with a gated MLP, RMS norms and no biases."""

    def __init__(self, config: HeadsConfig):
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.d_model, eps=1e-5)
        self.attention = Attention(config.d_model, config.n_head, bias=False)
        self.mlp = GatedMLP(config.d_model, config.mlp_ratio * config.d_model)

    def forward(
        self, x_BLD: Tensor, old_key_BTHP: Tensor, old_value_BTHP: Tensor, cache: Cache | WindowCache
    ) -> tuple[Tensor, Tensor, Tensor]:
        normed_BLD = self.attention_norm(x_BLD)
        attended_BLD, key_BTHP, value_BTHP = self.attention(normed_BLD, old_key_BTHP, old_value_BTHP, cache)
        return self.mlp(x_BLD + attended_BLD), key_BTHP, value_BTHP


class NoPE(Transformer):
    """Pythia without position encoding, so that only the causal mask tells order; the state grows with the length."""

    Config = HeadsConfig
    PRESETS = {
        "tiny": {"n_layer": 2, "d_model": 64, "n_head": 2},
        "small": {"n_layer": 4, "d_model": 128, "n_head": 4},
        "paper": {"n_layer": 24, "d_model": 768, "n_head": 8, "mlp_ratio": 2},
    }
    TRAINING = {"lr": 3e-3}  # at 6e-3 Pythia does not learn addition of 5 digits
    fixed_state = False
    verify_chunk = 512

    def __init__(self, config: HeadsConfig):
        super().__init__(config, ParallelBlock, nn.LayerNorm(config.d_model))


class Pythia(NoPE):
    """Pythia: rotary positions, attention and MLP in parallel; the state grows with the length."""

    Config = RotaryConfig
    config: RotaryConfig

    def __init__(self, config: RotaryConfig):
        super().__init__(config)
        self.rotated = config.rotated


class Mistral(Transformer):
    """Mistral: each layer sees a sliding window of `window` tokens; rotary positions; constant state."""

    @dataclass(frozen=True, kw_only=True)
    class Config(HeadsConfig):
        """Sizes of the blocks and of the window."""

        mlp_ratio: int = ranged(2, *FACTORS)
        window: int = ranged(16, 2, 2**20)
        """Number of tokens visible to a layer, including the current one."""

    config: Config
    PRESETS = {
        "tiny": {"n_layer": 2, "d_model": 64, "n_head": 2, "window": 16},
        "small": {"n_layer": 4, "d_model": 128, "n_head": 4, "window": 16},
        "paper": {"n_layer": 8, "d_model": 768, "n_head": 8, "window": 512},
    }
    TRAINING = {"lr": 3e-3}
    verify_chunk = 2048
    capturable = True
    cache = WindowCache

    def __init__(self, config: Config):
        super().__init__(config, GatedBlock, nn.RMSNorm(config.d_model, eps=1e-5))
        self.window, self.rotated = config.window, config.head_width // 2 * 2

"""Transformers: Pythia (GPT-NeoX; Biderman et al. 2023, arXiv 2304.01373), the same without positions (Kazemnejad et
al. 2023, arXiv 2305.19466), and Mistral's with a sliding window (Jiang et al. 2023, arXiv 2310.06825).

Glossary: B batch, L length, V vocabulary, D model width, H heads, P head dim, T cached tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn
from torch.nn import functional as F

from tallystick.models.attention import Cache, WindowCache, empty
from tallystick.models.base import Model
from tallystick.models.config import FACTORS, HeadsConfig, RotaryConfig, ranged


class Transformer(Model):
    """What the family shares: embedding, blocks, norm, untied output.  State: as its cache has it."""

    config: HeadsConfig
    cache: type[Cache] | type[WindowCache] = Cache
    window: int = 0  # of a WindowCache
    rotated: int = 0  # entries of each head that positions rotate

    def __init__(self, config, block, norm: nn.Module):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(block(config) for _ in range(config.n_layer))
        self.norm = norm
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        initialise(self, config.n_layer)

    def forward(self, ids_BL, state=None, *, reset_BL=None, length_B=None):
        state = self.init_state(len(ids_BL)) if state is None else state
        cached = state["k.0"].shape[1]
        cache = self.cache(state["length"], cached, ids_BL, reset_BL, length_B, self.rotated)
        x_BLD, new = self.embedding(ids_BL), {"length": cache.length_B}
        for i, layer in enumerate(self.layers):
            x_BLD, new[f"k.{i}"], new[f"v.{i}"] = layer(x_BLD, state[f"k.{i}"], state[f"v.{i}"], cache)
        return self.head(self.norm(x_BLD)), new

    def init_state(self, batch):
        config, weight = self.config, self.embedding.weight
        entries = self.cache.entries(0, self.window)
        return empty(range(config.n_layer), batch, entries, config.n_head, config.d_model // config.n_head, weight)

    def state_bytes(self, length):
        entries = 2 * self.config.n_layer * self.config.d_model * self.cache.entries(length, self.window)
        return self.embedding.weight.element_size() * entries + 8  # and the length itself


def initialise(model: nn.Module, n_layer: int):
    """GPT-2's way; each of the two sums that a layer adds to the residual stream ends in a Linear named *_out."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            deep = name.endswith("_out")
            nn.init.normal_(module.weight, std=0.02 / math.sqrt(2 * n_layer) if deep else 0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


class Attention(nn.Module):
    """Queries, keys and values of all heads, and the way out."""

    def __init__(self, width: int, heads: int, bias: bool):
        super().__init__()
        self.heads = heads
        self.qkv, self.attention_out = nn.Linear(width, 3 * width, bias), nn.Linear(width, width, bias)

    def forward(self, x_BLD, old_key_BTHP, old_value_BTHP, cache):
        qkv_BLHP = self.qkv(x_BLD).unflatten(-1, (3, self.heads, -1)).unbind(2)
        seen_BLD, key_BTHP, value_BTHP = cache.attend(*qkv_BLHP, old_key_BTHP, old_value_BTHP)
        return self.attention_out(seen_BLD), key_BTHP, value_BTHP


class ParallelBlock(nn.Module):
    """x + attention(norm(x)) + mlp(norm(x)), side by side."""

    def __init__(self, config):
        super().__init__()
        width, inner = config.d_model, config.mlp_ratio * config.d_model
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, config.n_head, bias=True)
        self.mlp_in, self.mlp_out = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x_BLD, old_key_BTHP, old_value_BTHP, cache):
        normed_BLD = self.attention_norm(x_BLD)
        attended_BLD, key_BTHP, value_BTHP = self.attention(normed_BLD, old_key_BTHP, old_value_BTHP, cache)
        mlp_BLD = self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x_BLD))))
        return x_BLD + attended_BLD + mlp_BLD, key_BTHP, value_BTHP


class GatedMLP(nn.Module):
    """x + out(silu(gate(norm(x))) * up(norm(x))), SwiGLU (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.gate_up, self.mlp_out = nn.Linear(width, 2 * inner, bias=False), nn.Linear(inner, width, bias=False)

    def forward(self, x_BLD):
        gate, up = self.gate_up(self.norm(x_BLD)).chunk(2, dim=-1)
        return x_BLD + self.mlp_out(F.silu(gate) * up)


class GatedBlock(nn.Module):
    """Attention and then a gated MLP (SwiGLU), RMS norms, no bias."""

    def __init__(self, config):
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.d_model, eps=1e-5)
        self.attention = Attention(config.d_model, config.n_head, bias=False)
        self.mlp = GatedMLP(config.d_model, config.mlp_ratio * config.d_model)

    def forward(self, x_BLD, old_key_BTHP, old_value_BTHP, cache):
        normed_BLD = self.attention_norm(x_BLD)
        attended_BLD, key_BTHP, value_BTHP = self.attention(normed_BLD, old_key_BTHP, old_value_BTHP, cache)
        return self.mlp(x_BLD + attended_BLD), key_BTHP, value_BTHP


class NoPE(Transformer):
    """Pythia without positions: only the causal mask tells them."""

    Config = HeadsConfig
    config: HeadsConfig
    PRESETS = {
        "tiny": {"n_layer": 2, "d_model": 64, "n_head": 2},
        "small": {"n_layer": 4, "d_model": 128, "n_head": 4},
        "paper": {"n_layer": 24, "d_model": 768, "n_head": 8, "mlp_ratio": 2},
    }
    TRAINING = {"lr": 3e-3}  # at 6e-3 Pythia did not learn addition of 5 digits
    fixed_state = False
    verify_chunk = 512

    def __init__(self, config: HeadsConfig):
        super().__init__(config, ParallelBlock, nn.LayerNorm(config.d_model))


class Pythia(NoPE):
    """Rotary positions, attention and MLP in parallel."""

    Config = RotaryConfig
    config: RotaryConfig

    def __init__(self, config: RotaryConfig):
        super().__init__(config)
        self.rotated = config.rotated


class Mistral(Transformer):
    """Sliding window: a layer sees the last `window` tokens, so the state is constant; rotary positions."""

    @dataclass(frozen=True, kw_only=True)
    class Config(HeadsConfig):
        """Sizes."""

        mlp_ratio: int = ranged(2, *FACTORS)
        window: int = ranged(16, 2, 2**20)
        """Tokens that a layer sees, the present one included."""

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

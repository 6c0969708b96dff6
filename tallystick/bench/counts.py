"""What a token costs at least: operations and bytes, counted from a model's shape.

The bytes are what no implementation avoids, so that a limit made of them is one: weights, states, and a layer's
input, which the backward pass needs again. What a kernel writes beside that is its own affair.
"""

from __future__ import annotations

from tallystick.models.base import Model

STATE_FLOPS = 6
"""Operations for each number of a recurrent state and token: decay, input and output, a product and a sum each."""
BACKWARD = 3
"""Cost of a forward and a backward pass in forward passes."""
OPTIMIZER = 10
"""Times that AdamW's step and the two passes read or write a number of each weight."""


def forward_flops(model: Model) -> float:
    """Count the operations of a forward pass per token: two for each weight of a matrix product, and the state's."""
    products = sum(p.numel() for p in _products(model))
    return 2 * products + STATE_FLOPS * _state_numbers(model)


def training_flops(model: Model) -> float:
    """Count the operations of a training step per token."""
    return BACKWARD * forward_flops(model)


def forward_bytes(model: Model, tokens: int, element: int) -> float:
    """Count the bytes of a forward pass over many tokens at once, per token.

    tokens: of one pass, which reads the weights once. element: bytes of a number that passes from layer to layer.
    """
    return weight_bytes(model) / tokens + _residuals(model, element)


def training_bytes(model: Model, tokens: int, element: int) -> float:
    """Count the bytes of a training step per token: weights and optimizer, and each layer's input, kept for later."""
    return OPTIMIZER * weight_bytes(model) / tokens + _residuals(model, element)


def decoding_bytes(model: Model, sessions: int) -> float:
    """Count the bytes of decoding, per token: weights, shared by all sessions, and the state, read and written."""
    return weight_bytes(model) / sessions + 2 * state_bytes(model)


def weight_bytes(model: Model) -> int:
    """Count the bytes of all weights."""
    return sum(p.nbytes for p in model.parameters())


def state_bytes(model: Model) -> int:
    """Count the bytes of one session's state."""
    return sum(tensor.nbytes for tensor in model.init_state(1).values())


def _products(model: Model) -> list:
    """Return the weights that are multiplied with each token; an embedding that is not the head is looked up."""
    named = {name: p for name, p in model.named_parameters(remove_duplicate=False) if p.dim() > 1}
    return [p for name, p in named.items() if name != "embedding.weight"]


def _state_numbers(model: Model) -> int:
    return sum(tensor.numel() for tensor in model.init_state(1).values())


def _residuals(model: Model, element: int) -> float:
    config = model.config
    return 2 * element * config.n_layer * config.d_model  # pyright: ignore[reportAttributeAccessIssue]

"""The interface of every model.

Glossary: B batch, L length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from tallystick.models.config import Config as BaseConfig

State = dict[str, Tensor]
"""The state that a model carries from token to token: tensors by name, batch first, never modified in place."""


class Model(nn.Module):
    """A causal sequence model that takes its state as an argument and returns the new one.

    A subclass sets `Config` and `PRESETS`, and any other attribute below whose default does not suit it, and defines
    `forward` and `init_state`; if its state grows, also `state_bytes`.

    One pass, any chunking and single steps agree in fp32: logits to 1e-5 of the token's largest logit, each state
    tensor to 1e-5 of its largest entry. Keeping a state makes a snapshot; `select` forks it.
    """

    Config = BaseConfig
    """Dataclass of the model's settings."""

    PRESETS: Mapping[str, Mapping[str, object]] = {}
    """Values of `Config` by the preset's name; one preset is "tiny"."""

    TRAINING: Mapping[str, object] = {}
    """Defaults of training settings that differ for this model."""

    fixed_state: bool = True
    """Whether the state has the same size after every token."""

    verify_chunk: int = 1024
    """Number of tokens of a sequence that verification feeds at once on a CPU: the fastest choice."""

    verify_chunk_gpu: int = 2048
    """Number of tokens of a sequence that verification feeds at once on a GPU: many, but limited by memory."""

    verify_batch_size: int = 1
    """Number of sequences over which verification spreads episodes: several for a model that loops over time, which
    then must have a state of fixed size."""

    verify_rows_gpu: int = 1
    """Number of sequences among which verification divides these tokens on a GPU, if there are as many episodes, for a
    model that is faster over several; it then has a `verify_batch_size` of 1."""

    capturable: bool = False
    """Whether a training step can be captured as a CUDA graph: the state has a fixed size, and `forward` neither waits
    for a value from the GPU nor copies one there."""

    def __init__(self, config: BaseConfig):
        super().__init__()
        self.config = config

    def forward(
        self,
        ids_BL: Tensor,
        state: State | None = None,
        *,
        reset_BL: Tensor | None = None,
        length_B: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Read L >= 1 tokens of each sequence and return `(logits_BLV, state)`; a token's logits predict the next one.

        ids_BL: int64.
        state: None means `init_state(B)`.
        reset_BL: bool; the state is zeroed *before* a token where this is true: the first of a packed episode.
        length_B: int64; only the first `length_B[b]` tokens of sequence b are valid, 0 is allowed. The others leave
            the state untouched, and their logits are meaningless.
        """
        raise NotImplementedError

    def init_state(self, batch: int) -> State:
        """Return the state before the first token, for `batch` sequences."""
        raise NotImplementedError

    def state_bytes(self, length: int) -> int:
        """Return the size in bytes of one sequence's state after `length` tokens."""
        return sum(tensor.nbytes for tensor in self.init_state(1).values())


def select(state: State, rows: Tensor | Sequence[int]) -> State:
    """Return the state of the chosen sequences, in that order; one that is named twice is forked.

    rows: any index into a tensor's first dimension.
    """
    return {name: tensor[rows] for name, tensor in state.items()}

"""The contract that every model keeps.

Glossary: B batch (rows), L length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

State = dict[str, Tensor]
"""What a model carries from token to token: flat, batch first, never changed in place."""


class Model(nn.Module):
    """A causal sequence model whose state goes in and comes out.

    A subclass sets `Config`, `PRESETS` and `chunk`, `TRAINING`, `rows` and `capturable` where they are other ones, and
    writes `forward`, `init_state` and `state_bytes`.
    One pass, any chunking and token by token agree in fp32, to 1e-5 of the token's largest logit and of each
    state tensor's largest entry.  Keeping a state is a snapshot, `select` forks it.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """What `build` takes as `key=value`; bool, int, float and str fields only."""

        vocab_size: int
        """Number of symbols."""

    PRESETS: Mapping[str, Mapping[str, object]] = {}
    """Preset name -> fields of `Config`; one is "tiny"."""

    TRAINING: Mapping[str, object] = {}
    """Settings of training whose defaults are other ones for this model."""

    verify_chunk: int = 1024
    """Tokens of one row that long verification best feeds at once (measured on CPU)."""
    verify_chunk_gpu: int = 2048
    """The same on a GPU, which small chunks leave idle; bounded by memory."""

    capturable = False
    """Whether a training step may be captured as a CUDA graph: the state's size is fixed, and `forward` neither waits
    for a value from the GPU nor sends one there."""

    verify_batch_size: int = 1
    """Rows in which long verification best lays its episodes; more for a model that loops over time.  Its state must
    then be constant in size."""

    def __init__(self, config):
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
        """Read L >= 1 tokens of each row: `(logits_BLV, state)`, each token's logits predicting the next one.

        The state is zeroed *before* a token whose `reset_BL` is true (packed rows).  Only the first
        `length_B[b]` tokens of row b count (ragged rows; 0 is allowed): the rest leaves its state untouched, and
        the logits there mean nothing.  `state=None` is `init_state(B)`.
        """
        raise NotImplementedError

    def init_state(self, batch: int) -> State:
        """The state before the first token, for `batch` rows."""
        raise NotImplementedError

    def state_bytes(self, length: int) -> int:
        """Bytes of one row's state after `length` tokens."""
        raise NotImplementedError

    @property
    def fixed_state(self) -> bool:
        """Whether the state is as large from the first token on as ever after."""
        return self.state_bytes(1) == self.state_bytes(1000)


def select(state: State, rows) -> State:
    """The state of chosen rows, in that order (any index of a tensor); twice the same row is a fork."""
    return {name: tensor[rows] for name, tensor in state.items()}

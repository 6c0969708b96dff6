"""The contract that every model keeps.

Glossary: B batch, L length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from tallystick.models.config import Config as BaseConfig

State = dict[str, Tensor]
"""What a model carries from token to token: tensors by name, batch first, never changed in place."""


class Model(nn.Module):
    """A causal sequence model whose state goes in and comes out.

    A subclass sets `Config` and `PRESETS`, and any other attribute below whose default does not suit it, and writes
    `forward` and `init_state`; where the state grows, `state_bytes` too.

    One pass, any chunking and token by token agree in fp32: logits to 1e-5 of the token's largest one, each state
    tensor to 1e-5 of its largest entry.  Keeping a state is a snapshot; `select` forks it.
    """

    Config = BaseConfig
    """The settings of the model, a dataclass."""

    PRESETS: Mapping[str, Mapping[str, object]] = {}
    """Fields of `Config` by the preset's name; one preset is "tiny"."""

    TRAINING: Mapping[str, object] = {}
    """Training settings whose defaults differ for this model."""

    fixed_state: bool = True
    """Whether the state has the same size after every token."""

    verify_chunk: int = 1024
    """Tokens of one row that verification feeds at once on a CPU, where that is fastest."""

    verify_chunk_gpu: int = 2048
    """Tokens of one row that verification feeds at once on a GPU: many, to keep it busy, but bounded by memory."""

    verify_batch_size: int = 1
    """Rows over which verification spreads its episodes: several for a model that loops over time.  Its state must
    then be fixed in size."""

    capturable: bool = False
    """Whether a training step can be captured as a CUDA graph: the state is fixed in size, and `forward` neither waits
    for a value from the GPU nor sends one there."""

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
        """Read L >= 1 tokens of each row and return `(logits_BLV, state)`; a token's logits predict the next one.

        ids_BL: int64.
        state: None means `init_state(B)`.
        reset_BL: bool; the state is zeroed *before* a token that is marked, the first of a sequence in a packed row.
        length_B: int64; only the first `length_B[b]` tokens of row b count, 0 is allowed.  The others leave the state
            untouched, and their logits mean nothing.
        """
        raise NotImplementedError

    def init_state(self, batch: int) -> State:
        """Return the state before the first token, for `batch` rows."""
        raise NotImplementedError

    def state_bytes(self, length: int) -> int:
        """Return the size in bytes of one row's state after `length` tokens."""
        return sum(tensor.nbytes for tensor in self.init_state(1).values())


def select(state: State, rows: Tensor | Sequence[int]) -> State:
    """Return the state of the chosen rows, in that order; a row that is named twice is forked.

    rows: any index of a tensor's first dimension.
    """
    return {name: tensor[rows] for name, tensor in state.items()}

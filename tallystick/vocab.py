"""The vocabulary and the loss mask, the one definition of which tokens are trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from tallystick.episode import BOS, ID_DTYPE, MARKS, ROLE_DTYPE, Role
from tallystick.trajectory import Trajectory

TRAINED = np.array([role not in (Role.PROMPT, Role.OBSERVATION) for role in Role])
"""Whether tokens of each role are trained: loss and exactness count what the model says (paper, section 3)."""
TRAINED_WITHOUT_TOOLS = np.array([role != Role.PROMPT for role in Role])
"""The same for a model without tools, which must predict their answers, too (paper, section 4: the third ablation)."""


class Vocabulary:
    """Token strings and their ids: the grammar's marks, then the tools' tokens, then the task's symbols.

    Raises ValueError for an empty or repeated symbol.
    """

    def __init__(self, symbols: Iterable[str]):
        self.tokens = (*MARKS, *symbols)
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        if "" in self.ids:
            raise ValueError("a symbol is empty; give it at least one character")
        if len(self.ids) < len(self.tokens):
            repeated = sorted(token for token, count in Counter(self.tokens).items() if count > 1)
            raise ValueError(f"symbols must be distinct; repeated: {' '.join(repeated)}")

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, symbols: Iterable[str]) -> list[int]:
        """Return the ids of symbols. Raises ValueError naming the first one outside the vocabulary."""
        try:
            return list(map(self.ids.__getitem__, symbols))
        except KeyError as error:
            raise ValueError(f"{error.args[0]!r} is not in the vocabulary") from None

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Return the symbols of ids."""
        return [self.tokens[i] for i in ids]


def loss_mask(roles: np.ndarray, predict_observations: bool = False) -> np.ndarray:
    """Return a mask that is True where a token is trained; roles: ROLE_DTYPE of any shape.

    predict_observations: train the tools' answers, too, for a model without tools.
    """
    return (TRAINED_WITHOUT_TOOLS if predict_observations else TRAINED)[roles]


def render(
    trajectory: Trajectory,
    vocab: Vocabulary,
    tokenize: Callable[[str], list[int]] | None = None,
    *,
    predict_observations: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids (ID_DTYPE [length]) and loss mask (bool [length]) of a trajectory; the first token is [BOS].

    A symbol is one token. Each text segment is tokenized separately, so that no token spans two roles. Raises
    ValueError for a text segment without a tokenizer, and for a symbol outside the vocabulary.
    """
    ids, roles = [BOS], [Role.PROMPT]
    for role, segment in trajectory.segments:
        if not isinstance(segment, str):
            part = vocab.encode(segment)
        elif tokenize is not None:
            part = tokenize(segment)
        else:
            raise ValueError("the trajectory has text segments; give a tokenizer")
        ids.extend(part)
        roles.extend([role] * len(part))
    return np.array(ids, ID_DTYPE), loss_mask(np.array(roles, ROLE_DTYPE), predict_observations)

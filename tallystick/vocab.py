"""The vocabulary, and the one place that says which tokens are trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from tallystick.episode import BOS, MARKS, Role, Trajectory

TRAINED = np.array([role not in (Role.PROMPT, Role.OBSERVATION) for role in Role])
"""By role: loss and exactness count what the model says, not what the world says (paper, section 3)."""
TRAINED_ALONE = np.array([role != Role.PROMPT for role in Role])
"""The same of a model that has no tool and must predict its answers (paper, section 4: the third ablation)."""


class Vocabulary:
    """Token strings and their ids: the grammar's marks, then the tools' tokens, then the task's symbols.

    Raises ValueError for a symbol that stands there twice or is empty, and beyond 65,536 tokens (ids are uint16).
    """

    def __init__(self, symbols: Iterable[str]):
        self.tokens = (*MARKS, *symbols)
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        if len(self.ids) != len(self.tokens) or "" in self.ids:
            twice = sorted({token for token in self.tokens if self.tokens.count(token) > 1})
            raise ValueError(f"symbols must be distinct and not empty; repeated: {' '.join(twice) or 'none'}")
        if len(self.tokens) > 65_536:
            raise ValueError(f"{len(self.tokens)} tokens; a vocabulary has at most 65536")

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, symbols: Iterable[str]) -> list[int]:
        """Ids of symbols. Raises ValueError naming the first one outside the vocabulary."""
        try:
            return list(map(self.ids.__getitem__, symbols))
        except KeyError as error:
            raise ValueError(f"{error.args[0]!r} is not in the vocabulary") from None

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Symbols of ids."""
        return [self.tokens[i] for i in ids]


def loss_mask(roles: np.ndarray, predict_observations: bool = False) -> np.ndarray:
    """True where the model says the token; roles: uint8 of any shape. The only definition of the mask."""
    return (TRAINED_ALONE if predict_observations else TRAINED)[roles]


def render(
    trajectory: Trajectory,
    vocab: Vocabulary,
    tokenize: Callable[[str], list[int]] | None = None,
    *,
    predict_observations: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """A trajectory as (ids uint16 [length], loss_mask bool [length]), [BOS] first.

    A symbol is one id. A text segment goes through `tokenize` by itself, so that no merge crosses a role;
    raises ValueError if there is one and no tokenizer, or for a symbol outside the vocabulary.
    """
    ids, roles = [BOS], [Role.PROMPT]
    for role, segment in trajectory.segments:
        if isinstance(segment, str) and tokenize is None:
            raise ValueError("the trajectory has text segments: a tokenizer is needed")
        part = tokenize(segment) if isinstance(segment, str) and tokenize else vocab.encode(segment)
        ids.extend(part)
        roles.extend([role] * len(part))
    return np.array(ids, np.uint16), loss_mask(np.array(roles, np.uint8), predict_observations)

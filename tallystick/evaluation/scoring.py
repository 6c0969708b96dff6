"""Score the episodes of a packed sequence, chunk by chunk, each up to its first deviation.

Glossary: L length of a chunk, T its model tokens, V vocabulary. The input at place p of a chunk predicts token p + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import torch

from tallystick.engine.margins import abstains, best_other
from tallystick.engine.result import CONTEXT, Result
from tallystick.episode import ID_DTYPE, StopReason
from tallystick.vocab import Vocabulary


class Later:
    """A tensor being copied to the CPU; reading it waits for this copy only, not for work begun later."""

    def __init__(self, tensor: torch.Tensor):
        self._tensor = tensor.to("cpu", non_blocking=True)
        self._event = torch.cuda.Event() if tensor.is_cuda else None
        if self._event:
            self._event.record()

    def numpy(self) -> np.ndarray:
        """Wait for the copy and return it."""
        if self._event:
            self._event.synchronize()
        return self._tensor.numpy()


class Chunk(NamedTuple):
    """One sequence's tokens of a forward pass."""

    ids: np.ndarray  # [L + 1], inputs, and targets shifted by one
    reset: np.ndarray  # bool [L], whether an episode begins at this input
    predicted_at: np.ndarray  # int64 [T], the inputs that predict a model token
    logits: torch.Tensor  # [T, V]
    margins: Later  # float32 [T]


class Scored(Protocol):
    """An episode with its result, which scoring fills in."""

    result: Result


class Score:
    """Scores one packed sequence; episodes: those begun in it so far, a list that grows while it is scored."""

    def __init__(self, vocab: Vocabulary, episodes: Sequence[Scored]):
        self._vocab, self._episodes = vocab, episodes
        self._begun = 0  # number of episodes begun before this chunk
        self._tail = np.zeros(0, ID_DTYPE)  # the last CONTEXT tokens before this chunk
        self._offset = 0  # position, in its episode, of this chunk's first token

    def take(self, chunk: Chunk, low: float) -> None:
        """Score the next chunk; low: margins below it are counted as low."""
        episode_of_input = self._begun + np.cumsum(chunk.reset)  # counted from 1
        episode_of_token = episode_of_input[chunk.predicted_at]
        begins = np.flatnonzero(np.diff(episode_of_token, prepend=0)).tolist()  # episodes come one after the other
        for begin, end in pairwise([*begins, len(episode_of_token)]):
            result = self._episodes[episode_of_token[begin] - 1].result
            if result.exact:
                self._score_episode(result, chunk, begin, end, low)
        self._offset = self._position(len(chunk.reset), chunk.reset)
        self._tail = np.concatenate([self._tail, chunk.ids[:-1]])[-CONTEXT:]
        self._begun = int(episode_of_input[-1])

    def _score_episode(self, result: Result, chunk: Chunk, begin: int, end: int, low: float) -> None:
        """Score the model tokens from begin to end, one episode's in the chunk, up to its first deviation."""
        margins = chunk.margins.numpy()[begin:end]
        wrong = np.flatnonzero(margins <= 0)
        if len(wrong):
            margins = margins[: wrong[0] + 1]
            self._deviate(result, chunk, begin + int(wrong[0]))
        result.model_tokens += len(margins)
        last = int(chunk.predicted_at[begin + len(margins) - 1])
        result.tokens = self._position(last + 1, chunk.reset) + 1
        result.low_margin_tokens += int((np.abs(margins) < low).sum())
        result.min_margin = min(result.min_margin, float(margins.min()))

    def _deviate(self, result: Result, chunk: Chunk, token: int) -> None:
        """Store the first deviation, at this model token of the chunk."""
        place = int(chunk.predicted_at[token]) + 1  # where the wrong token stands
        logits_V, words = chunk.logits[token], self._vocab.tokens
        position = self._position(place, chunk.reset)
        before = np.concatenate([self._tail, chunk.ids[:place]])
        silent = abstains(logits_V)
        result.exact = False
        result.stop = StopReason.UNSEEN if silent else StopReason.DEVIATED
        result.first_error = {
            "index": result.index,
            "position": position,
            "context": self._vocab.decode(before[-min(CONTEXT, position) :].tolist()),
            "want": words[chunk.ids[place]],
            "got": None if silent else words[best_other(logits_V, int(chunk.ids[place]))],
            "margin": float(chunk.margins.numpy()[token]),
        }

    def _position(self, place: int, reset: np.ndarray) -> int:
        """Return the position within its episode of the token at this place of the chunk."""
        starts = np.flatnonzero(reset[:place])
        return place - int(starts[-1]) if len(starts) else self._offset + place

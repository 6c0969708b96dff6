"""How an episode went: the result, and the score that leads to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from tallystick.episode import StopReason
from tallystick.vocab import Vocabulary

CONTEXT = 16
"""Tokens of context kept with a first error."""


@dataclass
class Result:
    """How one episode went; of `verify` and `generate` alike. Counts end at the first deviation."""

    index: int
    """Of the problem, in the order given."""
    stop: StopReason = StopReason.EOS
    """How it ended."""
    exact: bool = True
    """Every model token equals the program's."""
    answer: bool | None = None
    """Whether the answer is right; None where verify cannot know."""
    score: float | None = None
    """How much of the answer is right, by the task's `partial_score`; None where verify cannot know."""
    model_tokens: int = 0
    """Model tokens looked at."""
    tokens: int = 0
    """The episode's tokens up to the last one looked at, prompt and observations included."""
    near_ties: int = 0
    """Of these, tokens whose margin is within rounding."""
    min_margin: float = float("inf")
    """The smallest margin: logit of the program's token less the best other; negative at a deviation."""
    first_error: dict[str, Any] | None = None
    """{"index", "position", "context", "want", "got", "margin"} of the first deviation."""


class Later:
    """A tensor on its way to the CPU; who needs it waits for it alone, not for what was begun after it."""

    def __init__(self, tensor: torch.Tensor):
        self._tensor = tensor.to("cpu", non_blocking=True)
        self._event = torch.cuda.Event() if tensor.is_cuda else None
        if self._event:
            self._event.record()

    def numpy(self) -> np.ndarray:
        """The values."""
        if self._event:
            self._event.synchronize()
        return self._tensor.numpy()


class Part(NamedTuple):
    """A row's tokens of one forward pass, to be scored; T model tokens among them."""

    ids: np.ndarray
    reset: np.ndarray
    where: np.ndarray  # [T], their positions
    logits: torch.Tensor  # [T, V]
    margins: Later  # [T]


class Score:
    """One of the packed streams: the score of the episodes that lie in it, one after the other."""

    def __init__(self, vocab: Vocabulary):
        self._vocab = vocab
        self.results: list[Result] = []
        """Of the episodes that have begun in the row, in order."""
        self._begun = 0  # of these, before this batch
        self._tail = np.zeros(0, np.uint16)  # the last CONTEXT tokens before this batch
        self._offset = 0  # position of the batch's first token in its episode

    def take(self, part: Part, tie: float) -> None:
        """The row's next tokens; a margin below `tie` is a near tie."""
        ids, reset, where, margins = part.ids, part.reset, part.where, part.margins.numpy()
        begun = self._begun + np.cumsum(reset)
        for number in np.unique(begun[where]):
            result, inside = self.results[number - 1], np.flatnonzero(begun[where] == number)
            if not result.exact:
                continue
            wrong = inside[margins[inside] <= 0]
            if len(wrong):
                inside = inside[inside <= wrong[0]]
                self._deviate(
                    result, int(where[wrong[0]]), float(margins[wrong[0]]), part.logits[int(wrong[0])], ids, reset
                )
            result.model_tokens += len(inside)
            result.tokens = self._position(int(where[inside[-1]]), reset) + 2
            result.near_ties += int((np.abs(margins[inside]) < tie).sum())
            result.min_margin = min(result.min_margin, float(margins[inside].min()))
        self._offset = self._position(len(reset) - 1, reset) + 1
        self._tail, self._begun = np.concatenate([self._tail, ids[:-1]])[-CONTEXT:], int(begun[-1])

    def _deviate(
        self, result: Result, at: int, margin: float, logits: torch.Tensor, ids: np.ndarray, reset: np.ndarray
    ) -> None:
        """at: the input whose next token is wrong."""
        before = np.concatenate([self._tail, ids[: at + 1]])
        position = self._position(at, reset) + 1
        context = before[-min(CONTEXT, position) :]
        result.exact = False
        result.stop = StopReason.UNSEEN if abstains(logits) else StopReason.DEVIATED
        words = self._vocab.tokens
        result.first_error = {
            "index": result.index,
            "position": position,
            "context": self._vocab.decode(context.tolist()),
            "want": words[ids[at + 1]],
            "got": None if abstains(logits) else words[int(_best_other(logits, int(ids[at + 1])))],
            "margin": margin,
        }

    def _position(self, at: int, reset: np.ndarray) -> int:
        """Where input `at` of the batch stands in its episode."""
        starts = np.flatnonzero(reset[: at + 1])
        return at - int(starts[-1]) if len(starts) else self._offset + at


def margin(logits_TV: torch.Tensor, targets_T: torch.Tensor) -> torch.Tensor:
    """Logit of the target less the best other, [T]; the least there is where that is no number."""
    target_T1 = targets_T[:, None]
    others_TV = logits_TV.scatter(1, target_T1, float("-inf"))
    margin_T = (logits_TV.gather(1, target_T1)[:, 0] - others_TV.amax(1)).float()
    return margin_T.masked_fill(margin_T.isnan(), torch.finfo(torch.float32).min)


def _best_other(logits_V: torch.Tensor, target: int) -> int:
    others_V = logits_V.clone()
    others_V[target] = float("-inf")
    return int(others_V.argmax())


def abstains(logits_V: torch.Tensor) -> bool:
    """Whether a model says nothing: all its logits are equal (lookup, in a context it has not seen)."""
    return bool(logits_V.amax() == logits_V.amin())

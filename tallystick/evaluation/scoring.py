"""Scores packed streams: each episode up to its first deviation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from tallystick.engine.margins import abstains, best_other
from tallystick.engine.result import CONTEXT, Result
from tallystick.episode import StopReason
from tallystick.vocab import Vocabulary


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
        """The row's next tokens; a margin below `tie` is a low margin."""
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
            result.low_margin_tokens += int((np.abs(margins[inside]) < tie).sum())
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
            "got": None if abstains(logits) else words[int(best_other(logits, int(ids[at + 1])))],
            "margin": margin,
        }

    def _position(self, at: int, reset: np.ndarray) -> int:
        """Where input `at` of the batch stands in its episode."""
        starts = np.flatnonzero(reset[: at + 1])
        return at - int(starts[-1]) if len(starts) else self._offset + at

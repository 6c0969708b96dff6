"""verify: would the model, decoding greedily, produce the program's trajectory token for token?

If every model token is the argmax under teacher forcing, free running yields that trajectory, by induction: so one
chunked scan measures what `engine.generate` would do, in memory that does not grow with the length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from tallystick import workspace
from tallystick.data import Batch, Packer, Position
from tallystick.episode import Record, StopProgram, StopReason
from tallystick.models.base import Model
from tallystick.tasks import Task

CONTEXT = 16
"""Tokens of context kept with a first error."""
PROBE = 128
"""Tokens on which a chunk's logits are compared with single steps'."""


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


def verify(
    model: Model, task: Task, prompts: Iterable[Sequence[str]], *, chunk: int | None = None, carry: bool = False
) -> list[Result]:
    """Verify one episode for each prompt. The episodes are packed end to end, `chunk` tokens a forward.

    An episode is looked at up to its first deviation. carry: each begins in the state that the one before it left, as
    if it came late in a far longer problem. Raises ProgramError if the task's program is wrong.
    """
    scan = _Scan(model, task, chunk, carry)
    for prompt in prompts:
        scan.run(list(prompt))
    return scan.finish()


class _Later:
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


class _Chunk(NamedTuple):
    """What a forward pass leaves to be scored; T model tokens."""

    batch: Batch
    where: np.ndarray  # [T], their positions
    rows: torch.Tensor  # [T, V], their logits
    margins: _Later  # [T]


class _Scan:
    """The forward passes over the packed stream, and the score of each episode.

    late: chunks that are scored only after so many others have begun. On a GPU one: it then computes while the program
    makes the next chunk.
    """

    def __init__(self, model: Model, task: Task, chunk: int | None, carry: bool, late: int | None = None):
        self._model, self._task, self._carry = model, task, carry
        self._device = next((t.device for t in model.state_dict().values()), torch.device("cpu"))
        gpu = self._device.type == "cuda"
        chunk = chunk or (model.gpu_chunk if gpu else model.chunk)
        self._packer = Packer(1, chunk, self._forward, task.predict_observations)
        self._late, self._waiting = int(gpu) if late is None else late, deque[_Chunk]()
        self._state = None
        self._tail = np.zeros(0, np.uint16)  # the last CONTEXT tokens before this batch
        self._offset = 0  # position of the batch's first token in its episode
        self._current = -1  # the episode that the batch begins in
        self.results: list[Result] = []
        self._tie: float | None = None

    def run(self, prompt: list[str]) -> None:
        self.results.append(Result(len(self.results)))
        if self._tie is None:
            self._tie = near_tie(self._model, self._task, prompt, self._device)
        self._packer.begin(self.results[-1].index)
        workspace.run(self._task, prompt, self._packer)
        if not self.results[-1].exact:
            self._packer.clear()

    def finish(self) -> list[Result]:
        with suppress(StopProgram):
            self._packer.drain()
        while self._waiting:
            self._score(self._waiting.popleft())
        for result in self.results:
            result.answer = True if result.exact else None
        return self.results

    @torch.no_grad()
    def _forward(self, batch: Batch, position: Position) -> None:
        """Begin with a chunk, and score one that was begun before."""
        used = int(batch.lengths[0])
        if not used:
            return
        ids = self._there(batch.ids[:, : used + 1].astype(np.int64))
        resets = batch.reset.any() and not self._carry
        reset_BL = self._there(batch.reset[:, :used]) if resets else None
        logits, self._state = self._model(ids[:, :-1], self._state, reset_BL=reset_BL)
        where = np.flatnonzero(batch.trained[0, :used])
        places = self._there(where)
        rows = logits[0, places]
        self._waiting.append(_Chunk(batch, where, rows, _Later(margin(rows, ids[0, 1:][places]))))
        if len(self._waiting) > self._late:
            self._score(self._waiting.popleft())
            if self._current == len(self.results) - 1 and not self.results[-1].exact:
                raise StopProgram

    def _there(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device, non_blocking=True)

    def _score(self, chunk: _Chunk) -> None:
        batch, used = chunk.batch, int(chunk.batch.lengths[0])
        reset = batch.reset[0, :used]
        episode = self._current + np.cumsum(reset)
        self._count(chunk.where, chunk.margins.numpy(), episode[chunk.where], chunk.rows, batch)
        self._advance(batch.ids[0, :used], reset, int(episode[-1]))

    def _count(self, where, margins, episode, rows, batch) -> None:
        """Add the batch to its episodes' results; where [T]: positions of model tokens, with margins and episodes."""
        for number in np.unique(episode):
            result = self.results[number]
            if not result.exact:
                continue
            inside = np.flatnonzero(episode == number)
            wrong = inside[margins[inside] <= 0]
            if len(wrong):
                inside = inside[inside <= wrong[0]]
                self._deviate(result, int(where[wrong[0]]), float(margins[wrong[0]]), rows[int(wrong[0])], batch)
            result.model_tokens += len(inside)
            result.tokens = self._position(int(where[inside[-1]]), batch) + 2
            result.near_ties += int((np.abs(margins[inside]) < self._tie).sum())
            result.min_margin = min(result.min_margin, float(margins[inside].min()))

    def _deviate(self, result: Result, at: int, margin: float, logits: torch.Tensor, batch: Batch) -> None:
        """at: the input whose next token is wrong."""
        before = np.concatenate([self._tail, batch.ids[0, : at + 1]])
        position = self._position(at, batch) + 1
        context = before[-min(CONTEXT, position) :]
        result.exact = False
        result.stop = StopReason.UNSEEN if abstains(logits) else StopReason.DEVIATED
        words = self._task.vocab.tokens
        result.first_error = {
            "index": result.index,
            "position": position,
            "context": self._task.vocab.decode(context.tolist()),
            "want": words[batch.ids[0, at + 1]],
            "got": None if abstains(logits) else words[int(_best_other(logits, int(batch.ids[0, at + 1])))],
            "margin": margin,
        }

    def _position(self, at: int, batch: Batch) -> int:
        """Where input `at` of the batch stands in its episode."""
        starts = np.flatnonzero(batch.reset[0, : at + 1])
        return at - int(starts[-1]) if len(starts) else self._offset + at

    def _advance(self, ids: np.ndarray, reset: np.ndarray, episode: int) -> None:
        starts = np.flatnonzero(reset)
        self._offset = len(ids) - int(starts[-1]) if len(starts) else self._offset + len(ids)
        self._tail, self._current = np.concatenate([self._tail, ids])[-CONTEXT:], episode


def margin(logits_TV: torch.Tensor, targets_T: torch.Tensor) -> torch.Tensor:
    """Logit of the target less the best other, [T]."""
    target_T1 = targets_T[:, None]
    others_TV = logits_TV.scatter(1, target_T1, float("-inf"))
    return (logits_TV.gather(1, target_T1)[:, 0] - others_TV.amax(1)).float()


def _best_other(logits_V: torch.Tensor, target: int) -> int:
    others_V = logits_V.clone()
    others_V[target] = float("-inf")
    return int(others_V.argmax())


def abstains(logits_V: torch.Tensor) -> bool:
    """Whether a model says nothing: all its logits are equal (lookup, in a context it has not seen)."""
    return bool(logits_V.amax() == logits_V.amin())


@torch.no_grad()
def near_tie(model: Model, task: Task, prompt: list[str], device: torch.device) -> float:
    """A margin below this may be rounding: max(1e-3, 4 x the measured difference of a chunk and single steps)."""
    ids_BL = _beginning(task, prompt).to(device)
    chunk_BLV, state = model(ids_BL)[0], None
    difference = 0.0
    for i in range(ids_BL.shape[1]):
        step_B1V, state = model(ids_BL[:, i : i + 1], state)
        difference = max(difference, float((step_B1V[:, 0] - chunk_BLV[:, i]).abs().max()))
    return max(1e-3, 4 * difference)


def _beginning(task: Task, prompt: list[str]) -> torch.Tensor:
    """The first PROBE tokens of the program's trajectory, int64 [1, PROBE or fewer]."""
    sink = _First()
    workspace.run(task, prompt, sink)
    return torch.from_numpy(sink.ids[:PROBE].astype(np.int64))[None]


class _First(Record):
    """Keeps the first block and ends the program."""

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        super().write(ids, roles)
        raise StopProgram

"""verify: would the model, decoding greedily, produce the program's trajectory token for token?

If every model token is the argmax under teacher forcing, free running yields that trajectory, by induction: so one
chunked scan measures what `engine.generate` would do, in memory that does not grow with the length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from tallystick import workspace
from tallystick.data import Batch, Packer, Position
from tallystick.episode import Record, StopProgram, StopReason
from tallystick.models.base import Model, select
from tallystick.tasks import Task
from tallystick.vocab import Vocabulary

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


def verify(
    model: Model, task: Task, prompts: Iterable[Sequence[str]], *, chunk: int | None = None, carry: bool = False
) -> list[Result]:
    """Verify one episode for each prompt. They are packed end to end into `model.rows` rows, `chunk` tokens a forward.

    An episode is looked at up to its first deviation. carry: each begins in the state that the one before it in its row
    left, as if it came late in a far longer problem. Raises ProgramError if the task's program is wrong.
    """
    scan = _Scan(model, task, chunk, carry)
    for prompt in prompts:
        scan.run(list(prompt))
    return scan.finish()


def verify_recorded(model: Model, task: Task, records: Iterable[Record], *, carry: bool = False) -> list[Result]:
    """The same of trajectories that were recorded, to be looked at many times. Near ties are not counted."""
    scan = _Scan(model, task, None, carry, tie=0.0)
    for record in records:
        scan.replay(record)
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


class _Part(NamedTuple):
    """A row's tokens of one forward pass, to be scored; T model tokens among them."""

    row: int
    ids: np.ndarray
    reset: np.ndarray
    where: np.ndarray  # [T], their positions
    logits: torch.Tensor  # [T, V]
    margins: _Later  # [T]


class _Scan:
    """The forward passes over the packed streams, and the score of each episode.

    late: chunks are scored only after so many others have begun. On a GPU one: it then computes a chunk while the
    program makes the next. tie: a margin below it is a near tie; None: measured with the first problem.
    """

    def __init__(
        self, model: Model, task: Task, chunk: int | None, carry: bool, late: int | None = None,
        tie: float | None = None,
    ):  # fmt: skip
        self._model, self._task, self._carry = model, task, carry
        self._device = next((t.device for t in model.state_dict().values()), torch.device("cpu"))
        gpu = self._device.type == "cuda"
        chunk = chunk or (model.gpu_chunk if gpu else model.chunk)
        self._packer = Packer(model.rows, chunk, self._begin, task.predict_observations)
        self._late, self._waiting = int(gpu) if late is None else late, deque[list[_Part]]()
        self._state = model.init_state(model.rows)
        self.results: list[Result] = []
        self._rows = [_Row(self.results, task.vocab) for _ in range(model.rows)]
        self._tie, self._running = tie, False

    def run(self, prompt: list[str]) -> None:
        """The program's trajectory, while it makes it."""
        if self._tie is None:
            self._tie = near_tie(self._model, self._task, prompt, self._device)
        with self._episode():
            workspace.run(self._task, prompt, self._packer)

    def replay(self, record: Record) -> None:
        """A recorded trajectory."""
        with self._episode(), suppress(StopProgram):
            for ids, roles in record.blocks:
                self._packer.write(ids, roles)

    @contextmanager
    def _episode(self) -> Iterator[None]:
        """The packer gets one episode's tokens meanwhile."""
        self.results.append(Result(len(self.results)))
        row = self._packer.begin(self.results[-1].index)
        self._rows[row].episodes.append(self.results[-1].index)
        self._running = True
        yield
        self._running = False
        if not self.results[-1].exact:
            self._packer.clear()

    def finish(self) -> list[Result]:
        self._packer.drain()
        while self._waiting:
            self._score(self._waiting.popleft())
        for result in self.results:
            result.answer, result.score = (True, 1.0) if result.exact else (None, None)
        return self.results

    @torch.no_grad()
    def _begin(self, batch: Batch, position: Position) -> None:
        """Begin with a chunk, and score one that was begun before."""
        live, used = np.flatnonzero(batch.lengths), batch.lengths.max()
        if not used:
            return
        logits = self._forward(batch.ids[live, :used], batch.reset[live, :used], live, batch.lengths[live])
        self._waiting.append([self._part(batch, row, own) for row, own in zip(live, logits, strict=True)])
        if len(self._waiting) > self._late:
            self._score(self._waiting.popleft())
        if self._running and not self.results[-1].exact:
            raise StopProgram

    def _part(self, batch: Batch, row: int, logits: torch.Tensor) -> _Part:
        used = batch.lengths[row]
        ids, reset, where = batch.ids[row, : used + 1], batch.reset[row, :used], np.flatnonzero(batch.trained[row])
        said = logits[self._there(where)]
        return _Part(row, ids, reset, where, said, _Later(margin(said, self._there(ids[1:][where].astype(np.int64)))))

    def _there(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device, non_blocking=True)

    def _score(self, parts: list[_Part]) -> None:
        for part in parts:
            self._rows[part.row].score(part, self._tie or 0.0)

    def _forward(self, ids: np.ndarray, reset: np.ndarray, live: np.ndarray, lengths: np.ndarray) -> torch.Tensor:
        """Logits of the rows that have tokens; the state of the others stays."""
        ids_BL, reset_BL, live_B, length_B = (
            self._there(array) for array in (ids.astype(np.int64), reset, live, lengths)
        )
        alone = len(live) < len(self._rows)
        before = select(self._state, live_B) if alone else self._state
        logits, after = self._model(
            ids_BL,
            before,
            reset_BL=reset_BL if reset.any() and not self._carry else None,
            length_B=None if (lengths == ids.shape[1]).all() else length_B,
        )
        if alone:
            after = {name: self._state[name].index_copy(0, live_B, tensor) for name, tensor in after.items()}
        self._state = after
        return logits


class _Row:
    """One of the packed streams: the score of the episodes that lie in it, one after the other."""

    def __init__(self, results: list[Result], vocab: Vocabulary):
        self._results, self._vocab = results, vocab
        self.episodes: list[int] = []
        """That have begun, in order."""
        self._begun = 0  # of these, before this batch
        self._tail = np.zeros(0, np.uint16)  # the last CONTEXT tokens before this batch
        self._offset = 0  # position of the batch's first token in its episode

    def score(self, part: _Part, tie: float) -> None:
        """Take the row's next tokens."""
        ids, reset, where, margins = part.ids, part.reset, part.where, part.margins.numpy()
        begun = self._begun + np.cumsum(reset)
        for number in np.unique(begun[where]):
            result, inside = self._results[self.episodes[number - 1]], np.flatnonzero(begun[where] == number)
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

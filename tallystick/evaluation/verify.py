"""verify: would the model, decoding greedily, produce the program's trajectory token for token?

If every model token is the argmax under teacher forcing, free running yields that trajectory, by induction: so one
chunked scan measures what `engine.generate` would do, in memory that does not grow with the length.

Glossary: B sequences side by side, L length of a chunk, T model tokens, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from tallystick.data.packing import Batch
from tallystick.engine.margins import low_margin, margin
from tallystick.engine.result import Result
from tallystick.episode import Recorder, Sink
from tallystick.evaluation.interleave import EpisodeStream, batches
from tallystick.evaluation.scoring import Chunk, Later, Score
from tallystick.models.base import Model, select
from tallystick.tasks import Task, runner


def verify(
    model: Model, task: Task, prompts: Iterable[list[str]], *, chunk: int | None = None, carry: bool = False
) -> list[Result]:
    """Verify one episode for each prompt, up to its first deviation.

    Episodes are packed end to end into `model.verify_batch_size` sequences, `chunk` tokens a forward pass. carry: each
    begins in the state that the one before it in its sequence left, as if it came late in a far longer problem. Raises
    ProgramError if the task's program is wrong.
    """
    scan = _Scan(model, task, chunk, carry)
    return scan.run(scan.of_programs(prompts))


def verify_recorded(model: Model, task: Task, records: Iterable[Recorder], *, carry: bool = False) -> list[Result]:
    """Verify trajectories that were recorded, to be looked at many times. Low-margin tokens are not counted."""
    scan = _Scan(model, task, None, carry)
    return scan.run(_Recorded(Result(index), record) for index, record in enumerate(records))


@dataclass
class _Episode:
    """An episode that is wanted as long as it is right."""

    result: Result

    @property
    def wanted(self) -> bool:
        """Whether it is right so far."""
        return self.result.exact

    def play(self, sink: Sink) -> None:
        """Write it into the sink."""
        raise NotImplementedError


@dataclass
class _Programmed(_Episode):
    """An episode that the task's program says while it is verified."""

    task: Task
    prompt: list[str]

    def play(self, sink: Sink) -> None:
        """Run the program."""
        prompt, self.prompt = self.prompt, []  # it may be long: nobody holds it after its program
        runner.run(self.task, prompt, sink)


@dataclass
class _Recorded(_Episode):
    """An episode that was recorded before."""

    record: Recorder

    def play(self, sink: Sink) -> None:
        """Write the blocks again."""
        for ids, roles in self.record.blocks:
            sink.write(ids, roles)


class _Scan:
    """The forward passes over packed sequences, and the scores of their episodes.

    late: a chunk is scored only after so many others have begun. On a GPU one: it then computes a chunk while the
    programs say the next.
    """

    def __init__(self, model: Model, task: Task, chunk: int | None, carry: bool, late: int | None = None):
        self._model, self._task, self._carry = model, task, carry
        self._device = next((t.device for t in model.state_dict().values()), torch.device("cpu"))
        gpu = self._device.type == "cuda"
        self._length = chunk or (model.verify_chunk_gpu if gpu else model.verify_chunk)
        self._late, self._waiting = int(gpu) if late is None else late, deque[dict[int, Chunk]]()
        size = model.verify_batch_size
        self._state, self._live = model.init_state(size), np.arange(size)
        self._low = 0.0
        self._results: list[Result] = []

    def of_programs(self, prompts: Iterable[list[str]]) -> Iterator[_Episode]:
        """Make an episode for each prompt; the first also tells below which margin rounding may decide."""
        for index, prompt in enumerate(map(list, prompts)):
            if index == 0:
                self._low = low_margin(self._model, self._task, prompt, self._device)
            yield _Programmed(Result(index), self._task, prompt)

    def run(self, episodes: Iterable[_Episode]) -> list[Result]:
        """Verify them all; results in the order of the episodes."""
        shared = self._collected(episodes)
        ask = self._task.predict_observations
        streams = [EpisodeStream(shared, ask) for _ in range(self._model.verify_batch_size)]
        scores = [Score(self._task.vocab, stream.begun) for stream in streams]
        for batch in batches(streams, self._length):
            self._waiting.append(self._forward(batch))
            if len(self._waiting) > self._late:
                self._score(scores, self._waiting.popleft())
        for chunks in self._waiting:
            self._score(scores, chunks)
        for result in self._results:
            result.answer, result.score = (True, 1.0) if result.exact else (None, None)
        return self._results

    def _collected(self, episodes: Iterable[_Episode]) -> Iterator[_Episode]:
        for episode in episodes:
            self._results.append(episode.result)
            yield episode

    def _score(self, scores: list[Score], chunks: dict[int, Chunk]) -> None:
        for number, chunk in chunks.items():
            scores[number].take(chunk, self._low)

    @torch.no_grad()
    def _forward(self, batch: Batch) -> dict[int, Chunk]:
        """One forward pass; a chunk for each sequence that has tokens, by its number."""
        live = np.flatnonzero(batch.lengths)
        self._keep(live)
        ids_BL = self._there(batch.ids[live, :-1].astype(np.int64))
        fresh = batch.reset.any() and not self._carry
        reset_BL = self._there(batch.reset[live]) if fresh else None
        logits_BLV, self._state = self._model(ids_BL, self._state, reset_BL=reset_BL)
        return {int(n): self._chunk(batch, int(n), logits_LV) for n, logits_LV in zip(live, logits_BLV, strict=True)}

    def _keep(self, live: np.ndarray) -> None:
        """Drop the state of sequences that have ended."""
        if len(live) < len(self._live):
            self._state = select(self._state, self._there(np.flatnonzero(np.isin(self._live, live))))
            self._live = live

    def _chunk(self, batch: Batch, number: int, logits_LV: torch.Tensor) -> Chunk:
        ids, at = batch.ids[number], np.flatnonzero(batch.trained[number])
        logits_TV = logits_LV[self._there(at)]
        targets_T = self._there(ids[1:][at].astype(np.int64))
        return Chunk(ids, batch.reset[number], at, logits_TV, Later(margin(logits_TV, targets_T)))

    def _there(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device, non_blocking=True)

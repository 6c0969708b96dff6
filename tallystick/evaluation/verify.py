"""Verify that a model, decoding greedily, would produce the program's trajectory token for token.

If every model token is the argmax under teacher forcing, free running yields that trajectory, by induction. So one
chunked scan measures what `engine.generate` would do, in memory that does not grow with the length.

Glossary: B sequences of a batch, L length of a chunk, T model tokens, V vocabulary.
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
from tallystick.locality import programs
from tallystick.models.base import Model, select
from tallystick.tasks import Task


def verify(
    model: Model, task: Task, prompts: Iterable[list[str]], *, chunk: int | None = None, carry: bool = False
) -> list[Result]:
    """Verify one episode for each prompt, up to its first deviation.

    Episodes are packed end to end into `model.verify_batch_size` sequences, `chunk` tokens a forward pass. carry: each
    episode begins from the final state of the previous one in its sequence, as if it came late in a far longer problem.
    Raises ProgramError if the task's program is wrong.
    """
    scan = _Scan(model, task, chunk, carry)
    return scan.run(scan.of_programs(prompts))


def verify_recorded(model: Model, task: Task, recorders: Iterable[Recorder], *, carry: bool = False) -> list[Result]:
    """Verify recorded trajectories, as often as needed without running the programs. Counts no low-margin tokens."""
    scan = _Scan(model, task, None, carry)
    return scan.run(_Recorded(Result(index), recorder) for index, recorder in enumerate(recorders))


@dataclass
class _Episode:
    """An episode to be verified; no more of it is wanted after its first deviation."""

    result: Result

    @property
    def wanted(self) -> bool:
        """Whether it is right so far."""
        return self.result.exact

    def play(self, sink: Sink) -> None:
        """Write the episode into the sink."""
        raise NotImplementedError


@dataclass
class _Programmed(_Episode):
    """An episode written by the task's program while it is verified."""

    task: Task
    prompt: list[str]

    def play(self, sink: Sink) -> None:
        """Run the program."""
        prompt, self.prompt = self.prompt, []  # a prompt may be long: free it as soon as its program ends
        programs.run(self.task, prompt, sink)


@dataclass
class _Recorded(_Episode):
    """A recorded episode, played again."""

    recorder: Recorder

    def play(self, sink: Sink) -> None:
        """Write the recorded blocks."""
        for ids, roles in self.recorder.blocks:
            sink.write(ids, roles)


class _Scan:
    """Runs the model over packed sequences, and scores their episodes.

    late: how many chunks are begun after a chunk before it is scored. On a GPU 1, so that it computes one chunk while
    the programs write the next.
    """

    def __init__(self, model: Model, task: Task, chunk: int | None, carry: bool, late: int | None = None):
        self._model, self._task, self._carry = model, task, carry
        self._device = next((t.device for t in model.state_dict().values()), torch.device("cpu"))
        gpu = self._device.type == "cuda"
        self._length = chunk or (model.verify_chunk_gpu if gpu else model.verify_chunk)
        self._late, self._unscored = int(gpu) if late is None else late, deque[dict[int, Chunk]]()
        size = model.verify_batch_size
        self._state, self._live = model.init_state(size), np.arange(size)
        self._low_margin = 0.0
        self._results: list[Result] = []

    def of_programs(self, prompts: Iterable[list[str]]) -> Iterator[_Episode]:
        """Yield an episode for each prompt; on the first one, measure below which margin rounding may decide."""
        for index, prompt in enumerate(prompts):
            if index == 0:
                self._low_margin = low_margin(self._model, self._task, prompt, self._device)
            yield _Programmed(Result(index), self._task, prompt)

    def run(self, episodes: Iterable[_Episode]) -> list[Result]:
        """Verify all episodes; return the results in their order."""
        shared = self._collected(episodes)
        predicts = self._task.predict_observations
        streams = [EpisodeStream(shared, predicts) for _ in range(self._model.verify_batch_size)]
        scores = [Score(self._task.vocab, stream.begun) for stream in streams]
        for batch in batches(streams, self._length):
            self._unscored.append(self._forward(batch))
            if len(self._unscored) > self._late:
                self._score(scores, self._unscored.popleft())
        for chunks in self._unscored:
            self._score(scores, chunks)
        for result in self._results:
            result.answer, result.score = (True, 1.0) if result.exact else (None, None)
        return self._results

    def _collected(self, episodes: Iterable[_Episode]) -> Iterator[_Episode]:
        """Pass the episodes on, and keep the result of each, which scoring fills in."""
        for episode in episodes:
            self._results.append(episode.result)
            yield episode

    def _score(self, scores: list[Score], chunks: dict[int, Chunk]) -> None:
        for number, chunk in chunks.items():
            scores[number].take(chunk, self._low_margin)

    @torch.no_grad()
    def _forward(self, batch: Batch) -> dict[int, Chunk]:
        """Run one forward pass; return a chunk for each sequence that has tokens, by its number."""
        live = np.flatnonzero(batch.lengths)
        self._keep(live)
        ids_BL = self._to_device(batch.ids[live, :-1].astype(np.int64))
        resets = batch.reset.any() and not self._carry
        reset_BL = self._to_device(batch.reset[live]) if resets else None
        logits_BLV, self._state = self._model(ids_BL, self._state, reset_BL=reset_BL)
        return {int(n): self._chunk(batch, int(n), logits_LV) for n, logits_LV in zip(live, logits_BLV, strict=True)}

    def _keep(self, live: np.ndarray) -> None:
        """Drop the state of sequences that have ended."""
        if len(live) < len(self._live):
            self._state = select(self._state, self._to_device(np.flatnonzero(np.isin(self._live, live))))
            self._live = live

    def _chunk(self, batch: Batch, number: int, logits_LV: torch.Tensor) -> Chunk:
        ids, predicted_at = batch.ids[number], np.flatnonzero(batch.trained[number])
        logits_TV = logits_LV[self._to_device(predicted_at)]
        targets_T = self._to_device(ids[1:][predicted_at].astype(np.int64))
        return Chunk(ids, batch.reset[number], predicted_at, logits_TV, Later(margin(logits_TV, targets_T)))

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device, non_blocking=True)

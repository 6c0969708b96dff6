"""verify: would the model, decoding greedily, produce the program's trajectory token for token?

If every model token is the argmax under teacher forcing, free running yields that trajectory, by induction: so one
chunked scan measures what `engine.generate` would do, in memory that does not grow with the length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial

import numpy as np
import torch

from tallystick.data.packing import Batch
from tallystick.engine.margins import low_margin, margin
from tallystick.engine.result import Result
from tallystick.episode import Recorder, Sink, StopProgram
from tallystick.evaluation.interleave import Stream, batches
from tallystick.evaluation.scoring import Later, Part, Score
from tallystick.models.base import Model, select
from tallystick.tasks import Task, runner

_Play = Callable[[Sink], None]
"""Writes an episode into a sink; its StopProgram ends it, quietly or not."""


def verify(
    model: Model, task: Task, prompts: Iterable[Sequence[str]], *, chunk: int | None = None, carry: bool = False
) -> list[Result]:
    """Verify one episode for each prompt. They are packed end to end into `model.verify_batch_size` rows, `chunk` tokens a forward.

    An episode is looked at up to its first deviation. carry: each begins in the state that the one before it in its row
    left, as if it came late in a far longer problem. Raises ProgramError if the task's program is wrong.
    """
    return _Scan(model, task, chunk, carry).run(prompts)


def verify_recorded(model: Model, task: Task, records: Iterable[Recorder], *, carry: bool = False) -> list[Result]:
    """The same of trajectories that were recorded, to be looked at many times. Near ties are not counted."""
    return _Scan(model, task, None, carry).replay(records)


class _Scan:
    """The forward passes over the packed streams, and the score of each episode.

    late: chunks are scored only after so many others have begun. On a GPU one: it then computes a chunk while the
    programs make the next.
    """

    def __init__(self, model: Model, task: Task, chunk: int | None, carry: bool, late: int | None = None):
        self._model, self._task, self._carry = model, task, carry
        self._device = next((t.device for t in model.state_dict().values()), torch.device("cpu"))
        gpu = self._device.type == "cuda"
        self._chunk = chunk or (model.verify_chunk_gpu if gpu else model.verify_chunk)
        self._late, self._waiting = int(gpu) if late is None else late, deque[list[tuple[_Row, Part]]]()
        self._state, self._live = model.init_state(model.verify_batch_size), np.arange(model.verify_batch_size)
        self._tie = 0.0
        self._results: list[Result] = []

    def run(self, prompts: Iterable[Sequence[str]]) -> list[Result]:
        """Of the program's trajectories, while it makes them."""
        return self._scan(self._programs(prompts))

    def replay(self, records: Iterable[Recorder]) -> list[Result]:
        """Of recorded trajectories. Near ties are not counted."""
        return self._scan(partial(_write, record) for record in records)

    def _programs(self, prompts: Iterable[Sequence[str]]) -> Iterator[_Play]:
        for prompt in map(list, prompts):
            if not self._results:
                self._tie = low_margin(self._model, self._task, prompt, self._device)
            yield partial(runner.run, self._task, prompt)

    def _scan(self, plays: Iterator[_Play]) -> list[Result]:
        rows = [_Row(plays, self._results, self._task) for _ in range(self._model.verify_batch_size)]
        for batch in batches(rows, self._chunk):
            self._waiting.append(self._begin(rows, batch))
            if len(self._waiting) > self._late:
                self._score(self._waiting.popleft())
        for parts in self._waiting:
            self._score(parts)
        for result in self._results:
            result.answer, result.score = (True, 1.0) if result.exact else (None, None)
        return self._results

    @torch.no_grad()
    def _begin(self, rows: list[_Row], batch: Batch) -> list[tuple[_Row, Part]]:
        live = np.flatnonzero(batch.lengths)
        logits = self._forward(batch.ids[live, :-1], batch.reset[live], live)
        return [(rows[row], self._part(batch, row, own)) for row, own in zip(live, logits, strict=True)]

    def _part(self, batch: Batch, row: int, logits: torch.Tensor) -> Part:
        ids, where = batch.ids[row], np.flatnonzero(batch.trained[row])
        said = logits[self._there(where)]
        margins = Later(margin(said, self._there(ids[1:][where].astype(np.int64))))
        return Part(ids, batch.reset[row], where, said, margins)

    def _there(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device, non_blocking=True)

    def _score(self, parts: list[tuple[_Row, Part]]) -> None:
        for row, part in parts:
            row.score.take(part, self._tie)

    def _forward(self, ids: np.ndarray, reset: np.ndarray, live: np.ndarray) -> torch.Tensor:
        """Logits of the rows that have tokens; those without have ended, and their state is dropped."""
        if len(live) < len(self._live):
            self._state = select(self._state, self._there(np.flatnonzero(np.isin(self._live, live))))
            self._live = live
        ids_BL, reset_BL = self._there(ids.astype(np.int64)), self._there(reset)
        fresh = reset.any() and not self._carry
        logits, self._state = self._model(ids_BL, self._state, reset_BL=reset_BL if fresh else None)
        return logits


class _Row(Stream):
    """A stream of episodes, taken from what all rows share, with their score."""

    def __init__(self, plays: Iterator[_Play], results: list[Result], task: Task):
        super().__init__(task.predict_observations)
        self.score = Score(task.vocab)
        self._plays, self._results, self._result = plays, results, None

    @property
    def unwanted(self) -> bool:
        return self._result is not None and not self._result.exact

    def fill(self) -> None:
        for play in self._plays:
            self._result = Result(len(self._results))
            self._results.append(self._result)
            self.score.results.append(self._result)
            self.begin(self._result.index)
            with suppress(StopProgram):
                play(self)
            if self.unwanted:
                self.clear()
            self._result = None


def _write(record: Recorder, sink: Sink) -> None:
    for ids, roles in record.blocks:
        sink.write(ids, roles)

"""Verify that a model, decoding greedily, would produce the program's trajectory token for token.

If every model token is the argmax under teacher forcing, free running yields that trajectory, by induction. So one
chunked scan measures what `engine.generate` would do, in memory that does not grow with the length.

Glossary: B sequences of a batch, L length of a chunk, T model tokens, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import torch

from tallystick.data.players import Player, Players
from tallystick.engine.margins import low_margin
from tallystick.engine.result import Result
from tallystick.episode import Recorder, Sink
from tallystick.evaluation.forward import open_forward
from tallystick.evaluation.interleave import EpisodeStream, batches
from tallystick.evaluation.scoring import Chunk, Score
from tallystick.locality import programs
from tallystick.models.base import Model
from tallystick.tasks import Task

MOST_PROCESSES = 12
"""Maximum number of processes that run long programs for a GPU, of which each makes some 20 million tokens a second."""


def verify(
    model: Model, task: Task, prompts: Iterable[list[str]], *, chunk: int | None = None, carry: bool = False
) -> list[Result]:
    """Verify one episode for each prompt, up to its first deviation.

    Episodes are packed end to end into `model.verify_batch_size` sequences, `chunk` tokens a forward pass. carry: each
    episode begins from the final state of the previous one in its sequence, as if it came late in a far longer problem.
    Raises ProgramError if the task's program is wrong.
    """
    scan = _Scan(model, task, chunk, carry)
    with Players(task, scan.processes) as players:
        return scan.run(scan.of_programs(prompts, players))


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

    def begin(self) -> None:
        """Begin to make it before its turn, if there is somebody to do so."""

    def play(self, sink: Sink) -> None:
        """Write the episode into the sink."""
        raise NotImplementedError


@dataclass
class _Programmed(_Episode):
    """An episode written by the task's program while it is verified."""

    task: Task
    prompt: list[str]
    players: Players
    player: Player | None = None
    """The process in which the program runs already; None for this one."""

    def begin(self) -> None:
        """Let a process begin it, if there is one."""
        self.player = self.players.begin(self.prompt)
        if self.player:
            self.prompt = []

    def play(self, sink: Sink) -> None:
        """Run the program."""
        prompt, self.prompt = self.prompt, []  # a prompt may be long: free it as soon as its program ends
        if self.player is None:
            programs.run(self.task, prompt, sink)
            return
        try:
            self.player.play(sink)
        finally:
            self.players.take_back(self.player)


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
        self._model, self._task = model, task
        self._device = next((t.device for t in model.state_dict().values()), torch.device("cpu"))
        gpu = self._device.type == "cuda"
        self._length = chunk or (model.verify_chunk_gpu if gpu else model.verify_chunk)
        self.rows = model.verify_rows_gpu if gpu and chunk is None else 1
        self.processes = MOST_PROCESSES if gpu else 0
        self._late, self._unscored = int(gpu) if late is None else late, deque[dict[int, Chunk]]()
        self._carry, self._low_margin = carry, 0.0
        self._results: list[Result] = []

    def of_programs(self, prompts: Iterable[list[str]], players: Players) -> Iterator[_Episode]:
        """Yield an episode for each prompt; on the first one, measure below which margin rounding may decide."""
        for index, prompt in enumerate(prompts):
            if index == 0:
                self._low_margin = low_margin(self._model, self._task, prompt, self._device)
            yield _Programmed(Result(index), self._task, prompt, players)

    def run(self, episodes: Iterable[_Episode]) -> list[Result]:
        """Verify all episodes; return the results in their order."""
        shared = self._collected(_begun(episodes, self.processes))
        first = list(islice(shared, self.rows)) if self.rows > 1 else []
        rows, predicts = max(len(first), self._model.verify_batch_size), self._task.predict_observations
        shared = chain(first, shared)
        streams = [EpisodeStream(shared, predicts) for _ in range(rows)]
        scores = [Score(self._task.vocab, stream.begun) for stream in streams]
        forward = open_forward(self._model, self._device, self._carry, rows)
        for batch in batches(streams, self._length // max(len(first), 1)):
            self._unscored.append(forward.read(batch))
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


def _begun(episodes: Iterable[_Episode], ahead: int) -> Iterator[_Episode]:
    """Pass the episodes on, each begun so many places before its turn."""
    waiting = deque[_Episode]()
    for episode in episodes:
        if ahead:
            episode.begin()
        waiting.append(episode)
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting

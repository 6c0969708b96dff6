"""generate: free-running greedy decoding with the live tools in the loop, which is what `verify` predicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch

from tallystick.engine.margins import low_margin
from tallystick.engine.orders import Order, Outcome
from tallystick.engine.reader import Compiled, Reader, Said, check_backend, open_reader
from tallystick.engine.result import CONTEXT, Result
from tallystick.engine.speaker import Speaker, speak
from tallystick.episode import Recorder, Role, Sink, StopReason, ToolError
from tallystick.locality import programs
from tallystick.models.base import Model
from tallystick.tasks import Task
from tallystick.tools import Live
from tallystick.workspace import start_tools

BATCH = 64
"""Number of episodes decoded in one batch."""


@dataclass
class Generated(Result):
    """The result of a free-running episode, with its answer."""

    output: list[str] = field(default_factory=list)
    """The tokens of the answer that the model gave."""


def generate(
    model: Model,
    task: Task,
    prompts: Iterable[list[str]],
    *,
    max_tokens: int | None = None,
    sink: Sink | None = None,
    sandbox: str = "auto",
    backend: str = "auto",
) -> list[Generated]:
    """Let the model solve each problem with live tools, greedily.

    Exactness is measured against the program's trajectory, which is recorded first. max_tokens: limit on the whole
    episode, by default 1.1 x the program's tokens + 64. sink: also receives the tokens; only for a single prompt.
    sandbox: where its command lines run, if it has any. backend: how the model is run, one of `reader.BACKENDS`. Raises
    ProgramError if the program is wrong.
    """
    check_live(task)
    check_backend(backend)
    numbered, results, low = enumerate(prompts), list[Generated](), 0.0
    while part := list(islice(numbered, BATCH)):
        assert sink is None or (len(part) == 1 and not results)
        if not results:
            low = low_margin(model, task, part[0][1], _device(model))
        with ExitStack() as open_tools:
            speakers = [
                open_tools.enter_context(closing(_Compared(task, i, prompt, max_tokens, sink, Live(sandbox))))
                for i, prompt in part
            ]
            _run(open_reader(model, backend), task, speakers, low)
            results += [speaker.finish() for speaker in speakers]
    return results


def check_live(task: Task) -> None:
    """Check that a model of this task works with tools that can be run. Raises ValueError if not."""
    if task.predict_observations:
        raise ValueError(f"{task.name}, {task.variant}: this model works without tools; measure it with verify")
    if not task.live:
        raise ValueError(f"{task.name} is recorded: there is no live tool to run for a model; measure it with verify")


def _run(reader: Reader, task: Task, episodes: Sequence[_Compared], low: float) -> None:
    """Run the episodes to their ends, in machine code if the tools run there, too."""
    if isinstance(reader, Compiled):
        from tallystick.engine import native  # a late import, since it imports numba

        if native.grammars(task, [episode.prompt for episode in episodes]) is not None:
            ended = native.Episodes(reader, task, [episode.order() for episode in episodes], low).run()
            for episode, outcome in zip(episodes, ended, strict=True):
                episode.take_outcome(outcome)
            return
    for episode in episodes:
        episode.low = low
    speak(reader, episodes)


def _device(model: Model) -> torch.device:
    return next(iter(model.state_dict().values())).device


class _Compared(Speaker):
    """One generated episode in progress, compared with the program's trajectory.

    low: margin below which rounding may decide.
    """

    def __init__(
        self, task: Task, index: int, prompt: list[str], max_tokens: int | None, sink: Sink | None, live: Live
    ):
        self._program = programs.record(task, prompt).ids
        limit = max_tokens or int(1.1 * len(self._program)) + 64
        self._task, self.prompt = task, prompt
        self._recorder = Recorder()
        self._tools = start_tools(task, prompt, live=live)
        self._sink = _Tee([self._recorder] if sink is None else [self._recorder, sink])
        super().__init__(task, prompt, self._tools, limit, self._sink)
        self.plain_V = None
        self.low = 0.0
        self.result = Generated(index, answer=False)

    def say(self, said: Said) -> None:
        """Take what the model says: score it, and push it into the episode."""
        self._score(said)
        super().say(said)

    def _score(self, said: Said) -> None:
        """Compare with the program's token, up to the first deviation."""
        result = self.result
        result.tokens = self.position + 1
        if not result.exact:
            return
        result.model_tokens += 1
        result.low_margin_tokens += said.margin < self.low
        want = int(self._program[self.position])
        if said.token == want and not said.silent:
            result.min_margin = min(result.min_margin, said.margin)
            return
        behind = float(said.logits_V[want] - said.logits_V[said.token])
        self._deviate(self.position, None if said.silent else said.token, behind)
        result.min_margin = min(result.min_margin, said.margin, behind)

    def _deviate(self, position: int, token: int | None, behind: float) -> None:
        """Take note of the first deviation; token: None if the model abstained."""
        words, start = self._task.vocab.tokens, max(position - CONTEXT, 0)
        self.result.exact = False
        self.result.first_error = {
            "index": self.result.index,
            "position": position,
            "context": self._task.vocab.decode(self._program[start:position].tolist()),
            "want": words[int(self._program[position])],
            "got": None if token is None else words[token],
            "margin": behind,
        }

    def order(self) -> Order:
        """Return what is to be run in machine code, and record the beginning."""
        self.flush()
        return Order(self.prompt, self.unread, self.limit, self._program, self._sink)

    def take_outcome(self, outcome: Outcome) -> None:
        """Take note of how the episode ran in machine code."""
        result = self.result
        self.stop, self.position = outcome.stop, outcome.position
        result.tokens, result.model_tokens = outcome.tokens, outcome.model_tokens
        result.low_margin_tokens, result.min_margin = outcome.low_margin_tokens, outcome.min_margin
        if outcome.wrong:
            position, token, behind = outcome.wrong
            self._deviate(position, token, behind)

    def finish(self) -> Generated:
        """Score what the episode leaves and return the result."""
        assert self.stop, "it has ended"
        result, (ids, roles) = self.result, (self._recorder.ids, self._recorder.roles)
        result.stop = self.stop
        result.output = self._task.vocab.decode(ids[roles == Role.OUTPUT].tolist())
        left = self.prompt, result.output, self._tools.states
        try:
            right = self._task.score(*left) == 1
            result.score = 1.0 if right else self._task.partial_score(*left)
            result.facts = dict(self._task.facts(*left))
        except ToolError:  # what is left cannot be read
            right, result.score = False, 0.0
            if result.stop == StopReason.EOS:
                result.stop = StopReason.TOOL_ERROR
        result.answer = right and result.stop == StopReason.EOS
        return result

    def close(self) -> None:
        """Give back what the tools hold."""
        self._tools.close()


class _Tee:
    """A sink that writes into several sinks."""

    def __init__(self, sinks: list[Sink]):
        self._sinks = sinks

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        for sink in self._sinks:
            sink.write(ids, roles)

    def close(self, ok: bool) -> None:
        for sink in self._sinks:
            sink.close(ok)

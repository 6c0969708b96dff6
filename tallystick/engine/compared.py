"""Episodes of `generate`, compared with the programs' trajectories, and their results."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tallystick.engine.interface import Said
from tallystick.engine.orders import Order, Outcome
from tallystick.engine.result import CONTEXT, Result
from tallystick.engine.speaker import Speaker, plain_tokens
from tallystick.episode import Recorder, Role, Sink, StopReason, ToolError
from tallystick.locality import programs
from tallystick.tasks import Task
from tallystick.tools import Live
from tallystick.workspace import start_tools


@dataclass
class Generated(Result):
    """The result of a free-running episode, with its answer."""

    output: list[str] = field(default_factory=list)
    """The tokens of the answer that the model gave."""


class Compared(Speaker):
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
        self.plain_V = None  # each token is compared
        self.low = 0.0
        self.result = Generated(index, answer=False)

    def say(self, said: Said) -> None:
        """Take what the model says: score it, and push it into the episode."""
        self._score(said)
        super().say(said)

    def say_compared(self, said: Said) -> None:
        """Take what the model says where somebody else keeps the score."""
        super().say(said)

    def find_plain(self) -> np.ndarray:
        """Return for each token whether nothing answers it."""
        return plain_tokens(self._task, self.prompt, self._tools)

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

    def record(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Record tokens of an episode that runs in machine code."""
        self._sink.write(ids, roles)

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

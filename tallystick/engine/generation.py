"""generate: free-running greedy decoding with the live tools in the loop, which is what `verify` predicts.

Glossary: B episodes of a batch, L length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch

from tallystick.engine.margins import abstains, low_margin
from tallystick.engine.result import CONTEXT, Result
from tallystick.engine.speaker import Speaker
from tallystick.episode import Recorder, Role, Sink, StopReason, ToolError
from tallystick.locality import programs
from tallystick.models.base import Model, select
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
) -> list[Generated]:
    """Let the model solve each problem with live tools, greedily.

    Exactness is measured against the program's trajectory, which is recorded first. max_tokens: limit on the whole
    episode, by default 1.1 x the program's tokens + 64. sink: also receives the tokens; only for a single prompt.
    sandbox: where its command lines run, if it has any. Raises ProgramError if the program is wrong.
    """
    check_live(task)
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
            _decode(model, speakers, low)
            results += [speaker.finish() for speaker in speakers]
    return results


def check_live(task: Task) -> None:
    """Check that a model of this task works with tools that can be run. Raises ValueError if not."""
    if task.predict_observations:
        raise ValueError(f"{task.name}, {task.variant}: this model works without tools; measure it with verify")
    if not task.live:
        raise ValueError(f"{task.name} is recorded: there is no live tool to run for a model; measure it with verify")


@torch.inference_mode()
def _decode(model: Model, episodes: list[_Compared], low: float) -> None:
    """Decode step by step: feed each live episode its unread tokens (a token and its observation) and take the next."""
    live, state = list(episodes), None
    while live:
        ids_BL, length_B = _ragged([episode.speaker.unread for episode in live], _device(model))
        logits_BLV, state = model(ids_BL, state, length_B=length_B)
        last_BV = logits_BLV[torch.arange(len(live), device=length_B.device), length_B - 1].float().cpu()
        top = last_BV.topk(2)
        tokens, values = top.indices[:, 0].tolist(), top.values.tolist()
        for episode, logits_V, token, (best, second) in zip(live, last_BV, tokens, values, strict=True):
            episode.say(token, best - second, logits_V, low)
        kept = [number for number, episode in enumerate(live) if not episode.speaker.stop]
        if len(kept) < len(live):
            live, state = [live[number] for number in kept], select(state, torch.tensor(kept, dtype=torch.long))


def _ragged(unread: list[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad token lists of different lengths with zeros; return (ids_BL int64, length_B)."""
    length = max(map(len, unread))
    ids_BL = torch.tensor([[*ids, *[0] * (length - len(ids))] for ids in unread], device=device)
    return ids_BL, torch.tensor([len(ids) for ids in unread], device=device)


def _device(model: Model) -> torch.device:
    return next(iter(model.state_dict().values())).device


class _Compared:
    """One generated episode in progress, compared with the program's trajectory."""

    def __init__(
        self, task: Task, index: int, prompt: list[str], max_tokens: int | None, sink: Sink | None, live: Live
    ):
        self._program = programs.record(task, prompt).ids
        limit = max_tokens or int(1.1 * len(self._program)) + 64
        self._task, self._prompt = task, prompt
        self._recorder = Recorder()
        self._tools = start_tools(task, prompt, live=live)
        self.speaker = Speaker(task, prompt, self._tools, limit, _Tee([self._recorder, *([sink] if sink else [])]))
        self.result = Generated(index, answer=False)

    def say(self, token: int, margin: float, logits_V: torch.Tensor, low: float) -> None:
        """Take the model's token: score it, and push it into the episode."""
        silent = abstains(logits_V)
        self._score(token, margin, logits_V, low, silent)
        self.speaker.say(token, silent)

    def _score(self, token: int, margin: float, logits_V: torch.Tensor, low: float, silent: bool) -> None:
        """Compare with the program's token, up to the first deviation."""
        result = self.result
        result.tokens = self.speaker.position + 1
        if not result.exact:
            return
        result.model_tokens += 1
        result.low_margin_tokens += margin < low
        want = int(self._program[self.speaker.position])
        if token == want and not silent:
            result.min_margin = min(result.min_margin, margin)
            return
        words, start = self._task.vocab.tokens, max(self.speaker.position - CONTEXT, 0)
        behind = float(logits_V[want] - logits_V[token])
        result.exact = False
        result.first_error = {
            "index": result.index,
            "position": self.speaker.position,
            "context": self._task.vocab.decode(self._program[start : self.speaker.position].tolist()),
            "want": words[want],
            "got": None if silent else words[token],
            "margin": behind,
        }
        result.min_margin = min(result.min_margin, margin, behind)

    def finish(self) -> Generated:
        """Score what the episode leaves and return the result."""
        self.speaker.flush()
        assert self.speaker.stop, "it has ended"
        result, (ids, roles) = self.result, (self._recorder.ids, self._recorder.roles)
        result.stop = self.speaker.stop
        result.output = self._task.vocab.decode(ids[roles == Role.OUTPUT].tolist())
        left = self._prompt, result.output, self._tools.states
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

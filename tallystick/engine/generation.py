"""generate: free-running greedy decoding with the live tools in the loop; what `verify` predicts, done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch

from tallystick.engine.margins import abstains, low_margin
from tallystick.engine.result import CONTEXT, Result
from tallystick.episode import BOS, BadCommand, Recorder, Role, Sink, StopReason, ToolError
from tallystick.models.base import Model, select
from tallystick.tasks import Task, runner
from tallystick.workspace import start_episode

BATCH = 64
"""Episodes side by side."""


@dataclass
class Generated(Result):
    """How a free-running episode went, with what it said."""

    output: list[str] = field(default_factory=list)
    """The answer's tokens, as far as they were said."""


def generate(
    model: Model,
    task: Task,
    prompts: Sequence[list[str]],
    *,
    max_tokens: int | None = None,
    sink: Sink | None = None,
) -> list[Generated]:
    """Let the model solve each problem with live tools, greedily.

    Exactness is against the program's trajectory, recorded first; max_tokens (of the whole episode) is by default 1.1 x
    its length + 64. sink: also takes the tokens, for one prompt. Raises ProgramError if the program is wrong.
    """
    if task.predict_observations:
        raise ValueError(f"{task.name}, {task.variant}: its model works without tools; measure it by verify")
    assert sink is None or len(prompts) == 1
    numbered, results = enumerate(prompts), []
    while part := [_Speaker(task, i, prompt, max_tokens, sink) for i, prompt in islice(numbered, BATCH)]:
        _speak(model, part, low_margin(model, task, prompts[0], _device(model)))
        results += [speaker.finish() for speaker in part]
    return results


@torch.inference_mode()
def _speak(model: Model, speakers: list[_Speaker], tie: float) -> None:
    """Feed every live row what it has not read yet (a token, or a command and its observation) and take the next."""
    live, state = list(speakers), None
    while live:
        ids_BL, length_B = _ragged([speaker.unread for speaker in live], _device(model))
        logits_BLV, state = model(ids_BL, state, length_B=length_B)
        last_BV = logits_BLV[torch.arange(len(live), device=length_B.device), length_B - 1].float().cpu()
        top = last_BV.topk(2)
        for speaker, logits_V, token, (best, second) in zip(
            live, last_BV, top.indices[:, 0].tolist(), top.values.tolist(), strict=True
        ):
            speaker.say(token, best - second, logits_V, tie)
        rows = [row for row, speaker in enumerate(live) if not speaker.over]
        if len(rows) < len(live):
            live, state = [live[row] for row in rows], select(state, torch.tensor(rows, dtype=torch.long))


def _ragged(rows: list[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of different lengths as (ids_BL int64, filled up with zeros; length_B)."""
    length = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in rows], device=device)
    return ids, torch.tensor([len(row) for row in rows], device=device)


def _device(model: Model) -> torch.device:
    return next(iter(model.state_dict().values())).device


class _Speaker:
    """One row: an episode in progress, compared with the program's."""

    def __init__(self, task: Task, index: int, prompt: list[str], max_tokens: int | None, sink: Sink | None):
        program = Recorder()
        runner.run(task, prompt, program)
        self._program = program.ids
        self._limit = max_tokens or int(1.1 * len(self._program)) + 64
        self._task, self._prompt = task, prompt
        self._record = Recorder()
        self._episode = start_episode(task, prompt, _Tee([self._record, *([sink] if sink else [])]))
        self.result = Generated(index, answer=False)
        self.unread: list[int] = [BOS, *task.vocab.encode(prompt)]
        self.over = False
        self._at = len(self.unread)

    def say(self, token: int, margin: float, logits_V: torch.Tensor, tie: float) -> None:
        """Take the model's token: hand it to the episode, and end the row where it must end."""
        result = self.result
        result.model_tokens += result.exact
        result.tokens = self._at + 1
        result.low_margin_tokens += result.exact and margin < tie
        result.min_margin = min(result.min_margin, margin) if result.exact else result.min_margin
        self._compare(token, logits_V)
        if abstains(logits_V):
            return self._stop(StopReason.UNSEEN)
        try:
            observation = self._episode.push(token)
        except BadCommand:
            return self._stop(StopReason.BAD_COMMAND)
        except ToolError:
            return self._stop(StopReason.TOOL_ERROR)
        self.unread = [token, *observation]
        self._at += len(self.unread)
        if self._episode.done:
            return self._stop(StopReason.EOS)
        if self._at >= self._limit:
            return self._stop(StopReason.TOKEN_LIMIT)
        return None

    def _stop(self, reason: StopReason) -> None:
        self.result.stop, self.over = reason, True

    def _compare(self, token: int, logits_V: torch.Tensor) -> None:
        if not self.result.exact:
            return
        want = int(self._program[self._at])
        if token == want and not abstains(logits_V):
            return
        words = self._task.vocab.tokens
        self.result.exact = False
        self.result.first_error = {
            "index": self.result.index,
            "position": self._at,
            "context": self._task.vocab.decode(self._program[max(self._at - CONTEXT, 0) : self._at].tolist()),
            "want": words[want],
            "got": None if abstains(logits_V) else words[token],
            "margin": float(logits_V[want] - logits_V[token]),
        }
        self.result.min_margin = min(self.result.min_margin, self.result.first_error["margin"])

    def finish(self) -> Generated:
        """The result, with the output and whether it is right."""
        self._episode.flush()
        ids, roles = self._record.ids, self._record.roles
        self.result.output = self._task.vocab.decode(ids[roles == Role.OUTPUT].tolist())
        ended = self.result.stop == StopReason.EOS
        self.result.answer = ended and self._task.score(self._prompt, self.result.output, None) == 1
        self.result.score = self._task.partial_score(self._prompt, self.result.output)
        return self.result


class _Tee:
    """Writes into several sinks."""

    def __init__(self, sinks: list[Sink]):
        self._sinks = sinks

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        for sink in self._sinks:
            sink.write(ids, roles)

    def close(self, ok: bool) -> None:
        for sink in self._sinks:
            sink.close(ok)

"""An episode in which a model speaks: its tokens go in one by one, and tools answer until there is a reason to stop."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tallystick.engine.margins import abstains
from tallystick.episode import BOS, BadCommand, Sink, StopReason, ToolError, ToolTimeout
from tallystick.models.base import Model
from tallystick.tasks import Task
from tallystick.tools import Started
from tallystick.workspace import start_episode


class Speaker:
    """One episode in progress. limit: maximum number of its tokens, prompt and observations included."""

    def __init__(self, task: Task, prompt: list[str], tools: Started, limit: int, sink: Sink):
        self._episode, self._limit = start_episode(task, prompt, sink, tools), limit
        self.unread: list[int] = [BOS, *task.vocab.encode(prompt)]
        """Tokens that the model has not read yet."""
        self.position = len(self.unread)
        """Index in the episode of the next token."""
        self.stop: StopReason | None = None
        """Why the episode ended; None while it runs."""

    def say(self, token: int, silent: bool) -> None:
        """Take the model's token; silent: it abstains."""
        self.stop = StopReason.UNSEEN if silent else self._push(token)

    def _push(self, token: int) -> StopReason | None:
        try:
            observation = self._episode.push(token)
        except BadCommand:
            return StopReason.BAD_COMMAND
        except ToolTimeout:
            return StopReason.TIMEOUT
        except ToolError:
            return StopReason.TOOL_ERROR
        self.unread = [token, *observation]
        self.position += len(self.unread)
        if self._episode.done:
            return StopReason.EOS
        return StopReason.TOKEN_LIMIT if self.position >= self._limit else None

    def flush(self) -> None:
        """Hand the sink what it has not received yet."""
        self._episode.flush()


@torch.inference_mode()
def let_speak(model: Model, speaker: Speaker, answered: Callable[[], None]) -> StopReason:
    """Let the model speak greedily until the episode ends.

    answered: called after each answer of a tool, when the sink has received it.
    """
    state, device = None, next(iter(model.state_dict().values())).device
    while speaker.stop is None:
        logits_BLV, state = model(torch.tensor([speaker.unread], device=device), state)
        logits_V = logits_BLV[0, -1].float().cpu()
        speaker.say(int(logits_V.argmax()), abstains(logits_V))
        if len(speaker.unread) > 1:
            speaker.flush()
            answered()
    speaker.flush()
    return speaker.stop

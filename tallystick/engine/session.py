"""A session: a text task's model that works for an agent, which runs its commands; it keeps the model's state alone.

Glossary: L length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tallystick.engine.margins import abstains
from tallystick.episode import ANS, BOS, MARKS, BadCommand, Episode, Role, StopReason
from tallystick.models.base import Model, State
from tallystick.tasks import Task
from tallystick.tools import BASH, Started
from tallystick.tools.shell import Ran
from tallystick.tools.shell.tool import calls, observation
from tallystick.workspace import start_episode

LONGEST_TURN = 100_000
"""Tokens that a model may say in one turn."""


@dataclass(frozen=True)
class Turn:
    """What the model says at once: text and a command, or the reason for which it says nothing more."""

    text: str
    command: str | None = None
    """The command line; None: the session is over."""
    stop: StopReason | None = None
    """Why the session is over; `eos` if the model has finished."""


class Session:
    """One conversation, whose commands are run by somebody else.

    prompt: any text. Raises ValueError unless the task is a text task whose only tool is the shell.
    """

    def __init__(self, model: Model, task: Task, prompt: str):
        if not task.text or task.tools != ("shell",):
            raise ValueError(f"an agent's model needs a text task whose only tool is the shell, not {task.name}")
        self._model, self._task, self._vocab = model, task, task.vocab
        problem = task.parse(prompt)
        commands = calls(task, task.vocab, self._ask)
        self._episode: Episode = start_episode(task, problem, _Nowhere(), Started(commands, None, {}))
        self._command: str | None = None
        self._state: State | None = None
        self._unread: list[int] = [BOS, *self._vocab.encode(problem)]
        self.tokens = 0
        """Number of tokens that the model has read, its own included."""

    @property
    def state_bytes(self) -> int:
        """The size of the state."""
        return sum(tensor.nbytes for tensor in (self._state or {}).values())

    @torch.inference_mode()
    def speak(self) -> Turn:
        """Let the model say its next turn."""
        said: list[int] = []
        for _ in range(LONGEST_TURN):
            logits_V = self._read()
            token = int(logits_V.argmax())
            if abstains(logits_V):
                return self._turn(said, StopReason.UNSEEN)
            try:
                if self._push(token):
                    said.append(token)
            except BadCommand:
                return self._turn(said, StopReason.BAD_COMMAND)
            if self._episode.done:
                return self._turn(said, StopReason.EOS)
            if self._command is not None:
                return self._turn(said, None)
        return self._turn(said, StopReason.TOKEN_LIMIT)

    def hear(self, ran: Ran) -> None:
        """Take the answer to the turn's command."""
        self._unread += observation(self._task, self._vocab, ran)

    def repeat(self, text: str, command: str) -> None:
        """Take a turn as if the model had said it. Raises BadCommand where the grammar does not allow one."""
        pieces = [*self._task.spell(text), "[call]", BASH, *self._task.spell(command), "[/call]"]
        opening = [] if self._episode.answered else [ANS]
        for token in [*opening, *self._vocab.encode(pieces)]:
            self._push(token)

    def _push(self, token: int) -> bool:
        """Take the model's next token; return whether it is text."""
        before, self._command = self._episode.role, None
        self._episode.push(token)
        self._unread.append(token)
        return Role.COMMAND not in (before, self._episode.role) and token >= len(MARKS)

    def _ask(self, command: str) -> Sequence[int]:
        """Keep the command line; its answer comes later."""
        self._command = command
        return ()

    def _read(self) -> torch.Tensor:
        """Let the model read what it has not read yet; return the logits of the next token."""
        ids, self._unread = self._unread, []
        self.tokens += len(ids)
        logits_1LV = None
        for start in range(0, len(ids), self._model.verify_chunk):
            ids_1L = torch.tensor([ids[start : start + self._model.verify_chunk]])
            logits_1LV, self._state = self._model(ids_1L, self._state)
        assert logits_1LV is not None, "there is something to read before each turn"
        return logits_1LV[0, -1]

    def _turn(self, said: list[int], stop: StopReason | None) -> Turn:
        return Turn(self._task.format(self._vocab.decode(said)), self._command, stop)


class _Nowhere:
    """A sink that keeps nothing."""

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        pass

    def close(self, ok: bool) -> None:
        pass

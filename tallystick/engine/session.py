"""A session: a text task's model that works for an agent, which runs its commands; it keeps the model's state alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tallystick.engine.reader import open_reader
from tallystick.engine.snapshot import Snapshot, digest, digest_of_vocabulary
from tallystick.engine.speaker import Speaker, speak
from tallystick.episode import ANS, MARKS, Role, StopReason
from tallystick.models.base import Model
from tallystick.tasks import Task
from tallystick.tools import BASH, Started
from tallystick.tools.shell import Ran
from tallystick.tools.shell.tool import calls, observation

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


class _Talker(Speaker):
    """An episode whose commands are carried out by somebody else."""

    command: str | None = None
    """The command line that waits for its answer."""

    @property
    def waits(self) -> bool:
        """Whether the episode has ended, or a command line waits for its answer."""
        return super().waits or self.command is not None

    def ask(self, command: str) -> Sequence[int]:
        """Keep the command line; its answer comes later."""
        self.command = command
        return ()


class Session:
    """One conversation, whose commands are run by somebody else.

    prompt: any text. backend: how the model is run. Raises ValueError unless the task is a text task whose only tool is
    the shell.
    """

    def __init__(self, model: Model, task: Task, prompt: str, backend: str = "auto"):
        if not task.text or task.tools != ("shell",):
            raise ValueError(f"an agent's model needs a text task whose only tool is the shell, not {task.name}")
        self._begin(model, task, task.parse(prompt), backend)

    def _begin(self, model: Model, task: Task, prompt: list[str], backend: str) -> None:
        self._model, self._task, self._reader, self._text = model, task, open_reader(model, backend), _Text()
        commands = Started(calls(task, task.vocab, lambda command: self._talker.ask(command)), None, {})
        self._talker = _Talker(task, prompt, commands, 0, self._text)
        self._marks = [*prompt[: task.marks], *prompt[len(prompt) - task.marks :]]

    @classmethod
    def resume(cls, model: Model, task: Task, snapshot: Snapshot, backend: str = "auto") -> Session:
        """Go on from a snapshot, which is left as it is: several sessions that resume it are forks.

        Raises ValueError for a snapshot of another model or vocabulary.
        """
        snapshot.check(model, task.vocab.tokens)
        session = cls.__new__(cls)
        session._begin(model, task, snapshot.prompt, backend)
        if snapshot.state:
            session._reader.resume(snapshot.state)
        talker = session._talker
        talker.unread, talker.position, talker.command = [*snapshot.unread], snapshot.position, snapshot.command
        talker.episode.mode = snapshot.mode
        return session

    def snapshot(self) -> Snapshot:
        """Return what the session is now. Raises ValueError if it is over."""
        talker = self._talker
        if talker.stop is not None:
            raise ValueError(f"the session is over ({talker.stop}): there is nothing to go on from")
        state = {name: tensor.detach().cpu().clone() for name, tensor in (self._reader.state or {}).items()}
        return Snapshot(
            digest(self._model), digest_of_vocabulary(self._task.vocab.tokens), self._marks, [*talker.unread],
            talker.position, talker.episode.mode, talker.command, state,
        )  # fmt: skip

    @property
    def tokens(self) -> int:
        """Number of tokens that the model has read, its own included."""
        return self._talker.position - len(self._talker.unread)

    @property
    def state_bytes(self) -> int:
        """The size of the state."""
        return sum(tensor.nbytes for tensor in (self._reader.state or {}).values())

    def speak(self) -> Turn:
        """Let the model say its next turn."""
        talker = self._talker
        talker.flush()
        self._text.said.clear()
        talker.command, talker.limit = None, talker.position + LONGEST_TURN
        speak(self._reader, [talker])
        text = self._task.format(self._task.vocab.decode(self._text.said))
        if talker.command is not None:  # a limit that it has just met is the next turn's
            talker.stop = None
        return Turn(text, talker.command, talker.stop)

    def hear(self, ran: Ran) -> None:
        """Take the answer to the turn's command."""
        self._talker.hear(observation(self._task, self._task.vocab, ran))

    def repeat(self, text: str, command: str) -> None:
        """Take a turn as if the model had said it. Raises BadCommand where the grammar does not allow one."""
        pieces = [*self._task.spell(text), "[call]", BASH, *self._task.spell(command), "[/call]"]
        opening = [] if self._talker.episode.answered else [ANS]
        for token in [*opening, *self._task.vocab.encode(pieces)]:
            self._talker.take(token)


class _Text:
    """A sink that keeps the ids of text, which is neither a command nor a mark."""

    def __init__(self) -> None:
        self.said: list[int] = []

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        self.said += ids[(roles != Role.COMMAND) & (ids >= len(MARKS))].tolist()

    def close(self, ok: bool) -> None:
        pass

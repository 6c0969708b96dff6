"""Episodes in which a model speaks: its tokens go in one by one, and tools answer until there is a reason to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tallystick.engine.interface import Reader, Said
from tallystick.episode import BOS, MARKS, BadCommand, Brackets, Episode, Sink, StopReason, ToolError, ToolTimeout
from tallystick.tasks import Task
from tallystick.tools import Started
from tallystick.workspace import start_episode

MOST_PLAIN = 4096
"""Plain tokens that a model says at once, so that it can be interrupted."""


class Speaker:
    """One episode in progress. limit: maximum number of its tokens, prompt and observations included."""

    def __init__(self, task: Task, prompt: list[str], tools: Started, limit: int, sink: Sink):
        self.episode: Episode = start_episode(task, prompt, sink, tools)
        self.limit = limit
        self.unread: list[int] = [BOS, *task.vocab.encode(prompt)]
        """Tokens that the model has not read yet."""
        self.position = len(self.unread)
        """Index in the episode of the next token."""
        self.stop: StopReason | None = None
        """Why the episode ended; None while it runs."""

        self.plain_V: np.ndarray | None = plain_tokens(task, prompt, tools)
        """Whether each token is one that nothing answers; None if each token that is said has to be seen."""

    @property
    def waits(self) -> bool:
        """Whether the model is not to say more: the episode has ended, or somebody else has to answer first."""
        return self.stop is not None

    def say_plain(self, tokens: list[int]) -> None:
        """Take plain tokens that the model has said and read."""
        self.episode.push_all(tokens)
        self.position += len(tokens)

    def say(self, said: Said) -> None:
        """Take what the model says, which has read everything."""
        self.unread = []
        self.stop = StopReason.UNSEEN if said.silent else self._push(said.token)

    def _push(self, token: int) -> StopReason | None:
        try:
            self.take(token)
        except BadCommand:
            return StopReason.BAD_COMMAND
        except ToolTimeout:
            return StopReason.TIMEOUT
        except ToolError:
            return StopReason.TOOL_ERROR
        if self.episode.done:
            return StopReason.EOS
        return StopReason.TOKEN_LIMIT if self.position >= self.limit else None

    def take(self, token: int) -> None:
        """Take a token as if the model had said it. Raises BadCommand or ToolError, as `Episode.push` does."""
        self.hear([token, *self.episode.push(token)])

    def hear(self, ids: Sequence[int]) -> None:
        """Take tokens that the model has to read."""
        self.unread += ids
        self.position += len(ids)

    def flush(self) -> None:
        """Hand the sink what it has not received yet."""
        self.episode.flush()


def speak(reader: Reader, speakers: Sequence[Speaker], answered: Callable[[], None] | None = None) -> None:
    """Let the model speak greedily in all episodes, until each waits.

    answered: called after each answer of a tool, when the sink has received it.
    """
    live = [speaker for speaker in speakers if not speaker.waits]
    assert len(live) == len(speakers), "each sequence has a state"
    while live:
        for speaker, said in zip(live, _read(reader, live), strict=True):
            speaker.say(said)
            if answered and len(speaker.unread) > 1:
                speaker.flush()
                answered()
        kept = [number for number, speaker in enumerate(live) if not speaker.waits]
        if 0 < len(kept) < len(live):
            reader.keep(kept)
        live = [live[number] for number in kept]
    for speaker in speakers:
        speaker.flush()


def _read(reader: Reader, live: Sequence[Speaker]) -> list[Said]:
    """Let the model read; return what it says, but for plain tokens of a single episode, which that has taken."""
    first = live[0]
    if len(live) > 1 or first.plain_V is None:
        return reader.read([speaker.unread for speaker in live])
    most = min(first.limit - first.position - 1, MOST_PLAIN)
    tokens, said = reader.read_on(first.unread, first.plain_V, max(most, 0))
    first.say_plain(tokens)
    return [said]


def plain_tokens(task: Task, prompt: list[str], tools: Started) -> np.ndarray:
    """Return for each token whether it is neither a mark nor a part of a command, so that nothing answers it."""
    plain_V = np.ones(len(task.part_of(prompt)[0].vocab), np.bool_)
    plain_V[: len(MARKS)] = False
    plain_V[[*tools.commands]] = False
    plain_V[[command.close for command in tools.commands.values() if isinstance(command, Brackets)]] = False
    return plain_V

"""A conversation in messages, as agents hold them: text, the model's turns, and the answers to its commands."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tallystick.engine.session import Session, Turn
from tallystick.episode import StopReason
from tallystick.models.base import Model
from tallystick.tasks import Task
from tallystick.tools.shell import Ran
from tallystick.tools.shell.output import shorten

LOG = logging.getLogger("minisweagent.tallystick")
FINISH = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
"""The command by which an agent of mini-swe-agent finishes."""
FENCE = "```mswea_bash_command"
"""Opens a command in the text form of messages."""
NOT_RUN = "action was not executed"
"""mini-swe-agent's exception in the answer to a command that its user did not let run."""

Message = Mapping[str, Any]


class Heard(NamedTuple):
    """What a message says to the model."""

    kind: str
    """"text" of the system or the user, "turn" of the model, "answer" to its command, or "end"."""
    text: str = ""
    command: str = ""
    answer: Ran = Ran("", 0)


def hear(messages: Sequence[Message]) -> list[Heard]:
    """Read messages of mini-swe-agent. Raises ValueError for one that lacks what this model reads."""
    heard, begun = list[Heard](), False
    for number, message in enumerate(messages):
        try:
            heard.append(_hear(message, begun))
        except ValueError as error:
            raise ValueError(f"message {number} cannot be read: {error}") from error
        begun |= heard[-1].kind == "turn"
    return heard


def _hear(message: Message, begun: bool) -> Heard:
    role, extra, text = message.get("role"), message.get("extra") or {}, _text(message.get("content"))
    if role == "exit":
        return Heard("end")
    if role == "assistant":
        return Heard("turn", text.partition(f"\n\n{FENCE}")[0], _command(extra.get("actions") or []))
    if "returncode" in extra:
        return Heard("answer", answer=_answer(extra))
    if role == "tool" or (begun and "<returncode>" in text):
        raise ValueError("it answers a command, but has no extra.returncode and extra.raw_output")
    return Heard("text", text)


def _text(content: object) -> str:
    """Return the text of a message's content: a string, or a list of parts of which some are text."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part)


def _command(actions: Sequence[Message]) -> str:
    if len(actions) != 1:
        raise ValueError(f"it has {len(actions)} commands in extra.actions, where this model gives one")
    return actions[0]["command"]


def _answer(extra: Message) -> Ran:
    output, returncode, exception = extra.get("raw_output"), extra["returncode"], extra.get("exception_info") or ""
    if not isinstance(output, str) or not isinstance(returncode, int):
        raise ValueError("its extra.raw_output is no text, or its extra.returncode no number")
    if extra.get("exception_type") == "TimeoutExpired":
        exception = f"timeout: {exception}"
    return Ran(output, returncode, exception)


def as_shell(ran: Ran) -> Ran:
    """Return the result of a command as this package's shell would have returned it."""
    signalled = ran.returncode < 0  # as Python counts
    output = shorten(ran.output.encode(errors="replace").decode())
    return Ran(output, 128 - ran.returncode if signalled else ran.returncode)


class Conversation:
    """A model in a conversation: it keeps a session, the prompt, and a hash of the messages that it has read.

    A text begins a new session, whose prompt is all texts so far: what came of an earlier command is then seen anew,
    by the commands that the model begins with. Raises ValueError for a task that an agent cannot work on.
    """

    def __init__(self, model: Model, task: Task):
        self._model, self._task = model, task
        self._forget()

    def _forget(self) -> None:
        self._count, self._hash = 0, hash(())
        self._prompt: list[str] = []
        self._begin()

    def _begin(self) -> None:
        self.session = Session(self._model, self._task, "\n".join(self._prompt))
        """The session that is under way, or is over."""
        self._over = self._waiting = False
        self._failure = Ran("", 0)

    def speak(self, messages: Sequence[Message]) -> Turn:
        """Read the messages that are new, or all if earlier ones have changed; let the model say its next turn.

        Its command is FINISH where the model has finished, and None where it cannot go on.
        """
        heard = hear(messages)
        if hash(tuple(heard[: self._count])) != self._hash:
            LOG.warning("earlier messages have changed: all of them are read again, from the first")
            self._forget()
        for part in heard[self._count :]:
            self._read(part)
        if self._failure.exception:
            stop = StopReason.TIMEOUT if self._failure.timed_out else StopReason.TOOL_ERROR
            return Turn(self._failure.exception, stop=stop)
        turn = self._ready().speak()
        if turn.stop == StopReason.EOS:
            turn = replace(turn, command=FINISH)
        if turn.command is None:
            self._over = True
        else:
            heard.append(Heard("turn", turn.text, turn.command))
            self._said(turn.command)
        self._count, self._hash = len(heard), hash(tuple(heard))
        return turn

    def _read(self, part: Heard) -> None:
        if part.kind == "text":
            self._prompt.append(part.text)
            self._begin()
        elif part.kind == "turn":
            if part.command != FINISH:
                self._ready().repeat(part.text, part.command)
            self._said(part.command)
        elif part.kind == "answer" and self._waiting and part.answer.exception != NOT_RUN:
            self._answered(part.answer)

    def _answered(self, ran: Ran) -> None:
        self._waiting = False
        if ran.exception:
            self._failure = ran
        else:
            self.session.hear(as_shell(ran))

    def _said(self, command: str) -> None:
        """Take note of a turn, which waits for an answer or is the last one."""
        self._over = command == FINISH
        self._waiting = not self._over

    def _ready(self) -> Session:
        """Return the session, or a new one where it is over or its command has got no answer."""
        if self._over or self._waiting:
            self._begin()
        return self.session

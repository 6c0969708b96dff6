"""Conversations of any agent, as a trajectory of texts: what it was given, said, called and was answered."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tallystick.episode import Role
from tallystick.tools import BASH
from tallystick.trajectory import Segment

USER = "[user]"
"""Name of the call by which an agent ends its turn and hears what it is told next; no function has such a name."""
NAME = re.compile(r"[^\s\[\]]+")
"""Form of a function's name."""


@dataclass
class Call:
    """A call of a function, and its answer, if it has one."""

    name: str
    arguments: str
    id: str = ""
    answer: str | None = None


class Conversation:
    """Collects the steps of a conversation in their order."""

    def __init__(self) -> None:
        self._given: list[str] = []
        self._steps: list[tuple[Role, str] | Call] = []

    @property
    def unanswered(self) -> bool:
        """Whether the last step is a call without an answer."""
        last = self._steps[-1] if self._steps else None
        return isinstance(last, Call) and last.answer is None

    def give(self, text: str) -> None:
        """Take what the agent is given: part of the prompt, or, once it has spoken, what it hears at its turn's end."""
        if self._steps:
            self._steps.append(Call(USER, "", answer=text))
        else:
            self._given.append(text)

    def say(self, text: str, role: Role = Role.OUTPUT) -> None:
        """Take what the agent says or, with another role, thinks."""
        if text:
            self._steps.append((role, text))

    def call(self, name: object, arguments: object, id: object = "") -> None:
        """Take a call. Raises ValueError for a name that none has."""
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a function")
        self._steps.append(Call(name, argument_text(arguments), str(id or "")))

    def answer(self, text: str, id: object = "") -> None:
        """Take the answer of a call: of the last one with this id, or else of the first one that waits for it.

        Raises ValueError if there is none.
        """
        waiting = [step for step in self._steps if isinstance(step, Call) and step.answer is None]
        called = next((call for call in reversed(waiting) if id and call.id == id), None)
        if called is None and id and any(call.id for call in waiting):
            raise ValueError(f"it answers the call {id!r}, which was not made or has its answer")
        if called is None and not waiting:
            raise ValueError("it answers a call, but no call waits for an answer")
        (called or waiting[0]).answer = text

    def drop_last_call(self, name: str, arguments: str) -> None:
        """Drop the last step if it is this call, without an answer: one that ended the conversation."""
        last = self._steps[-1] if self._steps else None
        if isinstance(last, Call) and (last.name, last.arguments.strip(), last.answer) == (name, arguments, None):
            self._steps.pop()

    def segments(self) -> list[Segment]:
        """Return the trajectory. What is given after the agent's last message is left out, as nothing follows it.

        Raises ValueError if the agent says nothing.
        """
        while self._steps and isinstance(last := self._steps[-1], Call) and last.name == USER:
            self._steps.pop()
        if not self._steps:
            raise ValueError("the agent says nothing in it")
        segments: list[Segment] = [(Role.PROMPT, "\n".join(filter(None, self._given)))]
        for step in self._steps:
            segments += _of_call(step) if isinstance(step, Call) else [step]
        return [(role, valid(text)) for role, text in segments if isinstance(text, str)]


def _of_call(call: Call) -> list[Segment]:
    said = f"{call.name} {call.arguments}" if call.arguments else call.name
    return [(Role.COMMAND, said), *([] if call.answer is None else [(Role.OBSERVATION, call.answer)])]


def argument_text(arguments: object) -> str:
    """Return the text of a call's arguments: a lone `command` as it stands, others as JSON.

    A text that is no JSON object, which a model may have said, stays as it is.
    """
    parsed = _parsed(arguments) if isinstance(arguments, str) else arguments
    if isinstance(parsed, dict) and list(parsed) == ["command"] and isinstance(parsed["command"], str):
        return parsed["command"]
    if not parsed and not isinstance(parsed, str):
        return ""
    return parsed if isinstance(parsed, str) else json.dumps(parsed, ensure_ascii=False)


def arguments_of(name: str, text: str) -> dict[str, Any]:
    """Return the arguments that `argument_text` wrote, of a function of this name."""
    parsed = _parsed(text)
    if isinstance(parsed, dict) and ("command" in parsed or name != BASH):
        return parsed
    return {"command": text} if text or name == BASH else {}


def _parsed(text: str) -> Any:
    try:
        parsed = json.loads(text)
    except ValueError:
        return text
    return parsed if isinstance(parsed, dict) else text


def content_text(content: object) -> str:
    """Return the text of a message's content: a string, or a list of parts of text. Raises ValueError for others."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise ValueError(f"its content is of type {type(content).__name__}; it must be text or a list of parts")
    return "".join(_part_text(part) for part in content)


def _part_text(part: Any) -> str:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return part["text"]
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    raise ValueError(f"its content has a part of type {kind!r}; only text can be read")


def valid(text: str) -> str:
    """Return text that can be encoded: half of a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode()

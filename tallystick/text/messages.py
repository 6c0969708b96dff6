"""Read conversations from messages: OpenAI's form, mini-swe-agent's trajectories, and SWE-smith's training files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tallystick.episode import Role
from tallystick.text.conversation import Conversation, content_text, valid
from tallystick.tools import BASH
from tallystick.tools.shell.output import shorten

Message = Mapping[str, Any]
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
"""The command by which mini-swe-agent's agents end."""
GIVEN = ("system", "developer", "user")
"""Roles of messages that are given to the agent."""

_FUNCTION = re.compile(r"<function=([^>\s]+)>(.*?)</function>", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\s]+)>(\n?)(.*?)(\n?)</parameter>", re.DOTALL)
_MINI = re.compile(r"```mswea_bash_command[ \t]*\n(.*?)\n?```", re.DOTALL)
_FENCE = re.compile(r"```(?:bash|sh|shell)?[ \t]*\n(.*?)\n?```", re.DOTALL)


def read(document: Mapping[str, Any]) -> Conversation:
    """Read the messages of a document. Raises ValueError naming the message that cannot be read."""
    messages = document["messages"]
    if isinstance(messages, str):  # as in Parquet files, whose columns have one type
        messages = json.loads(messages)
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ValueError("its messages are not a list of objects")
    conversation, written = Conversation(), _commands_in_text(messages)
    for number, message in enumerate(messages):
        try:
            _take(conversation, message, written)
        except ValueError as error:
            raise ValueError(f"message {number} ({_role(message)}): {error}") from None
    if "trajectory_format" in document:
        conversation.drop_last_call(BASH, SUBMIT)
    return conversation


def _role(message: Message) -> str:
    """Return a message's role; items of OpenAI's newer interface, Responses, have a type instead."""
    if message.get("object") == "response":
        return "assistant"
    return {"function_call_output": "tool"}.get(message.get("type", ""), str(message.get("role")))


def _take(conversation: Conversation, message: Message, written: re.Pattern[str] | None) -> None:
    """Take one message; written: the form of commands that stand in the text."""
    role = _role(message)
    if role == "assistant":
        _take_agents(conversation, message, written)
    elif role == "tool" or (role == "user" and written and conversation.unanswered):
        conversation.answer(_answer(message), _answered(message))
    elif role in GIVEN:
        conversation.give(content_text(message.get("content")))
    elif role != "exit":  # mini-swe-agent's note of how the run ended
        raise ValueError(f"unknown role; there are: {', '.join(GIVEN)}, assistant, tool")


def _take_agents(conversation: Conversation, message: Message, written: re.Pattern[str] | None) -> None:
    """Take a message of the agent: its reasoning, its text, its calls."""
    conversation.say(content_text(message.get("reasoning_content")), Role.THOUGHT)
    for item in message.get("output") or ():
        _take_item(conversation, item)
    text, calls = content_text(message.get("content")), message.get("tool_calls") or ()
    if written and not calls:
        conversation.say(written.sub("", text).strip() if written.search(text) else text)
        for found in written.finditer(text):
            conversation.call(*_written_call(found))
        return
    conversation.say(text)
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise ValueError("a tool call has no function")
        conversation.call(function.get("name"), function.get("arguments"), call.get("id"))


def _take_item(conversation: Conversation, item: Any) -> None:
    """Take an item of a message of the Responses interface."""
    kind = item.get("type") if isinstance(item, dict) else None
    if kind == "message":
        conversation.say(content_text(item.get("content")))
    elif kind == "function_call":
        conversation.call(item.get("name"), item.get("arguments"), item.get("call_id"))
    elif kind == "reasoning":
        conversation.say(content_text(item.get("summary")), Role.THOUGHT)
    else:
        raise ValueError(f"its output has an item of type {kind!r}, which cannot be read")


def _commands_in_text(messages: list[Message]) -> re.Pattern[str] | None:
    """Return the form of commands in the agent's text; None if it calls tools, or does not command.

    Blocks that are fenced without mini-swe-agent's own tag are commands only if every message of the agent before its
    last has exactly one.
    """
    said = [message for message in messages if _role(message) == "assistant"]
    if any(message.get("tool_calls") or message.get("output") for message in said):
        return None
    texts = [content_text(message.get("content")) for message in said]
    for form in (_FUNCTION, _MINI):
        if any(map(form.search, texts)):
            return form
    one_each = all(len(_FENCE.findall(text)) == 1 for text in texts[:-1])
    return _FENCE if len(texts) > 1 and one_each else None


def _written_call(found: re.Match[str]) -> tuple[str, Any]:
    """Return the name and arguments of a call that stands in text."""
    if found.re is not _FUNCTION:
        return BASH, {"command": found[1]}
    arguments: dict[str, str] = {}
    for name, before, value, after in _PARAMETER.findall(found[2]):
        arguments[name] = value if before and after else f"{before}{value}{after}"
    return found[1], arguments


def _answer(message: Message) -> str:
    """Return a tool's answer; mini-swe-agent's is written as the shell's here: return code, newline, output."""
    extra = message.get("extra")
    if isinstance(extra, dict) and isinstance(extra.get("raw_output"), str):
        code, exception = extra.get("returncode"), extra.get("exception_info") or ""
        if isinstance(code, int) and code < 0 and not exception:
            code = 128 - code  # the number of a signal
        return f"{code}\n{shorten(valid(extra['raw_output']))}{exception}"
    return content_text(message.get("content", message.get("output")))


def _answered(message: Message) -> object:
    """Return the id of the call that a tool's message answers."""
    several = message.get("tool_call_ids")
    return message.get("tool_call_id") or message.get("call_id") or (several[0] if several else "")

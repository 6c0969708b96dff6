"""Episodes as chats with tool calls, in the convention of OpenAI's messages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tallystick.episode import EOS, MARKS
from tallystick.replay import Command, Replay
from tallystick.text.conversation import USER, arguments_of
from tallystick.tools import BASH

Message = dict[str, Any]
"""A message with the convention's keys: role and content, and optionally tool_calls, tool_call_id and name."""


def messages(replay: Replay) -> list[Message]:
    """Return the episode as messages: the problem from the user, then the model's messages and the tools' answers.

    Contents are symbols joined by spaces; of a text task they are its texts, without marks.
    """
    prompt = replay.ids[1 : replay.prompt_end].tolist()
    chat: list[Message] = [{"role": "user", "content": _content(replay, prompt)}]
    calls = 0
    for turn in _turns(replay):
        chat += turn.messages(replay, calls)
        calls += len(turn.commands)
    return chat


@dataclass
class _Turn:
    """One message of the model: the tokens that it says, then its calls."""

    said: list[int] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)

    def messages(self, replay: Replay, calls: int) -> list[Message]:
        """Return the message, and a tool's message for each call; calls: the number of earlier calls."""
        message: Message = {"role": "assistant", "content": _content(replay, self.said)}
        answers: list[Message] = []
        for number, command in enumerate(self.commands, calls):
            ids = replay.ids[command.start : command.answered].tolist()
            said, answer = ids[: command.end - command.start], ids[command.end - command.start :]
            name, arguments = _call(replay, said)
            if name == USER:
                answers.append({"role": "user", "content": _content(replay, answer[1:-1])})
                continue
            call = {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
            content = _content(replay, answer[1:-1] if replay.part.text else answer)
            message.setdefault("tool_calls", []).append(call)
            if answer or not replay.part.text:
                answers.append({"role": "tool", "tool_call_id": call["id"], "name": name, "content": content})
        return [message, *answers]


def _turns(replay: Replay) -> list[_Turn]:
    """Group tokens and calls into turns: a turn ends where a token follows a call, or a call a tool's answer."""
    turns = [_Turn()]
    position = replay.prompt_end
    for command in replay.commands():
        _say(turns, replay.ids[position : command.start].tolist())
        if any(earlier.answered > earlier.end for earlier in turns[-1].commands):
            turns.append(_Turn())
        turns[-1].commands.append(command)
        position = command.answered
    _say(turns, [token for token in replay.ids[position:].tolist() if token != EOS])
    return turns


def _say(turns: list[_Turn], said: list[int]) -> None:
    """Add tokens to the last turn, or to a new one if the last already has calls."""
    if said and turns[-1].commands:
        turns.append(_Turn())
    turns[-1].said += said


def _content(replay: Replay, ids: list[int]) -> str:
    """Return the text of tokens: joined by spaces, or in a text task as they stand, without marks."""
    if not replay.part.text:
        return " ".join(replay.tokens[token] for token in ids)
    return replay.part.format([replay.tokens[token] for token in ids if token >= len(MARKS)])


def _call(replay: Replay, said: list[int]) -> tuple[str, dict[str, Any]]:
    """Return the function and arguments of a command."""
    if replay.part.text:
        name = replay.tokens[said[1]]
        return name, arguments_of(name, _content(replay, said[2:-1]))
    name, arguments = _function(replay.tokens[said[0]])
    return name, {"symbols": _content(replay, said[1:-1])} if said[0] in replay.closing_marks else arguments


def _function(command: str) -> tuple[str, dict[str, str]]:
    """Return a command's function name and arguments: [tape.write 1] is tape_write with the symbol 1."""
    word, _, symbol = command[1:-1].partition(" ")
    return re.sub(r"\W", "_", word), {"symbol": symbol} if symbol else {}


def schemas(replay: Replay) -> list[dict[str, Any]]:
    """Return the JSON schemas of the functions that can be called in the episode."""
    if replay.part.text:
        command = {"command": {"type": "string", "description": "the command line"}}
        names = [name for name in replay.part.functions if name != USER]
        return [_schema(name, command if name == BASH else {}) for name in names]
    functions: dict[str, dict[str, Any]] = {}
    for token in replay.command_ids:
        name, arguments = _function(replay.tokens[token])
        properties = functions.setdefault(name, {})
        if token in replay.closing_marks:
            properties["symbols"] = {"type": "string", "description": "symbols separated by spaces"}
        elif arguments:
            properties.setdefault("symbol", {"type": "string", "enum": []})["enum"].append(arguments["symbol"])
    return [_schema(name, properties) for name, properties in functions.items()]


def _schema(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}

"""An episode as a chat with tool calls."""

from __future__ import annotations

import re
from typing import Any

from tallystick import tools as toolbox
from tallystick.episode import EOS, Brackets, Role, not_said
from tallystick.tasks import Task


class Chat:
    """An episode on one problem as messages in the chat convention, made token by token."""

    def __init__(self, task: Task, prompt: list[str]):
        self._tokens = task.vocab.tokens
        commands, _ = toolbox.start_all(*task.part_of(prompt))
        self._closing = {token: c.close for token, c in commands.items() if isinstance(c, Brackets)}
        self.tools = self._schemas([token for token, command in commands.items() if command is not not_said])
        """The schemas of the commands."""
        self._messages: list[dict[str, Any]] = [{"role": "user", "content": " ".join(prompt)}]
        self._said: list[str] = []  # the content of the assistant's next message
        self._calls: list[tuple[int, list[str], list[str]]] = []  # its commands: token, arguments, answer
        self._close: int | None = None  # the mark that ends the arguments now said
        self._count = 0

    def add(self, token: int, role: int) -> None:
        """Take the episode's next token."""
        word = self._tokens[token]
        if role == Role.OBSERVATION:
            self._calls[-1][2].append(word)
        elif role == Role.COMMAND:
            self._command(token, word)
        elif role != Role.PROMPT and token != EOS:
            self._flush(bool(self._calls))
            self._said.append(word)

    def finish(self) -> list[dict[str, Any]]:
        """All messages."""
        self._flush(bool(self._said or self._calls))
        return self._messages

    def _command(self, token: int, word: str) -> None:
        """A command, or an argument; one that comes after an answer is another message's."""
        if self._close is None:
            self._flush(any(answer for _, _, answer in self._calls))
            self._calls.append((token, [], []))
            self._close = self._closing.get(token)
        elif token == self._close:
            self._close = None
        else:
            self._calls[-1][1].append(word)

    def _flush(self, due: bool) -> None:
        """If it is due, the assistant's message with its calls, and a tool's message for each of them."""
        if not due:
            return
        calls, answers = [], []
        for token, symbols, answer in self._calls:
            name, arguments = self._call(token, symbols)
            call_id = f"call_{self._count}"
            self._count += 1
            calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}})
            answers.append({"role": "tool", "tool_call_id": call_id, "name": name, "content": " ".join(answer)})
        message = {"role": "assistant", "content": " ".join(self._said)} | ({"tool_calls": calls} if calls else {})
        self._messages += [message, *answers]
        self._said, self._calls = [], []

    def _call(self, token: int, symbols: list[str]) -> tuple[str, dict[str, str]]:
        """The function's name and arguments: [tape.write 1] is tape_write with the symbol 1."""
        word, _, symbol = self._tokens[token][1:-1].partition(" ")
        arguments = {"symbols": " ".join(symbols)} if token in self._closing else {"symbol": symbol} if symbol else {}
        return re.sub(r"\W", "_", word), arguments

    def _schemas(self, commands: list[int]) -> list[dict[str, Any]]:
        """A function a name; a symbol that stands in the command's own name is one of those that do."""
        functions: dict[str, dict[str, Any]] = {}
        for token in commands:
            name, arguments = self._call(token, [])
            properties = functions.setdefault(name, {})
            if "symbols" in arguments:
                properties["symbols"] = {"type": "string", "description": "with spaces between"}
            elif arguments:
                properties.setdefault("symbol", {"type": "string", "enum": []})["enum"].append(arguments["symbol"])
        return [_schema(name, properties) for name, properties in functions.items()]


def _schema(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}

"""Trajectories in the forms of other projects, made from messages: mini-swe-agent's, and ATIF, Harbor's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tallystick
from tallystick.data.chat import Message
from tallystick.text.messages import SUBMIT
from tallystick.tools import BASH

Document = dict[str, Any]
Form = Callable[[Sequence[Message], Sequence[Document], Mapping[str, Any]], Document]
"""From messages, descriptions of tools, and the origin of a trajectory to the document of a form."""
MINI = "2.4.6"
"""Version of mini-swe-agent whose trajectories are written."""


def openai(messages: Sequence[Message], tools: Sequence[Document], source: Mapping[str, Any]) -> Document:
    """Return a line of a training file: messages and tools, and where they are from."""
    return {"messages": messages, "tools": tools, **source}


def mini(messages: Sequence[Message], tools: Sequence[Document], source: Mapping[str, Any]) -> Document:
    """Return a trajectory of mini-swe-agent: the agent's last message submits, as each of its messages has a command.

    Raises ValueError if a function other than bash is called.
    """
    written = [_mini_message(message, str(number)) for number, message in enumerate(messages)]
    if written[-1]["role"] == "assistant" and "tool_calls" not in written[-1]:
        written[-1] |= _mini_calls([(f"call_{len(messages)}", SUBMIT)])
    end = {"exit_status": "Submitted", "submission": ""}
    calls = sum(message["role"] == "assistant" for message in messages)
    return {
        "info": {
            "model_stats": {"instance_cost": 0.0, "api_calls": calls},
            "config": {"agent_type": "tallystick", "model": {"model_name": f"{source['task']} {source['variant']}"}},
            "mini_version": MINI,
            **end,
            "tallystick": dict(source),
        },
        "messages": [*written, {"role": "exit", "content": "", "extra": end}],
        "trajectory_format": "mini-swe-agent-1.1",
    }


def _mini_message(message: Message, number: str) -> Document:
    if message["role"] == "tool":
        return {"role": "tool", "tool_call_id": message["tool_call_id"], **_mini_answer(message["content"])}
    calls = message.get("tool_calls", [])
    if other := [call["function"]["name"] for call in calls if call["function"]["name"] != BASH]:
        raise ValueError(f"{other[0]} is called, and agents of mini-swe-agent call bash alone; choose --form atif")
    commands = [(call["id"], call["function"]["arguments"]["command"]) for call in calls]
    return {"role": message["role"], "content": message["content"], **(_mini_calls(commands) if commands else {})}


def _mini_answer(answer: str) -> Document:
    """Return the keys of a command's answer, which is a return code, a newline and the output."""
    code, newline, output = answer.partition("\n")
    if not (newline and code.removeprefix("-").isdecimal()):
        return {"content": answer, "extra": {}}
    ran = {"returncode": int(code), "output": output}
    return {"content": json.dumps(ran), "extra": {"raw_output": output, "returncode": int(code), "exception_info": ""}}


def _mini_calls(commands: Sequence[tuple[str, str]]) -> Document:
    """Return the keys of a message that calls: OpenAI's, and the actions that mini-swe-agent reads off them."""
    functions = [(id, {"name": BASH, "arguments": json.dumps({"command": command})}) for id, command in commands]
    return {
        "tool_calls": [{"id": id, "type": "function", "function": function} for id, function in functions],
        "extra": {"actions": [{"command": command, "tool_call_id": id} for id, command in commands], "cost": 0.0},
    }


def atif(messages: Sequence[Message], tools: Sequence[Document], source: Mapping[str, Any]) -> Document:
    """Return a trajectory in ATIF, version 1.7."""
    steps: list[Document] = []
    for message in messages:
        if message["role"] == "tool":
            result = {"source_call_id": message["tool_call_id"], "content": message["content"]}
            steps[-1].setdefault("observation", {"results": []})["results"].append(result)
        else:
            steps.append(_atif_step(message, len(steps) + 1))
    return {
        "schema_version": "ATIF-v1.7",
        "session_id": "-".join(str(value) for value in source.values()),
        "agent": {
            "name": "tallystick",
            "version": tallystick.__version__,
            "model_name": f"{source['task']} {source['variant']}",
            "tool_definitions": list(tools),
        },
        "steps": steps,
        "final_metrics": {"total_steps": len(steps)},
        "extra": dict(source),
    }


def _atif_step(message: Message, number: int) -> Document:
    source = "agent" if message["role"] == "assistant" else "user"
    functions = [(call["id"], call["function"]) for call in message.get("tool_calls", [])]
    calls = [
        {"tool_call_id": id, "function_name": function["name"], "arguments": function["arguments"]}
        for id, function in functions
    ]
    step = {"step_id": number, "source": source, "message": message["content"]}
    return step | ({"tool_calls": calls} if calls else {})

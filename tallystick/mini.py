"""A trained model inside mini-swe-agent: ``mini --model-class tallystick.mini.Model -m RUN``.

The model reads and says what it was trained on: mini's system and user messages are its prompt, and the answer to a
command is the return code and the raw output, however mini's templates show them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import typer

from tallystick import runs
from tallystick.engine.conversation import FENCE, Conversation
from tallystick.engine.session import Turn

try:
    from minisweagent.exceptions import InterruptAgentFlow  # pyright: ignore[reportMissingImports]
    from minisweagent.models import GLOBAL_MODEL_STATS  # pyright: ignore[reportMissingImports]
    from minisweagent.models.utils import actions_text, actions_toolcall  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ImportError("tallystick.mini needs mini-swe-agent: pip install 'tallystick[mini]'") from error

Message = dict[str, Any]


@dataclass
class Config:
    """Settings, given under `model` in mini's configuration files."""

    model_name: str
    """The run folder."""
    observation_template: str
    """How messages show the answer to a command."""


class Model:
    """A trained model, as mini-swe-agent takes one; settings that only other models have are ignored.

    It keeps the model's state, whose size does not grow, and reads only messages that are new.
    """

    def __init__(
        self, model_name: str, observation_template: str = "{{output.returncode}}\n{{output.output}}", **ignored: Any
    ):
        self.config = Config(model_name, observation_template)
        try:
            run = runs.load(model_name)
            self.conversation = Conversation(run.model, run.task)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--model") from error
        torch.set_num_threads(run.config.settings.threads)

    def query(self, messages: Sequence[Message], **ignored: Any) -> Message:
        """Read the new messages and return the next one. Raises InterruptAgentFlow if the model cannot go on."""
        GLOBAL_MODEL_STATS.add(0.0)
        turn = self.conversation.speak(messages)
        if turn.command is None:
            raise InterruptAgentFlow(_end(turn))
        if any(FENCE in str(message.get("content")) for message in messages[:2]):
            return _text_message(turn.text, turn.command)
        return _tool_message(turn.text, turn.command, f"call_{len(messages)}")

    def format_message(self, **message: Any) -> Message:
        """Return the message with these fields."""
        return message

    def format_observation_messages(
        self, message: Message, outputs: list[Message], template_vars: Message | None = None
    ) -> list[Message]:
        """Return the messages that show the answers to a message's commands."""
        actions = message.get("extra", {}).get("actions", [])
        shown = {"observation_template": self.config.observation_template, "template_vars": template_vars}
        if any("tool_call_id" in action for action in actions):
            return actions_toolcall.format_toolcall_observation_messages(actions=actions, outputs=outputs, **shown)
        return actions_text.format_observation_messages(outputs, **shown)

    def get_template_vars(self, **ignored: Any) -> Message:
        """Return what mini's templates may name."""
        return asdict(self.config)

    def serialize(self) -> Message:
        """Return what a trajectory file of mini says of the model."""
        kind, session = f"{type(self).__module__}.{type(self).__name__}", self.conversation.session
        stats = {"state_bytes": session.state_bytes, "tokens": session.tokens}
        return {"info": {"config": {"model": asdict(self.config), "model_type": kind}, "model_stats": stats}}


def _text_message(text: str, command: str) -> Message:
    """Return a message whose command stands in its text."""
    content = f"{text}\n\n{FENCE}\n{command}\n```"
    return {"role": "assistant", "content": content, "extra": _extra({"command": command})}


def _tool_message(text: str, command: str, number: str) -> Message:
    """Return a message whose command is a call of the tool bash."""
    function = {"name": "bash", "arguments": json.dumps({"command": command})}
    call = {"id": number, "type": "function", "function": function}
    extra = _extra({"command": command, "tool_call_id": number})
    return {"role": "assistant", "content": text, "tool_calls": [call], "extra": extra}


def _extra(action: Message) -> Message:
    return {"actions": [action], "cost": 0.0, "timestamp": time.time()}


def _end(turn: Turn) -> Message:
    """Return the message that ends the agent."""
    content = f"The model cannot go on ({turn.stop}). {turn.text}".rstrip()
    return {"role": "exit", "content": content, "extra": {"exit_status": str(turn.stop), "submission": ""}}

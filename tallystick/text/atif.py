"""Read conversations from ATIF, Harbor's form of trajectories, of any version up to 1.8."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tallystick.episode import Role
from tallystick.text.conversation import Conversation, argument_text, content_text

Step = Mapping[str, Any]


def documents(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a trajectory, then those of the agents that it called."""
    yield document
    for called in document.get("subagent_trajectories") or ():
        yield from documents(called)


def read(document: Mapping[str, Any]) -> Conversation:
    """Read the steps of a trajectory. Raises ValueError naming the step that cannot be read."""
    steps = document.get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise ValueError("its steps are not a list of objects")
    conversation = Conversation()
    for number, step in enumerate(steps, 1):
        try:
            _take(conversation, step)
        except ValueError as error:
            raise ValueError(f"step {number} ({step.get('source')}): {error}") from None
    return conversation


def _take(conversation: Conversation, step: Step) -> None:
    source = step.get("source")
    if source not in ("system", "user", "agent"):
        raise ValueError("unknown source; there are: system, user, agent")
    if source != "agent" or step.get("is_copied_context") or step.get("llm_call_count") == 0:
        conversation.give("\n".join(filter(None, _texts(step))))  # what no model said in this run
        return
    conversation.say(content_text(step.get("reasoning_content")), Role.THOUGHT)
    conversation.say(content_text(step.get("message")))
    calls = step.get("tool_calls") or []
    for call in calls:
        conversation.call(call.get("function_name"), call.get("arguments"), call.get("tool_call_id"))
    for result in _results(step):
        text = content_text(result.get("content"))
        if calls:
            conversation.answer(text, result.get("source_call_id"))
        else:
            conversation.give(text)  # the commands of this agent stand in its messages


def _texts(step: Step) -> Iterator[str]:
    """Yield all texts of a step."""
    yield content_text(step.get("message"))
    for call in step.get("tool_calls") or ():
        yield f"{call.get('function_name')} {argument_text(call.get('arguments'))}"
    for result in _results(step):
        yield content_text(result.get("content"))


def _results(step: Step) -> list[Mapping[str, Any]]:
    return (step.get("observation") or {}).get("results") or []

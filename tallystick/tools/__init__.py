"""Tools: each owns some tokens, and in an episode is handed the commands that the model says.

A task names its tools, with an option after the colon: ``tools = ("pointer:3",)``.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from tallystick.episode import Commands
from tallystick.vocab import Vocabulary

if TYPE_CHECKING:
    from tallystick.tasks.base import Task

TOOLS = {
    "pointer": "tallystick.tools.pointer:Pointer",
    "tape": "tallystick.tools.tape:Tape",
    "search": "tallystick.tools.search:Search",
    "calculator": "tallystick.tools.calculator:Calculator",
}


class Tool(Protocol):
    """One tool of a task, shared by all its episodes: what it keeps between commands lives in `start`'s closures.

    Built from its option, the text after the colon ('' for none), and the task.
    """

    tokens: tuple[str, ...]
    """Every token that it needs in the vocabulary; tools and the task's symbols may share some."""
    reads_memory: bool
    """Whether it reads the episode's context memory, which is kept only then."""

    def start(self, vocab: Vocabulary, memory: array | None, task: Task, prompt: Sequence[str]) -> Commands:
        """Begin an episode on `prompt`: fresh state, and the commands that act on it."""
        ...


def build(spec: str, task: Task) -> Tool:
    """A task's tool from its name and option, as "pointer:3". Raises ValueError for an unknown name or option."""
    name, _, option = spec.partition(":")
    if name not in TOOLS:
        raise ValueError(f"unknown tool {name!r}; there are: {', '.join(TOOLS)}")
    return _class(name)(option, task)


def about(name: str) -> str:
    """What the tool is, in a line."""
    return (import_module(TOOLS[name].split(":")[0]).__doc__ or "").splitlines()[0]


def _class(name: str) -> Callable[..., Tool]:
    module, cls = TOOLS[name].split(":")
    return getattr(import_module(module), cls)


def start_all(task: Task, prompt: Sequence[str]) -> tuple[Commands, array | None]:
    """Begin an episode of all the task's tools: their commands, and the context memory if one of them reads it."""
    tools = task.built_tools
    memory = array("H") if any(tool.reads_memory for tool in tools) else None
    commands: Commands = {}
    for tool in tools:
        commands.update(tool.start(task.vocab, memory, task, prompt))
    return commands, memory

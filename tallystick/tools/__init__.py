"""Tools: each owns some tokens, takes the commands that the model says in an episode, and answers with observations.

A task names its tools, each with an option after a colon: ``tools = ("pointer:3",)``.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Protocol

from tallystick.episode import Commands
from tallystick.vocab import Vocabulary

TOOLS = {
    "pointer": "tallystick.tools.pointer:Pointer",
    "tape": "tallystick.tools.tape:Tape",
    "search": "tallystick.tools.search:Search",
    "calculator": "tallystick.tools.calculator:Calculator",
}
Command = Callable[[], Sequence[int]]
"""A one-token command: acts on the tool's own state and returns the ids of the observation."""


class ToolUser(Protocol):
    """The part of a task that tools need; `tasks.Task` is one."""

    tools: tuple[str, ...]
    symbols: Sequence[str]
    blank: str

    @property
    def vocab(self) -> Vocabulary:
        """The token strings and their ids."""
        ...

    @property
    def built_tools(self) -> list[Tool]:
        """The task's tools, shared by all episodes."""
        ...

    def tape(self, prompt: list[str]) -> tuple[list[str], int]:
        """Lay out the tape at the start: its symbols, and the cell of the head."""
        ...

    def tape_limit(self, prompt: list[str]) -> int | None:
        """Return the number of writes after which the tape is closed; None: never."""
        ...


class Tool(Protocol):
    """A task's tool, shared by all its episodes: what an episode changes lives in the closures made by `start`.

    It is built from the task and its option, the text after the colon, "" for none.
    """

    tokens: tuple[str, ...]
    """The tokens that it needs in the vocabulary; some may also be symbols of the task or tokens of another tool."""
    reads_memory: bool
    """Whether it reads the context memory, which is kept only if a tool reads it."""

    def start(self, vocab: Vocabulary, memory: array | None, task: ToolUser, prompt: Sequence[str]) -> Commands:
        """Start an episode on `prompt` with fresh tool state; return the commands that act on it."""
        ...


def build(spec: str, task: ToolUser) -> Tool:
    """Build a tool from its name and option, such as "pointer:3". Raises ValueError for an unknown name or option."""
    name, _, option = spec.partition(":")
    if name not in TOOLS:
        raise ValueError(f"unknown tool {name!r}; there are: {', '.join(TOOLS)}")
    return _class(name)(option, task)


def about(name: str) -> str:
    """Describe the tool in one line."""
    return (import_module(TOOLS[name].split(":")[0]).__doc__ or "").splitlines()[0]


def _class(name: str) -> Callable[..., Tool]:
    module, cls = TOOLS[name].split(":")
    return getattr(import_module(module), cls)


def start_all(task: ToolUser, prompt: Sequence[str]) -> tuple[Commands, array | None]:
    """Start all tools on `prompt`; return their commands, and the context memory if one of them reads it."""
    tools = task.built_tools
    memory = array("H") if any(tool.reads_memory for tool in tools) else None
    commands: Commands = {}
    for tool in tools:
        commands.update(tool.start(task.vocab, memory, task, prompt))
    return commands, memory

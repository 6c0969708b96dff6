"""Tools: each owns some tokens, and in an episode is handed the commands that the model says.

A task names its tools, with an option after the colon: ``tools = ("pointer:3",)``.
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


class ToolUser(Protocol):
    """What tools need of a task; `tasks.Task` is one."""

    tools: tuple[str, ...]
    symbols: Sequence[str]
    blank: str

    @property
    def vocab(self) -> Vocabulary:
        """The token strings and their ids."""
        ...

    @property
    def built_tools(self) -> list[Tool]:
        """The tools that all its episodes share."""
        ...

    def tape(self, prompt: list[str]) -> tuple[list[str], int]:
        """The symbols on the tape at the start, and the cell that the head is on."""
        ...

    def tape_limit(self, prompt: list[str]) -> int | None:
        """After so many writes the tape is closed; None: never."""
        ...


class Tool(Protocol):
    """One tool of a task, shared by all its episodes; what an episode changes lives in the closures of `start`.

    Built from its option, the text after the colon ('' for none), and the task.
    """

    tokens: tuple[str, ...]
    """Every token that it needs in the vocabulary; it may share some with the task's symbols and other tools."""
    reads_memory: bool
    """Whether it reads the context memory, which is kept only if a tool does."""

    def start(self, vocab: Vocabulary, memory: array | None, task: ToolUser, prompt: Sequence[str]) -> Commands:
        """Start an episode on `prompt` with fresh state; returns the commands that act on it."""
        ...


def build(spec: str, task: ToolUser) -> Tool:
    """Build a tool from its name and option, as "pointer:3". Raises ValueError for an unknown name or option."""
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
    """Start all the task's tools on `prompt`: their commands, and the context memory if one of them reads it."""
    tools = task.built_tools
    memory = array("H") if any(tool.reads_memory for tool in tools) else None
    commands: Commands = {}
    for tool in tools:
        commands.update(tool.start(task.vocab, memory, task, prompt))
    return commands, memory

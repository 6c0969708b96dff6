"""Tools: each owns some tokens, takes the commands that the model says in an episode, and answers with observations.

A task names its tools, each with an option after a colon: ``tools = ("pointer:3",)``.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tallystick.episode import Commands, id_array
from tallystick.vocab import Vocabulary

TOOLS = {
    "pointer": "tallystick.tools.pointer:Pointer",
    "tape": "tallystick.tools.tape:Tape",
    "search": "tallystick.tools.search:Search",
    "calculator": "tallystick.tools.calculator:Calculator",
    "shell": "tallystick.tools.shell.tool:ShellTool",
}
BASH = "bash"
"""The name by which the shell is called."""
SHELL = "shell"
"""The name of the tool that runs command lines."""
Command = Callable[[], Sequence[int]]
"""A one-token command: acts on the tool's own state and returns the ids of the observation."""


@dataclass(frozen=True)
class Live:
    """How a model's commands run: for real. A program's may be simulated."""

    sandbox: str = "auto"
    """The shell's level of isolation, one of `tools.shell.sandbox.CHOICES`."""
    folder: Path | None = None
    """The folder whose copy the shell works in, instead of the problem's files."""


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
    def built_tools(self) -> Sequence[Tool | StatefulTool]:
        """The tools, which all episodes share."""
        ...

    def spell(self, text: str) -> list[str]:
        """Return the symbols of a text."""
        ...

    def format(self, tokens: list[str]) -> str:
        """Return the text of symbols."""
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


@runtime_checkable
class StatefulTool(Protocol):
    """A tool whose state outlives its commands, because the task scores it."""

    tokens: tuple[str, ...]
    reads_memory: bool

    def open(self, prompt: Sequence[str], live: Live | None) -> Any:
        """Make the state of an episode on `prompt`, a program's if `live` is None; it has a method close()."""
        ...

    def start_on(self, state: Any, vocab: Vocabulary) -> Commands:
        """Return the commands that act on the state."""
        ...


def build(spec: str, task: ToolUser) -> Tool | StatefulTool:
    """Build a tool from its name and option, as "pointer:3". Raises ValueError for an unknown name or a bad option."""
    name, _, option = spec.partition(":")
    if name not in TOOLS:
        raise ValueError(f"unknown tool {name!r}; there are: {', '.join(TOOLS)}")
    return _class(name)(option, task)


def about(name: str) -> str:
    """Describe the tool in one line."""
    return (import_module(TOOLS[name].split(":")[0]).__doc__ or "").splitlines()[0]


def _class(name: str) -> Callable[..., Tool | StatefulTool]:
    module, cls = TOOLS[name].split(":")
    return getattr(import_module(module), cls)


@dataclass(frozen=True)
class Started:
    """The tools of one episode."""

    commands: Commands
    memory: array | None
    """The context memory, still empty; None if no tool reads it."""
    states: Mapping[str, Any]
    """What tools keep outside the context memory and a task may score, by the tool's name: the shell's files."""

    def close(self) -> None:
        """Give back what the tools hold."""
        for state in self.states.values():
            state.close()


def split_answer(text: str) -> tuple[str, str]:
    """Split the answer to a command line into its return code and what was printed; a code of "" where it has none."""
    found = re.match(r"(-?\d+)\n", text)
    return (found[1], text[found.end() :]) if found else ("", text)


def runs_commands(task: ToolUser) -> bool:
    """Return whether the task's models run command lines."""
    return any(spec.partition(":")[0] == SHELL for spec in task.tools)


def start_all(task: ToolUser, prompt: Sequence[str], *, live: Live | None = None) -> Started:
    """Start all the tools on `prompt`, for a program, or for a model if `live` says how its commands run."""
    tools = task.built_tools
    memory = id_array() if any(tool.reads_memory for tool in tools) else None
    commands: Commands = {}
    states: dict[str, Any] = {}
    for spec, tool in zip(task.tools, tools, strict=True):
        if isinstance(tool, StatefulTool):
            state = states[spec.partition(":")[0]] = tool.open(prompt, live)
            commands.update(tool.start_on(state, task.vocab))
        else:
            commands.update(tool.start(task.vocab, memory, task, prompt))
    return Started(commands, memory, states)

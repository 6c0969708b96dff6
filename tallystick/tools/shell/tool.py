"""The shell as a tool: ``[call] bash ls [/call]`` is answered ``[obs] 0 NEWLINE main.py NEWLINE [/obs]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from tallystick.episode import BadCommand, Brackets, Commands, ToolError, ToolTimeout, not_said
from tallystick.problem import Problem
from tallystick.tools import BASH, Live, ToolUser
from tallystick.tools.shell import Ran, Shell
from tallystick.tools.shell.fast import FastShell, Unknown
from tallystick.tools.shell.output import shorten
from tallystick.vocab import Vocabulary


class AnyShell(Protocol):
    """A shell on the files of one episode."""

    def run(self, command: str) -> Ran:
        """Run a command line."""
        ...

    def files(self) -> dict[str, str]:
        """Read all files: text by path."""
        ...

    def close(self) -> None:
        """Remove them."""
        ...


class ShellState:
    """The files of one episode, and what its last command left.

    live: every command runs in bash, in this sandbox; None: a simulation runs those that it knows, and bash takes over
    at the first one that it does not.
    """

    def __init__(self, prompt: Sequence[str], live: Live | None = None):
        problem = prompt if isinstance(prompt, Problem) else Problem(prompt)
        self.last = Ran("", 0)
        """What the last command left."""
        self.command = ""
        """The last command, which may still run."""
        self.commands = 0
        """Number of commands begun."""
        self.sandbox = live.sandbox if live else "auto"
        """The level of isolation that was asked for."""
        self._shell: AnyShell
        if live:
            self._shell = Shell(live.folder or problem.files, live.sandbox)
        else:
            self._shell = FastShell(problem.files, problem.root)

    @property
    def shell(self) -> Shell:
        """The shell of a live episode."""
        assert isinstance(self._shell, Shell), "the episode is live"
        return self._shell

    def run(self, command: str) -> Ran:
        """Run a command line. Raises ToolTimeout, or ToolError if the shell itself fails."""
        self.command, self.commands = command, self.commands + 1
        with _shell_failing():
            self.last = self._run(command)
        if self.last.timed_out:
            raise ToolTimeout(self.last.exception)
        return self.last

    def _run(self, command: str) -> Ran:
        if not isinstance(self._shell, FastShell):
            return self._shell.run(command)
        before = self._shell.files()  # a command may change files before it comes to what the simulation does not know
        try:
            ran = self._shell.run(command)
        except Unknown:
            self._shell = Shell(before)
            return self._shell.run(command)
        return Ran(shorten(ran.output), ran.returncode)

    def files(self) -> Mapping[str, str]:
        """Read all files: text by path. Raises ToolError if they cannot be read."""
        with _shell_failing():
            return self._shell.files()

    def close(self) -> None:
        """Remove them."""
        self._shell.close()


@contextmanager
def _shell_failing() -> Iterator[None]:
    """Make an OSError of the shell (its helper has died, its files are too large) a ToolError."""
    try:
        yield
    except OSError as error:
        raise ToolError(str(error)) from error


class ShellTool:
    """Run command lines: ``[call] bash``, the pieces of a command line, ``[/call]``.

    The answer is the return code, a newline, and what was printed, between ``[obs]`` and ``[/obs]``.
    """

    reads_memory = False
    tokens = ("[call]", "[/call]", "[obs]", "[/obs]", BASH)

    def __init__(self, option: str, task: ToolUser):
        if option:
            raise ValueError(f"shell:{option}: the shell takes no option; write shell")
        self._task = task

    def open(self, prompt: Sequence[str], live: Live | None) -> ShellState:
        """Copy the problem's files."""
        return ShellState(prompt, live)

    def start_on(self, state: ShellState, vocab: Vocabulary) -> Commands:
        """Return the command that runs a command line."""
        return calls(self._task, vocab, lambda command: observation(self._task, vocab, state.run(command)))


def calls(task: ToolUser, vocab: Vocabulary, run: Callable[[str], Sequence[int]]) -> Commands:
    """Return the commands of an episode with a shell; run: carries a command line out and returns the answer's ids."""

    def call(said: list[int]) -> Sequence[int]:
        name, *pieces = vocab.decode(said) or [""]
        if name != BASH:
            raise BadCommand(f"a call of the shell begins with {BASH}")
        return run(task.format(pieces))

    opening, closing, *others = (vocab.ids[token] for token in ShellTool.tokens[:4])
    return {opening: Brackets(closing, call)} | dict.fromkeys((closing, *others), not_said)


def observation(task: ToolUser, vocab: Vocabulary, ran: Ran) -> list[int]:
    """Return the ids of the answer to a command line."""
    return vocab.encode(["[obs]", *task.spell(f"{ran.returncode}\n{ran.output}"), "[/obs]"])

"""A program's API: tools, thoughts and output. Whatever a program says through it is recorded as its trajectory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from tallystick import tools as toolbox
from tallystick.episode import ANS, END_NOTE, END_THINK, EOS, NOTE, THINK, Episode, Sink

if TYPE_CHECKING:  # which most programs do without
    from tallystick.tools.shell import Ran


class ProgramError(ValueError):
    """A faulty program or task: a wrong answer or token, an exception in its code, or a program that does not end."""


class Solvable(toolbox.ToolUser, Protocol):
    """The part of a task that a Workspace needs; `tasks.Task` has it."""

    notes: Collection[str]
    marks: int
    answers_by_token: bool
    text: bool
    functions: Collection[str]

    def truth(self, prompt: list[str]) -> list[str]:
        """Return the answer as a list of symbols."""
        ...

    def score(self, prompt: list[str], output: list[str], tools: Mapping[str, Any] | None) -> float:
        """Score what an episode leaves: 1 if it is right."""
        ...

    def spell(self, text: str) -> list[str]:
        """Return the symbols of a text, in a text task."""
        ...

    def part_of(self, prompt: list[str]) -> tuple[Solvable, list[str]]:
        """Return the task that solves this prompt, in a mixture one of its parts, and the prompt without its marks."""
        ...


class PointerHandle:
    """A program's handle on one pointer."""

    __slots__ = ("_left", "_push", "_read", "_right", "_tokens")

    def __init__(self, push: Any, tokens: tuple[str, ...], read: int, left: int, right: int):
        self._push, self._tokens = push, tokens
        self._read, self._left, self._right = read, left, right

    def read(self) -> str:
        """Read the symbol under the pointer: [BOS] before the first cell, [EOS] beyond the last."""
        return self._tokens[self._push(self._read)[0]]

    def left(self) -> None:
        """Move one cell towards the beginning."""
        self._push(self._left)

    def right(self) -> None:
        """Move one cell towards the end."""
        self._push(self._right)


class TapeHandle:
    """A program's handle on the tape."""

    __slots__ = ("_left", "_push", "_read", "_right", "_tokens", "_writes")

    def __init__(self, push: Any, tokens: tuple[str, ...], read: int, left: int, right: int):
        self._push: Callable[[int], Sequence[int]] = push
        self._tokens, self._read, self._left, self._right = tokens, read, left, right
        self._writes = {
            token.removeprefix("[tape.write ")[:-1]: i
            for i, token in enumerate(tokens)
            if token.startswith("[tape.write ")
        }

    def read(self) -> str:
        """Read the symbol under the head: [EOS] once the tape is closed."""
        return self._tokens[self._push(self._read)[0]]

    def write(self, symbol: str) -> None:
        """Write a symbol under the head. Raises ProgramError if the tape does not take that symbol."""
        if symbol not in self._writes:
            raise ProgramError(f"{symbol!r} cannot be written on the tape, only {' '.join(self._writes)}")
        self._push(self._writes[symbol])

    def left(self) -> None:
        """Move one cell to the left."""
        self._push(self._left)

    def right(self) -> None:
        """Move one cell to the right."""
        self._push(self._right)


class Workspace:
    """A program's API: it calls tools and says thoughts and output.

    Every call says tokens, which go to the sink with their roles. Raises ProgramError for a token outside the
    vocabulary and for output that differs from `task.answer`.
    """

    def __init__(self, task: Solvable, prompt: list[str], sink: Sink):
        self._tools = start_tools(task, prompt)
        self._episode = start_episode(task, prompt, sink, self._tools)
        self._task, self.prompt = task.part_of(prompt)
        """The problem. A model has it only in its state, so a local program uses at most its last few symbols."""
        self._ids, self._tokens = self._task.vocab.ids, self._task.vocab.tokens
        self._push = self._episode.push
        self._pointers: dict[int, PointerHandle] = {}
        self._expected: Iterator[str] | None = None  # the rest of the answer, once answer() has been called
        self._said = 0

    def pointer(self, i: int) -> PointerHandle:
        """Return pointer i of the pointer tool."""
        if i not in self._pointers:
            commands = self._commands(f"pointer({i})", *(f"[p{i}.{verb}]" for verb in ("read", "left", "right")))
            self._pointers[i] = PointerHandle(self._push, self._tokens, *commands)
        return self._pointers[i]

    @cached_property
    def tape(self) -> TapeHandle:
        """The tape tool."""
        commands = self._commands("the tape", "[tape.read]", "[tape.left]", "[tape.right]")
        return TapeHandle(self._push, self._tokens, *commands)

    def find(self, *symbols: str) -> list[list[str]]:
        """Return the lines of the context memory that contain these symbols contiguously, in order."""
        lines: list[list[str]] = [[]]
        for symbol in self._ask("find", "[find]", symbols, "[/find]"):
            if symbol == "[/line]":
                lines.append([])
            else:
                lines[-1].append(symbol)
        return lines[:-1]

    def call(self, name: str, *arguments: Sequence[str]) -> list[str]:
        """Call a tool by name and return its answer; arguments: the symbols of each argument."""
        said = [name]
        for argument in arguments:
            said += [*argument, ","]
        return self._ask(f"call({name})", "[call]", said[: -1 if arguments else None], "[/call]")

    def say(self, text: str) -> None:
        """Say text, in a text task."""
        self._begin()
        self._say(*self._encode(self._task.spell(text)))

    def bash(self, command: str) -> Ran:
        """Run a command line in the shell, in a text task; return its output and return code."""
        self._begin()
        self._push_command("bash", "[call]", [toolbox.BASH, *self._task.spell(command)], "[/call]")
        return self._tools.states["shell"].last

    def _begin(self) -> None:
        """Begin the answer, if it has not begun: all that the agent of a text task says stands in it."""
        if not self._episode.answered:
            self.answer()

    def _ask(self, what: str, opening: str, said: Sequence[str], closing: str) -> list[str]:
        """Say a command with arguments and return the observation without its brackets."""
        return [self._tokens[token] for token in self._push_command(what, opening, said, closing)[1:-1]]

    def _push_command(self, what: str, opening: str, said: Sequence[str], closing: str) -> Sequence[int]:
        """Say a command with arguments and return the observation's ids."""
        first, last = self._commands(what, opening, closing)
        self._push(first)
        self._say(*self._encode(said))
        return self._push(last)

    def _commands(self, what: str, *names: str) -> list[int]:
        try:
            return [self._ids[name] for name in names]
        except KeyError:
            tools = ", ".join(self._task.tools) or "none"
            raise ProgramError(f"{what} is not among this task's tools: {tools}") from None

    def think(self, *symbols: str) -> None:
        """Say thoughts: remembered, not part of the answer. After `answer()` they are put between think marks."""
        if self._episode.answered:
            self._say(THINK, *self._encode(symbols), END_THINK)
        else:
            self._say(*self._encode(symbols))

    def note(self, *symbols: str) -> None:
        """Say notes: trained, not remembered. They are put between note marks unless the task declares them notes."""
        if all(symbol in self._task.notes for symbol in symbols):
            self._say(*self._encode(symbols))
        else:
            self._say(NOTE, *self._encode(symbols), END_NOTE)

    def answer(self) -> None:
        """Say [ANS]: thoughts end, outputs begin."""
        self._say(ANS)
        self._expected = iter(self._task.truth(self.prompt))

    def output(self, *symbols: str) -> None:
        """Say tokens of the answer; each is compared with the ground truth immediately."""
        if self._expected is None:
            raise ProgramError("output() was called before answer(); call answer() first")
        ids = self._encode(symbols)
        if self._task.answers_by_token:
            for symbol in symbols:
                want = next(self._expected, None)
                if symbol != want:
                    truth = "ends" if want is None else f"has {want!r}"
                    raise ProgramError(f"output token {self._said} is {symbol!r}, but the answer {truth} there")
                self._said += 1
        self._say(*ids)

    def _encode(self, symbols: Sequence[str]) -> list[int]:
        try:
            return [self._ids[symbol] for symbol in symbols]
        except KeyError as error:
            symbol = error.args[0]
            if not isinstance(symbol, str):
                raise ProgramError(f"a symbol is a string: {str(symbol)!r}, not {symbol!r}") from None
            raise ProgramError(f"{symbol!r} is not in the vocabulary: add it to the task's symbols") from None

    def _say(self, *ids: int) -> None:
        self._episode.push_all(ids)

    def finish(self) -> None:
        """End the episode with [EOS]. Raises ProgramError if the output is too short or the files do not score."""
        if self._expected is None:
            raise ProgramError("the program ended without calling answer()")
        missing = next(self._expected, None) if self._task.answers_by_token else None
        if missing is not None:
            raise ProgramError(f"the output ends after {self._said} tokens, but the answer continues with {missing!r}")
        states = self._tools.states
        if states and self._task.score(self.prompt, [], states) != 1:
            raise ProgramError("it does not solve the problem: the files that it leaves do not score")
        self._say(EOS)
        self._episode.flush()

    def close(self) -> None:
        """Give back what its tools hold."""
        self._tools.close()


def start_episode(task: Solvable, prompt: list[str], sink: Sink, tools: toolbox.Started | None = None) -> Episode:
    """Start an episode on this problem; for a mixture, with the tools of the part that solves it.

    tools: as `start_tools` started them; by default they are started here, as for a program.
    """
    part, _ = task.part_of(prompt)
    tools = tools or start_tools(task, prompt)
    notes = frozenset(part.vocab.encode(part.notes))
    return Episode(part.vocab.encode(prompt), tools.commands, tools.memory, sink, notes, task.marks)


def start_tools(task: Solvable, prompt: list[str], *, live: toolbox.Live | None = None) -> toolbox.Started:
    """Start the tools of an episode on this problem, for a program, or for a model if `live` says how they run."""
    return toolbox.start_all(*task.part_of(prompt), live=live)

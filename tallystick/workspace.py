"""The Workspace: runs a program on real tools, and pushes what it says into a sink."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tallystick import tools as toolbox
from tallystick.episode import ANS, END_NOTE, END_THINK, EOS, NOTE, THINK, Episode, Sink, StopProgram

if TYPE_CHECKING:
    from tallystick.tasks.base import Task

PATIENCE = 20.0
"""CPU seconds that a program may compute without filling a block before it is taken for endless."""


class ProgramError(ValueError):
    """A program that is wrong: its answer, a token, or that it does not end."""


class _Endless(BaseException):
    """The watch's alarm: not an Exception, so that no program swallows it."""


class _SinkFailed(BaseException):
    """Carries a sink's own error (a full disk, say) past the program and what judges it."""


class PointerHandle:
    """What a program holds of one pointer."""

    __slots__ = ("_left", "_push", "_read", "_right", "_tokens")

    def __init__(self, push: Any, tokens: tuple[str, ...], read: int, left: int, right: int):
        self._push, self._tokens = push, tokens
        self._read, self._left, self._right = read, left, right

    def read(self) -> str:
        """The symbol under the pointer; [BOS] below the first cell, [EOS] beyond the last."""
        return self._tokens[self._push(self._read)[0]]

    def left(self) -> None:
        """Move one cell towards the beginning."""
        self._push(self._left)

    def right(self) -> None:
        """Move one cell towards the end."""
        self._push(self._right)


class TapeHandle:
    """What a program holds of the tape."""

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
        """The symbol under the head; [EOS] once the tape is closed."""
        return self._tokens[self._push(self._read)[0]]

    def write(self, symbol: str) -> None:
        """Put a symbol under the head. Raises KeyError for one that cannot be written."""
        self._push(self._writes[symbol])

    def left(self) -> None:
        """Move one cell to the left."""
        self._push(self._left)

    def right(self) -> None:
        """Move one cell to the right."""
        self._push(self._right)


class Workspace:
    """What a program sees of its problem: the tools, and a voice.

    Every call says tokens; they go into the sink with their roles. Raises ProgramError for a token outside the
    vocabulary, an answer that differs from `task.answer`, and more tokens than `task.token_limit`.
    """

    def __init__(self, task: Task, prompt: list[str], sink: Sink):
        self._episode = begin(task, prompt, self)
        self._task, self.prompt = task.part_of(prompt)
        """The problem. A model has it in its state alone: a local program looks at its last few symbols at most."""
        self._ids, self._tokens = self._task.vocab.ids, self._task.vocab.tokens
        self._sink = sink
        self._limit = self._task.token_limit(self.prompt)
        self._push = self._episode.push
        self._pointers: dict[int, PointerHandle] = {}
        self._expected: Iterator[str] | None = None  # the answer's rest, from answer() on
        self._said = 0

    def pointer(self, i: int) -> PointerHandle:
        """Pointer i of the pointer tool."""
        if i not in self._pointers:
            commands = self._commands(f"pointer({i})", *(f"[p{i}.{verb}]" for verb in ("read", "left", "right")))
            self._pointers[i] = PointerHandle(self._push, self._tokens, *commands)
        return self._pointers[i]

    @cached_property
    def tape(self) -> TapeHandle:
        """The tape."""
        commands = self._commands("the tape", "[tape.read]", "[tape.left]", "[tape.right]")
        return TapeHandle(self._push, self._tokens, *commands)

    def find(self, *symbols: str) -> list[list[str]]:
        """The lines of the context memory that contain the symbols side by side, in order."""
        lines: list[list[str]] = [[]]
        for symbol in self._ask("find", "[find]", symbols, "[/find]"):
            if symbol == "[/line]":
                lines.append([])
            else:
                lines[-1].append(symbol)
        return lines[:-1]

    def call(self, name: str, *arguments: Sequence[str]) -> list[str]:
        """What a tool that is called by name answers; arguments: the symbols of each."""
        said = [name]
        for argument in arguments:
            said += [*argument, ","]
        return self._ask(f"call({name})", "[call]", said[: -1 if arguments else None], "[/call]")

    def _ask(self, what: str, opening: str, said: Sequence[str], closing: str) -> list[str]:
        """Say a command in brackets; returns what stands between the observation's own."""
        first, last = self._commands(what, opening, closing)
        self._say(first, *self._encode(said))
        return [self._tokens[token] for token in self._push(last)[1:-1]]

    def _commands(self, what: str, *names: str) -> list[int]:
        try:
            return [self._ids[name] for name in names]
        except KeyError:
            raise ProgramError(f"{what} is not there: the task's tools are {self._task.tools}") from None

    def think(self, *symbols: str) -> None:
        """Say thoughts: remembered, not part of the answer. After `answer()` they stand between think marks."""
        if self._episode.answered:
            self._say(THINK, *self._encode(symbols), END_THINK)
        else:
            self._say(*self._encode(symbols))

    def note(self, *symbols: str) -> None:
        """Say notes: trained, not remembered. They stand between note marks unless the task declares them notes."""
        if all(symbol in self._task.notes for symbol in symbols):
            self._say(*self._encode(symbols))
        else:
            self._say(NOTE, *self._encode(symbols), END_NOTE)

    def answer(self) -> None:
        """[ANS]: thoughts end, outputs begin."""
        self._say(ANS)
        self._expected = iter(self._task.answer(self.prompt))

    def output(self, *symbols: str) -> None:
        """Say tokens of the answer; each is compared with the ground truth at once."""
        if self._expected is None:
            raise ProgramError("output() before answer()")
        ids = self._encode(symbols)
        if self._task.answers_by_token:
            for symbol in symbols:
                want = next(self._expected, None)
                if symbol != want:
                    truth = "ends" if want is None else f"has {want!r}"
                    raise ProgramError(f"output {self._said} is {symbol!r}, the answer {truth} there")
                self._said += 1
        self._say(*ids)

    def _encode(self, symbols: Sequence[str]) -> list[int]:
        try:
            return [self._ids[symbol] for symbol in symbols]
        except KeyError as error:
            raise ProgramError(f"{error.args[0]!r} is not in the vocabulary: add it to the task's symbols") from None

    def _say(self, *ids: int) -> None:
        for token in ids:
            self._push(token)

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """The episode's own sink: counts, guards against endless programs, and hands on."""
        _disarm()
        try:
            self._sink.write(ids, roles)
        except Exception as error:
            raise _SinkFailed(error) from error
        if self._episode.written > self._limit:
            raise ProgramError(f"more than {self._limit:,} tokens: the program does not end")
        _arm()

    def close(self, ok: bool) -> None:
        """Nothing is left to do at the end: `run` closes the sink itself."""

    def solve(self) -> None:
        """Run the task's program on this problem."""
        self._task.program(self)

    def finish(self) -> None:
        """The program has returned: check that the answer is whole, and say [EOS]."""
        if self._expected is None:
            raise ProgramError("the program ended without answer()")
        missing = next(self._expected, None) if self._task.answers_by_token else None
        if missing is not None:
            raise ProgramError(f"the answer goes on with {missing!r} after {self._said} tokens, the output ends")
        self._say(EOS)
        self._episode.flush()


def begin(task: Task, prompt: list[str], sink: Sink) -> Episode:
    """An episode on this problem, with the live tools of the task; of a mixture, of the part that solves it."""
    part, own = task.part_of(prompt)
    commands, memory = toolbox.start_all(part, own)
    notes = frozenset(part.vocab.encode(part.notes))
    return Episode(part.vocab.encode(prompt), commands, memory, sink, notes, task.marks)


def run(task: Task, prompt: list[str], sink: Sink) -> None:
    """Run the task's program on one problem, into `sink`; ends quietly if the sink raises StopProgram.

    Raises ProgramError, after `sink.close(False)`, if the program is wrong, endless, or fails; the sink's errors as
    they are.
    """
    try:
        workspace = Workspace(task, prompt, sink)
        _arm()
        workspace.solve()
        _disarm()
        workspace.finish()
    except StopProgram:
        return
    except _SinkFailed as error:
        raise error.args[0] from None
    except (Exception, _Endless) as error:
        _disarm()
        sink.close(False)
        raise _wrong(task, error, f"the problem {_short(prompt)}") from error
    finally:
        _disarm()
    sink.close(True)


def run_problem(
    task: Task, sink: Sink, split: str, seed: int, length: int, index: int, *, up_to: bool = False
) -> None:  # fmt: skip
    """Run the program on `task.problem(...)`. Raises ProgramError naming task, length, seed and problem."""
    try:
        prompt = task.problem(split, seed, length, index, up_to=up_to)
    except Exception as error:
        raise _wrong(task, error, _key(split, seed, length, index)) from error
    try:
        run(task, prompt, sink)
    except ProgramError as error:
        raise ProgramError(f"{error}, {_key(split, seed, length, index)}") from error


def _wrong(task: Task, error: BaseException, where: str) -> ProgramError:
    """One line, whatever went wrong; our own errors need no type."""
    what = str(error) if isinstance(error, ProgramError | _Endless) else f"{type(error).__name__}: {error}"
    return ProgramError(f"{task.name}: {' '.join(what.split())}; {where}")


def _short(prompt: Sequence[str]) -> str:
    words = [str(symbol) for symbol in prompt[:24]]
    return " ".join(words) + (" ..." if len(prompt) > 24 else "")


def _key(split: str, seed: int, length: int, index: int) -> str:
    return f"{split} problem {index} of length {length}, seed {seed}"


def _arm() -> None:
    """Start the watch over a silent program; it counts CPU time of the program alone, not of the sink."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGVTALRM, _endless)
        signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE)


def _disarm() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _endless(signum: int, frame: object) -> None:
    raise _Endless(f"{PATIENCE:.0f} s of computing without a block of tokens: the program does not end")

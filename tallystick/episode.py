"""Run and record episodes: the grammar of their tokens, the tokens' roles, and the context memory.

An episode is one problem being worked on, as one sequence of tokens:

    [BOS] prompt  thoughts, commands and tools' answers ...  [ANS] answer [EOS]

The tokens of a model or a program are pushed one by one into an `Episode`. It gives each token a `Role`, appends it to
the context memory if its role is remembered, and hands commands to the tool that owns them. The tool's answer is
recorded after the command; the model reads it but does not say it. A `Sink` receives the recorded tokens in blocks:
`Recorder` keeps them, `JsonlWriter` writes them to a file. `tallystick.replay` reads a recorded episode back.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Protocol

import numpy as np

ID_DTYPE, ROLE_DTYPE = np.dtype(np.uint32), np.dtype(np.uint8)
"""Types of recorded token ids and roles."""
BLOCK = 65_536
"""Maximum number of tokens handed to a sink at once: large enough that calls are cheap, small enough for memory."""
MARKS = ("[BOS]", "[EOS]", "[ANS]", "[think]", "[/think]", "[note]", "[/note]")
"""The grammar's own tokens. Every vocabulary begins with them, in this order, so that their ids are constants."""
BOS, EOS, ANS, THINK, END_THINK, NOTE, END_NOTE = range(len(MARKS))


class Role(IntEnum):
    """Role of a token: who says it, and whether it is remembered and trained (paper, section 1, plus `note`).

    Remembered tokens are appended to the context memory, which tools read. Trained tokens are those that the model
    says: they count in the loss and in exactness.
    """

    PROMPT = 0
    """The problem: given, remembered, not trained."""
    THOUGHT = 1
    """Said by the model, remembered, not part of the answer. The marks [ANS], [think], [/think] and [EOS] are
    thoughts, but [EOS] is not remembered."""
    COMMAND = 2
    """Said by the model to a tool; not remembered."""
    OBSERVATION = 3
    """A tool's answer: neither said by the model, nor trained, nor remembered."""
    OUTPUT = 4
    """Said by the model after [ANS]: the answer; remembered."""
    NOTE = 5
    """Said by the model, trained, not remembered; the marks [note] and [/note] are notes."""


class StopReason(StrEnum):
    """Reason for which an episode ended."""

    EOS = "eos"
    """The model said [EOS]."""
    DEVIATED = "deviated"
    """In `verify` only: the model would have said another token than the program."""
    TOKEN_LIMIT = "token_limit"
    """The episode reached the maximum number of tokens."""
    BAD_COMMAND = "bad_command"
    """The model said a token that the grammar or a tool does not allow there."""
    UNSEEN = "unseen"
    """With `lookup` only: the context was never seen in training, or is ambiguous."""
    TOOL_ERROR = "tool_error"
    """A tool failed."""
    TIMEOUT = "timeout"
    """A tool took too long."""
    MEMORY_FULL = "memory_full"
    """The context memory outgrew the capacity declared for an engine on a GPU."""


class BadCommand(Exception):
    """The model said a token that the grammar or a tool does not allow there."""


class ToolError(Exception):
    """A tool could not carry out a well-formed command."""


class ToolTimeout(ToolError):
    """A tool took too long."""


class StopProgram(BaseException):
    """Raised by a sink to end the program that writes into it. Not an Exception, so that no program catches it."""


class Sink(Protocol):
    """Receives an episode's tokens, in blocks, while the episode runs."""

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Receive the next tokens, at most BLOCK: ids (ID_DTYPE) and their roles (ROLE_DTYPE)."""

    def close(self, ok: bool) -> None:
        """Receive the verdict: whether the answer was right, which is known only at the episode's end."""


@dataclass(frozen=True)
class Brackets:
    """A command with arguments, which are said between an opening and a closing mark."""

    close: int
    """Id of the closing mark."""
    call: Callable[[list[int]], Sequence[int]]
    """Called at the closing mark with the arguments' ids; returns the ids of the tool's answer."""


Commands = dict[int, Callable[[], Sequence[int]] | Brackets]
"""A tool's commands in one episode, by token id: a function that carries the command out and returns the ids of the
tool's answer, or the Brackets that the token opens. Tokens that only the tool may say map to `not_said`."""


def not_said() -> Sequence[int]:
    """Refuse a token that belongs to a tool's answers."""
    raise BadCommand("only a tool may say this token")


def id_array(ids: Iterable[int] = ()) -> array:
    """Make an array of token ids that can grow."""
    return array(ID_DTYPE.char, ids)


class Episode:
    """One problem being worked on: the grammar, the context memory and the record.

    prompt: ids of the problem.
    commands: the commands of the episode's tools, which read `memory`.
    memory: the context memory, still empty, or None if no tool reads it. It will hold prompt, thoughts and outputs.
    sink: receives the recorded tokens.
    notes: ids of the task's symbols that are notes without note marks around them.
    marks: how many tokens at each end of the prompt are not remembered.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        commands: Commands,
        memory: array | None,
        sink: Sink,
        notes: frozenset[int] = frozenset(),
        marks: int = 0,
    ):
        self.memory = memory
        self.role = Role.THOUGHT
        """The role that an ordinary symbol would get now."""
        self.done = False
        """Whether [EOS] has been said."""
        self.answered = False
        """Whether [ANS] has been said."""
        self.written = 0
        """Number of tokens handed to the sink."""
        self._commands = {t: self._opening(t, c) if isinstance(c, Brackets) else c for t, c in commands.items()}
        self._arguments: list[int] | None = None  # said so far while brackets are open, else None
        self._brackets = Brackets(-1, lambda arguments: ())  # the brackets that are open
        self._outside = self.role  # `role` before the brackets opened, and after they close
        self._before_note = self.role  # `role` before the note began, and after it ends
        self._notes = notes
        self._sink = sink
        self._ids = id_array([BOS, *prompt])
        self._roles = array(ROLE_DTYPE.char, bytes([Role.PROMPT]) * len(self._ids))
        if memory is not None:
            memory.extend(prompt[marks : len(prompt) - marks])

    @property
    def mode(self) -> list[int]:
        """What the grammar allows next, outside of commands; another episode may go on with it."""
        return [self.role, self._before_note, self.answered]

    @mode.setter
    def mode(self, mode: Sequence[int]) -> None:
        self.role, self._before_note, self.answered = Role(mode[0]), Role(mode[1]), bool(mode[2])

    def push(self, token: int) -> Sequence[int]:
        """Take the next token that the model or program says; return the tool's answer, or () if there is none.

        The answer is already recorded: feed it to the model, but do not push it. Raises BadCommand if the token is
        not allowed here, ToolError if the tool fails; in both cases nothing is recorded.
        """
        if self._arguments is not None:
            return self._inside(token)
        command = self._commands.get(token)
        if command is not None:
            return self._call(token, command)
        if token < len(MARKS):
            self._mark(token)
            return ()
        role = Role.NOTE if token in self._notes else self.role
        self._record(token, role)
        if self.memory is not None and role != Role.NOTE:
            self.memory.append(token)
        return ()

    def push_all(self, tokens: Sequence[int]) -> None:
        """Take several tokens, as `push` takes them one by one. Their answers, if they have any, are not returned."""
        plain = self._arguments is not None or (self.memory is None and not self._notes)
        if plain and min(tokens, default=0) >= len(MARKS) and self._commands.keys().isdisjoint(tokens):
            self._record_all(tokens, self.role)
            if self._arguments is not None:
                self._arguments += tokens
        else:
            for token in tokens:
                self.push(token)

    def _call(self, token: int, command: Callable[[], Sequence[int]]) -> Sequence[int]:
        observation = command()
        self._record(token, Role.COMMAND)
        if len(observation) == 1:
            self._record(observation[0], Role.OBSERVATION)
        else:
            self._record_all(observation, Role.OBSERVATION)
        return observation

    def _opening(self, token: int, brackets: Brackets) -> Callable[[], Sequence[int]]:
        """Return the command that opens these brackets."""

        def open_brackets() -> Sequence[int]:
            self._arguments, self._brackets, self._outside = [], brackets, self.role
            self.role = Role.COMMAND
            return ()

        return open_brackets

    def _inside(self, token: int) -> Sequence[int]:
        """Take an argument or the closing mark of the open command; other marks and commands are not allowed."""
        arguments = self._arguments
        assert arguments is not None
        if token == self._brackets.close:
            observation = self._call(token, lambda: self._brackets.call(arguments))
            self._arguments, self.role = None, self._outside
            return observation
        if token < len(MARKS) or token in self._commands:
            raise BadCommand("a command is still open: say its arguments, then its closing mark")
        self._record(token, Role.COMMAND)
        arguments.append(token)
        return ()

    def _record(self, token: int, role: int) -> None:
        self._ids.append(token)
        self._roles.append(role)
        if len(self._ids) >= BLOCK:
            self.flush()

    def _record_all(self, tokens: Sequence[int], role: int) -> None:
        self._ids.extend(tokens)
        self._roles.frombytes(bytes((role,)) * len(tokens))
        if len(self._ids) >= BLOCK:
            self.flush()

    def _mark(self, token: int) -> None:
        """Take a mark: [ANS] once, [think] only after [ANS], [note] outside notes, [EOS] once, at the end."""
        outer = Role.OUTPUT if self.answered else Role.THOUGHT
        allowed = {
            ANS: not self.answered and self.role == outer,
            THINK: self.answered and self.role == outer,
            END_THINK: self.answered and self.role == Role.THOUGHT,
            NOTE: self.role != Role.NOTE,
            END_NOTE: self.role == Role.NOTE,
            EOS: self.role == outer and not self.done,
        }
        if not allowed.get(token, False):
            raise BadCommand(f"{MARKS[token]} is not allowed here")
        is_note = token in (NOTE, END_NOTE)
        self._record(token, Role.NOTE if is_note else Role.THOUGHT)
        if self.memory is not None and not is_note and token != EOS:
            self.memory.append(token)
        self._turn(token)

    def _turn(self, token: int) -> None:
        """Set the role of the tokens that follow a mark."""
        if token == NOTE:
            self._before_note = self.role
        self.answered |= token == ANS
        self.done |= token == EOS
        after = {ANS: Role.OUTPUT, THINK: Role.THOUGHT, END_THINK: Role.OUTPUT, NOTE: Role.NOTE}
        self.role = self._before_note if token == END_NOTE else after.get(token, self.role)

    def flush(self) -> None:
        """Hand the sink the tokens recorded since the last flush, in blocks of at most BLOCK."""
        ids, roles = np.frombuffer(self._ids, ID_DTYPE), np.frombuffer(self._roles, ROLE_DTYPE)
        self._ids, self._roles = id_array(), array(ROLE_DTYPE.char)  # new arrays, since the sink may keep the old ones
        self.written += len(ids)
        for start in range(0, len(ids), BLOCK):
            self._sink.write(ids[start : start + BLOCK], roles[start : start + BLOCK])


class Recorder:
    """A sink that keeps an episode in memory; a limit ends the episode once it has so many tokens."""

    def __init__(self, limit: int | None = None) -> None:
        self.blocks: list[tuple[np.ndarray, np.ndarray]] = []
        self.ok: bool | None = None
        """Whether the answer was right; None while the episode runs, and if the limit ended it."""
        self.digest = ""
        """Digest of the problem (`problem.prompt_digest`), where a program solved it."""
        self._limit, self._size = limit, 0

    def __len__(self) -> int:
        """Return the number of tokens kept: at least the limit if that ended the episode."""
        return self._size

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Keep a block. Raises StopProgram at the limit."""
        self.blocks.append((ids, roles))
        self._size += len(ids)
        if self._limit is not None and self._size >= self._limit:
            raise StopProgram

    def close(self, ok: bool) -> None:
        """Keep the verdict."""
        self.ok = ok

    @property
    def ids(self) -> np.ndarray:
        """Token ids, ID_DTYPE [length]; the first is [BOS]."""
        return np.concatenate([ids for ids, _ in self.blocks])

    @property
    def roles(self) -> np.ndarray:
        """Roles, ROLE_DTYPE [length]."""
        return np.concatenate([roles for _, roles in self.blocks])

"""The episode: one grammar, one append-only context memory, one record of what was said.

Whoever lets a model or a program speak (Workspace, generate, importers) pushes its tokens into an `Episode`,
which gives each its role, remembers it or not, and hands commands to the tool that owns them.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from itertools import groupby
from typing import Any, Protocol, TextIO

import numpy as np

FORMAT_VERSION = 1
BLOCK = 65_536
"""Tokens in one block handed to a sink: 128 KiB of ids, large enough that the hand-over costs nothing."""
MARKS = ("[BOS]", "[EOS]", "[ANS]", "[think]", "[/think]", "[note]", "[/note]")
"""The grammar's own tokens. Every vocabulary begins with them, in this order, so that their ids are constants."""
BOS, EOS, ANS, THINK, END_THINK, NOTE, END_NOTE = range(len(MARKS))


class Role(IntEnum):
    """Who says a token, and what for (paper, section 1; `note` is ours)."""

    PROMPT = 0
    """Given; never trained."""
    THOUGHT = 1
    """Said by the model and remembered; the marks are thoughts."""
    COMMAND = 2
    """Said by the model to a tool; not remembered."""
    OBSERVATION = 3
    """Answered by a tool: forced, never trained, not remembered."""
    OUTPUT = 4
    """Said by the model after [ANS]: the answer; remembered."""
    NOTE = 5
    """Said by the model to itself; not remembered."""


class StopReason(StrEnum):
    """How an episode ended."""

    EOS = "eos"
    """The model said [EOS]."""
    DEVIATED = "deviated"
    """verify: the model would not have said the program's token."""
    TOKEN_LIMIT = "token_limit"
    """The budget of tokens was used up."""
    BAD_COMMAND = "bad_command"
    """The model said a token that the grammar or a tool does not allow there."""
    UNSEEN = "unseen"
    """lookup: the context was never seen in training, or is ambiguous."""
    TOOL_ERROR = "tool_error"
    """A tool failed."""
    TIMEOUT = "timeout"
    """A tool took too long."""
    MEMORY_FULL = "memory_full"
    """A device twin's declared capacity was exceeded."""


class BadCommand(Exception):
    """A token that is not allowed where it was said."""


class ToolError(Exception):
    """A tool that could not do what a well-formed command asked of it."""


class StopProgram(BaseException):
    """Raised by a sink to end the program that writes into it; not an error, and not caught by programs."""


class Sink(Protocol):
    """Takes an episode's tokens in blocks while it runs."""

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Take the next tokens: ids (uint16) and their roles (uint8), at most BLOCK of them."""

    def close(self, ok: bool) -> None:
        """The episode has ended; `ok` says whether its answer was right (known only now)."""


@dataclass(frozen=True)
class Brackets:
    """A command with arguments, said between an opening mark and a closing one."""

    close: int
    """Id of the closing mark."""
    call: Callable[[list[int]], Sequence[int]]
    """Takes the arguments' ids, at the closing mark; returns the observation's ids."""


Commands = dict[int, Callable[[], Sequence[int]] | Brackets]
"""A tool's commands in one episode: token id -> what it does, returning the observation's ids, or, for an opening
mark, what follows. A token that only the tool may say stands there with `not_said`."""


def not_said() -> Sequence[int]:
    """The command behind a tool's own words."""
    raise BadCommand("this token is the tool's to say")


class Episode:
    """One problem being worked on.

    prompt: ids of the problem; commands: the live tools' commands, built over `memory`; memory: the context memory
    that the tools read (prompt + thoughts + outputs, an array of uint16), or None if none of them does; notes: ids
    of the task's symbols that are notes by themselves; marks: so many at each end of the prompt are not remembered.
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
        """The role of a free token said now."""
        self.done = False
        self.answered = False
        self.written = 0
        self._commands = {t: self._opening(t, c) if isinstance(c, Brackets) else c for t, c in commands.items()}
        self._arguments: list[int] | None = None  # of the brackets that are open, if any
        self._brackets = Brackets(-1, lambda arguments: ())  # the open ones
        self._outside = self.role  # the role of a free token before and after them
        self._notes = notes
        self._sink = sink
        self._ids = array("H", [BOS, *prompt])
        self._roles = array("B", bytes([Role.PROMPT]) * len(self._ids))
        if memory is not None:
            memory.extend(prompt[marks : len(prompt) - marks])

    def push(self, token: int) -> Sequence[int]:
        """Take a token that the model (or program) says; returns the tool's observation, () for none.

        The observation is forced: it is recorded here, and is to be fed to the model, not pushed.
        Raises BadCommand if the grammar does not allow the token here.
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

    def _call(self, token: int, command: Callable[[], Sequence[int]]) -> Sequence[int]:
        observation = command()
        self._record(token, Role.COMMAND)
        for symbol in observation:
            self._record(symbol, Role.OBSERVATION)
        return observation

    def _opening(self, token: int, brackets: Brackets) -> Callable[[], Sequence[int]]:
        def open_brackets() -> Sequence[int]:
            self._arguments, self._brackets, self._outside = [], brackets, self.role
            self.role = Role.COMMAND
            return ()

        return open_brackets

    def _inside(self, token: int) -> Sequence[int]:
        """An argument, or the closing mark; marks and other commands are not allowed."""
        arguments = self._arguments
        assert arguments is not None
        if token == self._brackets.close:
            observation = self._call(token, lambda: self._brackets.call(arguments))
            self._arguments, self.role = None, self._outside
            return observation
        if token < len(MARKS) or token in self._commands:
            raise BadCommand("a command is not ended: only arguments and its closing mark are allowed")
        self._record(token, Role.COMMAND)
        arguments.append(token)
        return ()

    def _record(self, token: int, role: int) -> None:
        self._ids.append(token)
        self._roles.append(role)
        if len(self._ids) >= BLOCK:
            self.flush()

    def _mark(self, token: int) -> None:
        """[ANS] once; [think] only after it; notes anywhere but inside notes; [EOS] ends, once."""
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
        if token == NOTE:
            self._before_note = self.role
        self.answered |= token == ANS
        self.done |= token == EOS
        after = {ANS: Role.OUTPUT, THINK: Role.THOUGHT, END_THINK: Role.OUTPUT, NOTE: Role.NOTE}
        self.role = self._before_note if token == END_NOTE else after.get(token, self.role)

    def flush(self) -> None:
        """Hand what was recorded to the sink, in blocks of at most BLOCK tokens."""
        ids, roles = self._ids, self._roles
        self._ids, self._roles = array("H"), array("B")
        self.written += len(ids)
        for start in range(0, len(ids), BLOCK):
            part = slice(start, start + BLOCK)
            self._sink.write(np.frombuffer(ids, np.uint16)[part], np.frombuffer(roles, np.uint8)[part])


@dataclass
class Trajectory:
    """One recorded episode: segments of (role, symbols), or (role, text) in text tasks."""

    segments: list[tuple[Role, list[str] | str]]
    meta: dict[str, Any] = field(default_factory=dict)
    """Where it came from: task, variant, length, seed, index; free-form."""

    def to_json(self) -> str:
        """One JSONL line, without the newline."""
        segments = [[role.name.lower(), symbols] for role, symbols in self.segments]
        return json.dumps({"format": FORMAT_VERSION, **self.meta, "segments": segments}, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Trajectory:
        """Read one JSONL line. Raises ValueError for another format version or an unknown role."""
        record = json.loads(line)
        if not isinstance(record, dict) or record.pop("format", None) != FORMAT_VERSION or "segments" not in record:
            raise ValueError(f"not a tallystick trajectory of format {FORMAT_VERSION}")
        roles = {role.name.lower(): role for role in Role}
        segments = record.pop("segments")
        unknown = {name for name, _ in segments} - roles.keys()
        if unknown:
            raise ValueError(f"unknown role {sorted(unknown)[0]!r}; roles are {', '.join(roles)}")
        return cls(merge([(roles[name], symbols) for name, symbols in segments]), record)


def merge(segments: list[tuple[Role, list[str] | str]]) -> list[tuple[Role, list[str] | str]]:
    """Join neighbouring symbol segments of one role: blocks may have split them. Texts stay apart."""
    merged: list[tuple[Role, list[str] | str]] = []
    for role, symbols in segments:
        if merged and merged[-1][0] == role and isinstance(symbols, list) and isinstance(merged[-1][1], list):
            merged[-1][1].extend(symbols)
        else:
            merged.append((role, list(symbols) if isinstance(symbols, list) else symbols))
    return merged


def runs_of_roles(
    ids: np.ndarray, roles: np.ndarray, tokens: tuple[str, ...]
) -> Iterator[tuple[Role, list[str] | str]]:
    """Cut a block into its segments."""
    for role, pairs in groupby(zip(roles.tolist(), ids.tolist(), strict=True), key=lambda pair: pair[0]):
        yield Role(role), [tokens[token] for _, token in pairs]


class Recorder:
    """A sink that keeps an episode's tokens, in memory; limit: end the episode once so many were said."""

    def __init__(self, limit: int | None = None) -> None:
        self.blocks: list[tuple[np.ndarray, np.ndarray]] = []
        self.ok: bool | None = None
        self._limit, self._size = limit, 0

    def __len__(self) -> int:
        """Tokens kept."""
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
        """All token ids, [length]."""
        return np.concatenate([ids for ids, _ in self.blocks])

    @property
    def roles(self) -> np.ndarray:
        """All roles, [length]."""
        return np.concatenate([roles for _, roles in self.blocks])

    def trajectory(self, tokens: tuple[str, ...], meta: dict[str, Any]) -> Trajectory:
        """Cut the episode into segments; tokens: the vocabulary's strings by id."""
        return Trajectory(list(runs_of_roles(self.ids[1:], self.roles[1:], tokens)), meta)


class JsonlWriter:
    """A sink that writes one JSONL line to a text file while the episode runs, holding one block at a time."""

    def __init__(self, file: TextIO, tokens: tuple[str, ...], meta: dict[str, Any]):
        self._file, self._tokens, self._comma = file, tokens, ""
        self._skip = 1  # [BOS]: render puts it there
        head = json.dumps({"format": FORMAT_VERSION, **meta}, ensure_ascii=False)
        file.write(head[:-1] + ', "segments": [')

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Write a block's segments."""
        for role, symbols in runs_of_roles(ids[self._skip :], roles[self._skip :], self._tokens):
            self._file.write(self._comma + json.dumps([role.name.lower(), symbols], ensure_ascii=False))
            self._comma = ", "
        self._skip = 0

    def close(self, ok: bool) -> None:
        """End the line."""
        self._file.write(f'], "ok": {json.dumps(ok)}}}\n')

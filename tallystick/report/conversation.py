"""Episodes of text tasks for the report's viewer, turn by turn, with the files that each command changes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import takewhile

from tallystick.episode import EOS, MARKS, Recorder, ToolError
from tallystick.problem import Problem
from tallystick.replay import Command, Replay
from tallystick.tasks import Task
from tallystick.tools import BASH, runs_commands, split_answer
from tallystick.tools.shell.results import lines
from tallystick.tools.shell.tool import ShellState

MOST_DIFF = 20_000
"""Maximum number of characters kept of a diff."""
SHELL_MARKS = frozenset(("[call]", "[/call]", "[obs]", "[/obs]"))


@dataclass(frozen=True)
class FileChange:
    """A file that a command has changed."""

    name: str
    kind: str
    """One word: added, removed or changed."""
    diff: str


@dataclass(frozen=True)
class Turn:
    """What the agent says, and a command with its answer."""

    start: int
    """Position in the episode of its first token."""
    call: int
    """Position of the command's opening mark; `end` if there is no command."""
    end: int
    """One past its last token."""
    said: str
    command: str | None
    """None if the agent says no more than this."""
    answered: bool
    """Whether the command has an answer."""
    code: str
    """The return code; "" for an answer without one."""
    output: str
    changes: list[FileChange]


@dataclass(frozen=True)
class Slip:
    """Where in a turn a model says another token than the program."""

    turn: int
    """Index among the turns shown."""
    part: str
    """Where it stands: in `said` or in the `command`."""
    offset: int
    """Number of characters of that part before it."""


@dataclass(frozen=True)
class Conversation:
    """The turns shown of an episode."""

    prompt: str
    files: int
    """Number of files that the problem has."""
    before: int
    """Number of turns before those shown."""
    turns: list[Turn]
    whole: bool
    """Whether the episode ends with the last turn shown."""
    slip: Slip | None = None


def conversation(
    task: Task, prompt: list[str], recorder: Recorder, first: int, last: int, error: int | None = None
) -> Conversation:
    """Return the turns of a recorded episode that have any of its tokens `first` to `last`.

    error: position of a model's first wrong token. The commands are run again, since an episode does not hold the
    files that they change; but for those of recorded trajectories, whose files nobody has.
    """
    assert isinstance(prompt, Problem), "a problem of a text task"
    replay = Replay(task, recorder.ids, recorder.roles)
    texts = _Texts(replay)
    shell = ShellState(prompt) if runs_commands(task) else None
    with closing(shell) if shell else nullcontext():
        every = list(takewhile(lambda turn: turn.start < last, _turns(replay, texts, shell)))
    shown = [turn for turn in every if turn.end > first]
    return Conversation(
        prompt=task.format(prompt),
        files=len(prompt.files),
        before=len(every) - len(shown),
        turns=shown,
        whole=int(replay.ids[shown[-1].end - 1]) == EOS,
        slip=None if error is None else _slip(texts, shown, error),
    )


class _Texts:
    """The texts of stretches of an episode, without marks."""

    def __init__(self, replay: Replay):
        self._replay = replay

    def of(self, start: int, end: int) -> str:
        words = [self._replay.tokens[token] for token in self._replay.ids[start:end].tolist() if token >= len(MARKS)]
        return self._replay.part.format([word for word in words if word not in SHELL_MARKS])

    def command(self, start: int, end: int) -> str:
        return self.of(start, end).removeprefix(BASH)


def _turns(replay: Replay, texts: _Texts, shell: ShellState | None) -> Iterator[Turn]:
    position, end = replay.prompt_end, len(replay.ids)
    for command in replay.commands():
        yield _turn(texts, shell, position, command)
        position = command.answered
    if position < end:
        yield Turn(position, end, end, texts.of(position, end), None, False, "", "", [])


def _turn(texts: _Texts, shell: ShellState | None, start: int, command: Command) -> Turn:
    said, line = texts.of(start, command.start), texts.command(command.start, command.end)
    code, output = split_answer(texts.of(command.end, command.answered))
    answered = command.answered > command.end
    changes = _run(shell, line) if answered and shell else []
    return Turn(start, command.start, command.answered, said, line, answered, code, output, changes)


def _run(shell: ShellState, line: str) -> list[FileChange]:
    try:
        before = shell.files()
        shell.run(line)
        return list(_changes(before, shell.files()))
    except ToolError:
        return []


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[FileChange]:
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old != new:
            kind = "added" if old is None else "removed" if new is None else "changed"
            yield FileChange(name, kind, _diff(old or "", new or ""))


def _diff(old: str, new: str) -> str:
    """Return the hunks of a unified diff; one that is too long says so at its end."""
    hunks = list(difflib.unified_diff(lines(old), lines(new)))[2:]
    text = "".join(line if line.endswith("\n") else f"{line}\n" for line in hunks)
    return text if len(text) <= MOST_DIFF else f"{text[:MOST_DIFF]}\n[{len(text) - MOST_DIFF:,} more characters]\n"


def _slip(texts: _Texts, turns: list[Turn], error: int) -> Slip | None:
    """Find a token in the turns, as a place in what is said or in the command."""
    for number, turn in enumerate(turns):
        if turn.start <= error <= turn.call:
            return Slip(number, "said", len(texts.of(turn.start, error)))
        if turn.call < error < turn.end:
            return Slip(number, "command", len(texts.command(turn.call, error)))
    return None

"""Replays: a program is run with chosen answers, in a Workspace that stands for the real one.

What it says is kept as actions. When the answers are used up, at the next question, its control state is read and the
program is stopped.
"""

from __future__ import annotations

import dis
from collections.abc import Hashable, Sequence
from functools import cache
from types import CodeType, FrameType
from typing import Any, NamedTuple, NoReturn, Protocol

from tallystick.episode import ANS, BOS, EOS, MARKS, StopProgram
from tallystick.locality.extraction.handlers import caught
from tallystick.locality.extraction.refusal import Refusal
from tallystick.tasks import Task
from tallystick.workspace import ProgramError

TAPE, SEARCH = "tape", "search"
"""The tools that are asked by `[tape.read]` and by `[find]`; pointers are named p0, p1 and so on."""
LONGEST = 100_000
"""Number of tokens that a program may say without a question to a tool."""


Answer = str | tuple[str, ...]
"""A tool's answer: a symbol, or the one line that a search finds."""


class Action(NamedTuple):
    """A token that the program says."""

    token: int
    site: Hashable = None
    """The place in the program, for a token that is remembered; else None."""
    pointer: str = ""
    """The pointer that it moves, if any."""
    step: int = 0
    """The pointer's move: -1 or 1."""


class Question(NamedTuple):
    """A program's stop at a question."""

    tool: str
    """The tool that is asked: a pointer, such as p0, TAPE or SEARCH."""
    answered: bool
    """Whether the answer has begun, by [ANS]."""
    key: Hashable
    """The state of the program's frames."""
    searched: tuple[str, ...] = ()
    """The symbols that are searched for."""


class Asked(StopProgram):
    """Raised at a question once the chosen answers are used up."""


class Reader(Protocol):
    """Reads a program's frames during a replay."""

    base: CodeType
    """Code of the frame below the program's own frames."""

    def begin(self) -> None:
        """Begin to watch: the last answer is being given."""

    def key(self, called: FrameType) -> Hashable:
        """Read the control state; called: the frame that the program's innermost frame calls."""
        ...

    def site(self, frame: FrameType) -> Hashable:
        """Read the place of a program whose innermost frame is this one."""
        ...


class Tokens:
    """The token ids that replays need, which are the same in all of them."""

    def __init__(self, task: Task):
        self.ids = task.vocab.ids
        self.declared = frozenset(task.notes)
        """Symbols that are notes without marks."""
        self.notes = frozenset(self.ids[symbol] for symbol in task.notes)
        self.commands = _commands(task)


class Replay:
    """One run of a task's program."""

    def __init__(self, task: Task, tokens: Tokens, final: str, answers: Sequence[Answer], reader: Reader):
        self.task, self.tokens, self.ids = task, tokens, tokens.ids
        self.final = final
        """The last symbol of the prompt."""
        self.actions: list[Action] = []
        """What has been said since the last answer."""
        self.question: Question | None = None
        self.refused: Refusal | None = None
        """A refusal during the run, whatever the program made of it."""
        self.answered = False
        self._answers, self._next, self._reader = answers, 0, reader

    def refuse(self, why: str) -> NoReturn:
        """Raise a refusal, and keep it."""
        self.refused = self.refused or Refusal(why)
        raise self.refused

    def ask(self, tool: str, called: FrameType, searched: tuple[str, ...] = ()) -> Any:
        """Answer a question of the program, or stop it there; called: the frame that the program's innermost calls."""
        if self._next == len(self._answers):
            self.question = Question(tool, self.answered, self._reader.key(called), searched)
            raise Asked
        answer = self._answers[self._next]
        self._next += 1
        self.actions.clear()
        if self._next == len(self._answers):
            self._reader.begin()
        return answer

    def say(self, *actions: Action) -> None:
        """Keep what the program says."""
        self.actions += actions
        if len(self.actions) > LONGEST:
            self.refuse(f"the program says more than {LONGEST:,} tokens without a question to a tool")

    def check(self, frame: FrameType | None) -> None:
        """Raise a refusal if the program could catch what a real workspace raises, for it could learn from that."""
        if self.question is not None:
            raise Asked
        while frame is not None and frame.f_code is not self._reader.base:
            if frame.f_lasti in caught(frame.f_code):
                self.refuse(
                    f"{frame.f_code.co_name} may catch what a tool or the workspace raises, and so learn from it"
                )
            frame = frame.f_back

    def check_search(self, frame: FrameType) -> None:
        """Raise a refusal unless this frame, which searches, fails if the search does not find exactly one line."""
        if not _unpacks_one(frame.f_code, frame.f_lasti):
            self.refuse("the program searches, and may go on where no line is found or more than one")

    def symbols(self, symbols: Sequence[str], frame: FrameType) -> list[int]:
        """Return the ids of symbols to be said. Raises ProgramError where a real run fails, at once or at its end."""
        self.check(frame)
        try:
            ids = [self.ids[symbol] for symbol in symbols]
        except KeyError as error:
            raise ProgramError(f"{error.args[0]!r} is not in the vocabulary") from None
        for token in self.tokens.commands.intersection(ids):
            if token in (BOS, EOS, ANS):
                raise ProgramError(f"{MARKS[token]} is said as a symbol")
            self.refuse("the program says a command or a mark as a symbol")
        return ids

    def remember(self, ids: Sequence[int], frame: FrameType) -> None:
        """Say tokens that are remembered, unless they are declared as notes."""
        self.check(frame)
        site = self._reader.site(frame)
        self.say(*(Action(t, None if t in self.tokens.notes else (site, n)) for n, t in enumerate(ids)))


@cache
def _unpacks_one(code: CodeType, offset: int) -> bool:
    """Return whether what is called here is unpacked at once, as one value: `(line,) = w.find(symbol)`."""
    after = next(instruction for instruction in dis.get_instructions(code) if instruction.offset > offset)
    return (after.opname, after.arg) == ("UNPACK_SEQUENCE", 1)


def _commands(task: Task) -> frozenset[int]:
    """Return the ids of tokens that are no plain symbols: marks, and what belongs to a tool's grammar."""
    plain = {*task.symbols, task.blank}
    for tool in task.built_tools:
        plain.update(getattr(tool, "written", ()))
    said = [token for tool in task.built_tools for token in tool.tokens if token not in plain]
    return frozenset([*range(len(MARKS)), *map(task.vocab.ids.__getitem__, said)])

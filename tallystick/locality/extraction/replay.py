"""Replays: a program is run with chosen answers, in a Workspace that stands for the real one.

What it says is kept as actions. When the answers are used up, at the next question, its control state is read and the
program is stopped.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Hashable, Sequence
from functools import cache
from types import CodeType, FrameType
from typing import Any, NamedTuple, NoReturn, Protocol

from tallystick.episode import ANS, BOS, END_NOTE, END_THINK, EOS, MARKS, NOTE, THINK, StopProgram
from tallystick.locality.extraction.refusal import Refusal
from tallystick.tasks import Task
from tallystick.workspace import PointerHandle, ProgramError, TapeHandle

TAPE = "tape"
"""The tool that is asked by `[tape.read]`; pointers are named p0, p1 and so on."""
MOVES = {"left": -1, "right": 1}
LONGEST = 100_000
"""Number of tokens that a program may say without a question to a tool."""


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
    """The tool that is asked: a pointer, such as p0, or TAPE."""
    answered: bool
    """Whether the answer has begun, by [ANS]."""
    key: Hashable
    """The state of the program's frames."""


class Asked(StopProgram):
    """Raised at a question once the chosen answers are used up."""


class Reader(Protocol):
    """Reads a program's frames during a replay."""

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

    def __init__(self, task: Task, tokens: Tokens, final: str, answers: Sequence[str], reader: Reader):
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

    def ask(self, tool: str, called: FrameType) -> str:
        """Answer a question of the program, or stop it there; called: the frame that the program's innermost calls."""
        self.check(called.f_back)
        if self._next == len(self._answers):
            self.question = Question(tool, self.answered, self._reader.key(called))
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
        while frame is not None and frame.f_code is not run.__code__:
            if frame.f_lasti in _caught(frame.f_code):
                self.refuse(
                    f"{frame.f_code.co_name} may catch what a tool or the workspace raises, and so learn from it"
                )
            frame = frame.f_back

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


def _commands(task: Task) -> frozenset[int]:
    """Return the ids of tokens that are no plain symbols: marks, and what belongs to a tool's grammar."""
    plain = {*task.symbols, task.blank}
    for tool in task.built_tools:
        plain.update(getattr(tool, "written", ()))
    said = [token for tool in task.built_tools for token in tool.tokens if token not in plain]
    return frozenset([*range(len(MARKS)), *map(task.vocab.ids.__getitem__, said)])


class Pointer(PointerHandle):
    """Stands for a PointerHandle; it is one, so that a program which asks for its type finds the same."""

    __slots__ = ("_replay", "control_state")

    def __init__(self, replay: Replay, name: str):
        self._replay, self.control_state = replay, name

    def read(self) -> str:
        """Say the command and return the chosen answer."""
        replay = self._replay
        replay.say(Action(replay.ids[f"[{self.control_state}.read]"]))
        return replay.ask(self.control_state, sys._getframe())

    def left(self) -> None:
        """Say the move."""
        self._move("left")

    def right(self) -> None:
        """Say the move."""
        self._move("right")

    def _move(self, way: str) -> None:
        replay, name = self._replay, self.control_state
        replay.check(_caller(2))
        replay.say(Action(replay.ids[f"[{name}.{way}]"], pointer=name, step=MOVES[way]))

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse any other attribute."""
        self._replay.refuse(f"the program uses .{name} of a pointer")


class Tape(TapeHandle):
    """Stands for a TapeHandle."""

    def __init__(self, replay: Replay):
        self._replay, self.control_state = replay, TAPE

    def read(self) -> str:
        """Say the command and return the chosen answer."""
        replay = self._replay
        replay.say(Action(replay.ids["[tape.read]"]))
        return replay.ask(TAPE, sys._getframe())

    def write(self, symbol: str) -> None:
        """Say the command. Raises ProgramError for a symbol that the tape does not take."""
        self._say(f"[tape.write {symbol}]")

    def left(self) -> None:
        """Say the move."""
        self._say("[tape.left]")

    def right(self) -> None:
        """Say the move."""
        self._say("[tape.right]")

    def _say(self, command: str) -> None:
        replay = self._replay
        replay.check(_caller(2))
        if command not in replay.ids:
            raise ProgramError(f"{command} is not in the vocabulary")
        replay.say(Action(replay.ids[command]))

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse any other attribute."""
        self._replay.refuse(f"the program uses .{name} of the tape")


def _refuse_use(prompt: Prompt, *_: object) -> NoReturn:
    prompt.refuse("the program reads w.prompt at will, not only its last symbol")


class Prompt:
    """Stands for the prompt, which has any length: its last symbol alone can be read."""

    __slots__ = ("_replay", "control_state")

    def __init__(self, replay: Replay):
        self._replay, self.control_state = replay, "prompt"

    def refuse(self, why: str) -> NoReturn:
        """Refuse the program."""
        self._replay.refuse(why)

    def __getitem__(self, i: object) -> str:
        """Return the last symbol."""
        if type(i) is not int or i != -1:
            _refuse_use(self)
        return self._replay.final

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse any other attribute."""
        _refuse_use(self)

    __len__ = __iter__ = __contains__ = __reversed__ = __bool__ = _refuse_use  # type: ignore[assignment]
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __mul__ = __rmul__ = _refuse_use  # type: ignore[assignment]
    __hash__ = __repr__ = __str__ = __format__ = __setitem__ = __delitem__ = __iadd__ = _refuse_use  # type: ignore[assignment]


class ReplayWorkspace:
    """Stands for the Workspace."""

    __slots__ = ("_pointers", "_replay", "control_state", "prompt", "tape")

    def __init__(self, replay: Replay):
        set_attribute = super().__setattr__
        set_attribute("_replay", replay)
        set_attribute("_pointers", {})
        set_attribute("control_state", "workspace")
        set_attribute("prompt", Prompt(replay))
        if "[tape.read]" in replay.ids:
            set_attribute("tape", Tape(replay))

    def pointer(self, i: int) -> Pointer:
        """Return pointer i. Raises ProgramError if there is none."""
        self._replay.check(_caller())
        if f"[p{i}.read]" not in self._replay.ids:
            raise ProgramError(f"pointer({i}) is not among this task's tools")
        return self._pointers.setdefault(f"p{i}", Pointer(self._replay, f"p{i}"))

    def think(self, *symbols: str) -> None:
        """Say thoughts."""
        ids = self._replay.symbols(symbols, _caller())
        self._replay.remember([THINK, *ids, END_THINK] if self._replay.answered else ids, _caller())

    def note(self, *symbols: str) -> None:
        """Say notes."""
        replay = self._replay
        ids = replay.symbols(symbols, _caller())
        declared = all(symbol in replay.tokens.declared for symbol in symbols)
        replay.say(*map(Action, ids if declared else [NOTE, *ids, END_NOTE]))

    def answer(self) -> None:
        """Say [ANS]. Raises ProgramError if it has been said."""
        self._replay.check(_caller())
        if self._replay.answered:
            raise ProgramError("[ANS] is not allowed here")
        self._replay.remember([ANS], _caller())
        self._replay.answered = True

    def output(self, *symbols: str) -> None:
        """Say tokens of the answer. Raises ProgramError before `answer()`."""
        ids = self._replay.symbols(symbols, _caller())
        if not self._replay.answered:
            raise ProgramError("output() was called before answer(); call answer() first")
        self._replay.remember(ids, _caller())

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse any other attribute, such as `find`."""
        known = {"find": "searches", "call": "calls a tool", "bash": "runs a shell", "say": "says text"}
        self._replay.refuse(f"the program {known[name]}" if name in known else f"the program uses w.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to keep anything."""
        self._replay.refuse(f"the program sets w.{name}")


def run(task: Task, replay: Replay) -> None:
    """Run the program; its own frames are above this one."""
    task.program(ReplayWorkspace(replay))


def _caller(depth: int = 1) -> FrameType:
    """Return the frame that called the method of this module which called this function."""
    return sys._getframe(depth + 1)


@cache
def _caught(code: CodeType) -> frozenset[int]:
    """Return the offsets of instructions whose exceptions the code handles."""
    entries = dis.Bytecode(code).exception_entries  # pyright: ignore[reportAttributeAccessIssue]
    return frozenset(offset for entry in entries for offset in range(entry.start, entry.end, 2))

"""Stand-ins for the workspace and its handles: what a program is given in a replay.

They raise a refusal for whatever else a program asks of them, since a real workspace might answer.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, NoReturn

from tallystick.episode import ANS, END_NOTE, END_THINK, NOTE, THINK
from tallystick.locality.extraction.replay import SEARCH, TAPE, Action, Replay
from tallystick.workspace import PointerHandle, ProgramError, TapeHandle

MOVES = {"left": -1, "right": 1}


class Pointer(PointerHandle):
    """Stands for a PointerHandle; it is one, so that a program which asks for its type finds the same."""

    __slots__ = ("_replay", "control_state")

    def __init__(self, replay: Replay, name: str):
        self._replay, self.control_state = replay, name

    def read(self) -> str:
        """Say the command and return the chosen answer."""
        replay = self._replay
        replay.check(_caller())
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

    def __repr__(self) -> NoReturn:
        """Refuse to be written: a handle of a workspace is written in another way."""
        self._replay.refuse("the program writes a pointer as text")


class Tape(TapeHandle):
    """Stands for a TapeHandle."""

    def __init__(self, replay: Replay):
        self._replay, self.control_state = replay, TAPE

    def read(self) -> str:
        """Say the command and return the chosen answer."""
        replay = self._replay
        replay.check(_caller())
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

    def __repr__(self) -> NoReturn:
        """Refuse to be written: a handle of a workspace is written in another way."""
        self._replay.refuse("the program writes the tape as text")


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
    _replay: Replay
    _pointers: dict[str, Pointer]

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
        if type(i) is not int:  # a workspace finds pointer 1 by 1.0 and True, too, once it was asked for
            self._replay.refuse(f"the program asks for pointer {i!r}")
        if f"[p{i}.read]" not in self._replay.ids:
            raise ProgramError(f"pointer({i}) is not among this task's tools")
        return self._pointers.setdefault(f"p{i}", Pointer(self._replay, f"p{i}"))

    def find(self, *symbols: str) -> list[list[str]]:
        """Say the command and return the chosen line. Raises ProgramError if there is no search or nothing to find."""
        replay = self._replay
        ids = replay.symbols(symbols, _caller())
        if "[find]" not in replay.ids or not symbols:
            raise ProgramError("find() needs the tool search, and one or more symbols")
        replay.check_search(_caller())
        replay.say(Action(replay.ids["[find]"]), *map(Action, ids), Action(replay.ids["[/find]"]))
        return [[*replay.ask(SEARCH, sys._getframe(), symbols)]]

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
        if not self._replay.tokens.notes.isdisjoint(ids):
            self._replay.refuse("the program outputs a symbol that is declared as a note")
        self._replay.remember(ids, _caller())

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse any other attribute, such as `call`."""
        known = {"call": "calls a tool", "bash": "runs a shell", "say": "says text"}
        self._replay.refuse(f"the program {known[name]}" if name in known else f"the program uses w.{name}")

    def __repr__(self) -> NoReturn:
        """Refuse to be written: a workspace is written in another way."""
        self._replay.refuse("the program writes the workspace as text")

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to keep anything."""
        self._replay.refuse(f"the program sets w.{name}")


def _caller(depth: int = 1) -> FrameType:
    """Return the frame that called the method of this module which called this function."""
    return sys._getframe(depth + 1)

"""The control machine of a program whose control is finite: a transducer, extracted by replays with chosen answers.

A machine is in a control state at each question to a tool. The answer decides what the program says until the next
question, and the state there. States are found lazily: `step` replays the program from its start, with the answers that
led to the state, and one more. So a machine has exactly the steps that were asked for, and each has been run once.
"""

from __future__ import annotations

from collections.abc import Hashable
from types import FrameType
from typing import NamedTuple

from tallystick.episode import EOS
from tallystick.locality.extraction.refusal import Refusal
from tallystick.locality.extraction.replay import SEARCH, TAPE, Action, Answer, Asked, Question, Replay, Tokens
from tallystick.locality.extraction.stand_ins import ReplayWorkspace
from tallystick.locality.extraction.states import key_of
from tallystick.locality.extraction.watch import Watch, own_task
from tallystick.tasks import Task
from tallystick.tasks.annotate.control import open_frames
from tallystick.tasks.guard import Endless, task_code
from tallystick.workspace import ProgramError

__all__ = ["SEARCH", "START", "TAPE", "Action", "Answer", "Machine", "Refusal", "Step", "machine", "own_task"]

STATES, ANSWERS = 10_000, 3_000_000
"""Maximum number of states, and of answers in all replays."""

START = -1
"""Stands for the state before the first question, in which the answer is the prompt's last symbol."""


class Step(NamedTuple):
    """What a program does after an answer, up to the next question."""

    actions: tuple[Action, ...]
    """What it says: the last token is the question, or [EOS]."""
    to: int | None
    """The state at the next question; None at the program's end."""


def _run(task: Task, replay: Replay) -> None:
    """Run the program; its own frames are above this one."""
    task.program(ReplayWorkspace(replay))


class Machine:
    """The machine of a task's program."""

    base = _run.__code__
    """Code of the frame below the program's own frames."""

    def __init__(self, task: Task, answers: int = ANSWERS):
        self.task = task
        self._limit = answers
        self.states: list[Question] = []
        """The states that have been found, each as its question."""
        self.failures: dict[tuple[int, Answer], str] = {}
        """Errors of the program, by state and answer; it takes no step there."""
        self._numbers: dict[Question, int] = {}
        self._paths: list[tuple[Answer, ...]] = []
        self.steps: dict[tuple[int, Answer], Step | None] = {}
        """The steps that were taken, by state and answer; None where the program fails."""
        self._replayed = 0
        self._watch, self._tokens = Watch(task), Tokens(task)
        self._sites: dict[Hashable, int] = {}

    def start(self, final: str) -> Step | None:
        """Return what the program does before its first answer, if this is the prompt's last symbol."""
        return self.step(START, final)

    def step(self, state: int, answer: Answer) -> Step | None:
        """Return the step from a state by an answer; None if the program fails there. Raises Refusal."""
        key = state, answer
        if key not in self.steps:
            before = self._paths[state] if state != START else ()
            self.steps[key] = self._run((*before, answer), key)
        return self.steps[key]

    def check_constants(self) -> None:
        """Raise Refusal if anything but the program changes what it reads."""
        self._watch.compare()
        self._watch.compare_writers()

    def _run(self, path: tuple[Answer, ...], key: tuple[int, Answer]) -> Step | None:
        self._replayed += len(path)
        if self._replayed > self._limit or len(self.states) > STATES:
            raise Refusal(f"the program still comes to new control states after {len(self.states):,}")
        replay, failure = self._replay(path)
        if replay.question is not None:
            return Step(tuple(replay.actions), self._number(replay.question, path))
        if failure or not replay.answered:
            self.failures[key] = failure or "the program ended without calling answer()"
            return None
        return Step((*replay.actions, Action(EOS)), None)

    def _replay(self, path: tuple[Answer, ...]) -> tuple[Replay, str]:
        """Run the program, watched from its start or from the last answer on; return its error, if it fails."""
        final, *answers = path
        assert isinstance(final, str)
        replay, failure = Replay(self.task, self._tokens, final, answers, self), ""
        try:
            with task_code(self.task, "a replay of its program"):
                try:
                    if not answers:
                        self.begin()
                    _run(self.task, replay)
                finally:
                    self._watch.end()
        except Asked:
            pass
        except ProgramError as error:
            if isinstance(error.__cause__, Endless | RecursionError | MemoryError):
                raise Refusal(f"a replay fails where a run need not: {error}") from error
            failure = str(error)
        if replay.refused:
            raise replay.refused
        self._watch.compare()
        return replay, failure

    def _number(self, question: Question, path: tuple[Answer, ...]) -> int:
        number = self._numbers.setdefault(question, len(self.states))
        if number == len(self.states):
            self.states.append(question)
            self._paths.append(path)
        return number

    # -- what a replay reads

    def begin(self) -> None:
        """Begin to watch the code that runs."""
        self._watch.begin()

    def key(self, called: FrameType) -> Hashable:
        """Read the control state; called: the frame that the program's innermost frame calls."""
        self._watch.end()
        assert called.f_back is not None
        return key_of(open_frames(called.f_back, self.base), called, self._watch)

    def site(self, frame: FrameType) -> Hashable:
        """Read the place of a program whose innermost frame is this one, as a number."""
        places = tuple((frame.f_code, frame.f_lasti) for frame in open_frames(frame, self.base))
        return self._sites.setdefault(places, len(self._sites))


def machine(task: Task) -> Machine:
    """Return the machine of a task's program, whose states are found as they are asked for."""
    return Machine(task)

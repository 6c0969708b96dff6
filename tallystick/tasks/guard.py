"""Guard a task's own code: limit its CPU time, and make its errors name the task, the problem, file and line."""

from __future__ import annotations

import inspect
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tallystick.workspace import ProgramError

PATIENCE = 20.0
"""CPU seconds after which a program that has filled no block, or a task that has drawn no problem, is stopped."""
PACKAGE, STANDARD_LIBRARY = Path(__file__).parents[1], Path(traceback.__file__).parent


class Endless(BaseException):
    """The watchdog's alarm; not an Exception, so that no program catches it."""


class Named(Protocol):
    """The part of a task that errors name; `tasks.Task` has it."""

    @property
    def name(self) -> str:
        """Name by which the task was loaded."""
        ...

    @property
    def home(self) -> type:
        """Class whose file contains the task."""
        ...


@contextmanager
def task_code(task: Named, where: str) -> Iterator[None]:
    """Guard a block that runs the task's own code; its errors become a ProgramError of one line.

    where: description of the work, such as "the problem 1 0 1 >". A sink's StopProgram and KeyboardInterrupt pass.
    """
    try:
        with _watchdog():
            yield
    except (Exception, SystemExit, Endless) as error:
        if isinstance(error, ProgramError) and str(error).startswith(f"{task.name}: "):  # named by a guard within
            raise ProgramError(f"{error}; {where}") from error
        what = f"{_message(error)}{_location(error, task.home)}"
        raise ProgramError(f"{task.name}: {' '.join(what.split())}; {where}") from error


def _message(error: BaseException) -> str:
    if isinstance(error, Endless):
        return f"{PATIENCE:g} s of CPU time without a block of tokens: the program does not end"
    return str(error) if isinstance(error, ProgramError) else f"{type(error).__name__}: {error}"


def _location(error: BaseException, home: type) -> str:
    """Return the innermost line in the task's own file, else in any code outside this package and Python's library."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == _file(home)]
    foreign = [frame for frame in frames if not {PACKAGE, STANDARD_LIBRARY} & {*Path(frame.filename).parents}]
    for frame in own[-1:] or foreign[-1:]:
        return f" ({Path(frame.filename).name}:{frame.lineno}, in {frame.name})"
    return ""


def _file(home: type) -> str | None:
    try:
        return inspect.getsourcefile(home)
    except (TypeError, OSError):  # the class was defined in an interactive session
        return None


@contextmanager
def _watchdog() -> Iterator[None]:
    """Raise Endless in the block after PATIENCE seconds of CPU time. In the main thread alone: it is a signal.

    A block within another starts the other's time afresh when it ends.
    """
    within = signal.getitimer(signal.ITIMER_VIRTUAL)[0] > 0
    _start()
    try:
        yield
    finally:
        _start() if within else _stop()


@contextmanager
def paused() -> Iterator[None]:
    """Stop the watchdog during the block and restart it afterwards; if the block raises, it stays stopped."""
    _stop()
    yield
    _start()


def _start() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGVTALRM, _alarm)
        signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE)


def _stop() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _alarm(signum: int, frame: object) -> None:
    raise Endless

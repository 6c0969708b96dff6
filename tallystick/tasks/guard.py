"""Runs a task's own code under guard: bounded CPU time, and errors that name the task, the problem, file and line."""

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
"""CPU seconds that a program may run without filling a block, or a task without returning a problem."""
PACKAGE, STANDARD_LIBRARY = Path(__file__).parents[1], Path(traceback.__file__).parent


class _Endless(BaseException):
    """The watchdog's alarm; not an Exception, so that no program swallows it."""


class Named(Protocol):
    """What an error says of its task; `tasks.Task` is one."""

    @property
    def name(self) -> str:
        """How the task was called."""
        ...

    @property
    def home(self) -> type:
        """The class whose file it stands in."""
        ...


@contextmanager
def task_code(task: Named, where: str) -> Iterator[None]:
    """Guard a block that runs the task's own code; whatever it raises becomes a ProgramError of one line.

    where: what is being done, as "the problem 1 0 1 >". Sinks' StopProgram and KeyboardInterrupt pass.
    """
    try:
        with _watchdog():
            yield
    except (Exception, SystemExit, _Endless) as error:
        if isinstance(error, ProgramError) and str(error).startswith(f"{task.name}: "):  # named by a guard within
            raise ProgramError(f"{error}; {where}") from error
        what = f"{_message(error)}{_location(error, task.home)}"
        raise ProgramError(f"{task.name}: {' '.join(what.split())}; {where}") from error


def _message(error: BaseException) -> str:
    if isinstance(error, _Endless):
        return f"{PATIENCE:g} s of CPU time without a block of tokens: it does not end"
    return str(error) if isinstance(error, ProgramError) else f"{type(error).__name__}: {error}"


def _location(error: BaseException, home: type) -> str:
    """The innermost line of the task's own file, or else of any code that is not this package's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == _file(home)]
    foreign = [frame for frame in frames if not {PACKAGE, STANDARD_LIBRARY} & {*Path(frame.filename).parents}]
    for frame in own[-1:] or foreign[-1:]:
        return f" ({Path(frame.filename).name}:{frame.lineno}, in {frame.name})"
    return ""


def _file(home: type) -> str | None:
    try:
        return inspect.getsourcefile(home)
    except (TypeError, OSError):  # made in an interactive session
        return None


@contextmanager
def _watchdog() -> Iterator[None]:
    """Raise _Endless in the block after PATIENCE seconds of CPU time. In the main thread alone: it is a signal.

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
    """Stop the watchdog during the block, and start it afresh afterwards; a block that raises leaves it stopped."""
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
    raise _Endless

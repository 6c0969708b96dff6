"""The interface of launchers, which turn jobs into outcomes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Job:
    """A function call to be made in another process."""

    name: str
    """Name printed before the job's lines of progress and its error."""
    function: Callable[..., Any]
    """A module-level function, so that any process can import it. It is called with the arguments and, last, a function
    that takes a line of progress. A ValueError or OSError is reported as its message, other errors with a traceback."""
    arguments: tuple[Any, ...] = ()
    """Arguments of the function, which must be picklable."""


@dataclass(frozen=True)
class Outcome:
    """The end of a job."""

    job: Job
    value: Any = None
    """The return value of the function."""
    error: str | None = None
    """Error message in one line; None if the job succeeded."""


Say = Callable[[Job, str], None]
"""A callback that receives each line of progress with its job."""


class Launcher(Protocol):
    """Runs jobs in parallel: `LocalLauncher` on this machine; one for a cluster would have the same method."""

    def run(self, jobs: Sequence[Job], say: Say) -> Generator[Outcome]:
        """Yield each job's outcome as it ends.

        A job that fails or dies does not stop the others; closing the iterator stops all.
        """
        ...

"""The interface of every launcher: jobs in, outcomes out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Job:
    """A function call to be made in another process."""

    name: str
    """Stands before its lines of progress and its error."""
    function: Callable[..., Any]
    """A function of a module, so that any process can import it. It is called with the arguments and, last, a function
    that takes a line of progress; a ValueError or OSError is a mistake told in one line."""
    arguments: tuple[Any, ...] = ()
    """Picklable."""


@dataclass(frozen=True)
class Outcome:
    """The end of a job."""

    job: Job
    value: Any = None
    """The return value of the function."""
    error: str | None = None
    """One line on what went wrong; None if nothing did."""


Say = Callable[[Job, str], None]
"""Takes each line of progress with its job."""


class Launcher(Protocol):
    """Runs jobs side by side: `LocalLauncher` on this machine; a cluster's would have the same method."""

    def run(self, jobs: Sequence[Job], say: Say) -> Generator[Outcome]:
        """Yield each job's outcome once, as it ends. A job that fails or dies does not stop the others; closing the
        iterator stops all."""
        ...

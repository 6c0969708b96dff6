"""A shell for coding agents: real bash in a throw-away copy of a repository, inside a sandbox.

>>> with Shell({"hello.py": "print('hello')"}) as shell:   # doctest: +SKIP
...     shell.run("python hello.py")
Ran(output='hello\\n', returncode=0, exception='')
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

from tallystick.tools.shell import copying
from tallystick.tools.shell.limits import Limits
from tallystick.tools.shell.output import LIMIT, Output
from tallystick.tools.shell.remote import LONGEST_COMMAND, Remote
from tallystick.tools.shell.sandbox import Level, probe

__all__ = ["Level", "Limits", "Ran", "Shell", "probe"]


@dataclass(frozen=True)
class Ran:
    """The result of a command."""

    output: str
    """What it printed, on both streams in the order of printing."""
    returncode: int
    """Its return code, 128 + n if signal n ended it; -1 where `exception` says that it did not come to its end."""
    exception: str = ""
    """Why the command was ended or not run, as "timeout after 30 s"; "" if it came to its end."""

    @property
    def timed_out(self) -> bool:
        """Whether it was ended for taking too long."""
        return self.exception.startswith("timeout")


class Shell:
    """Runs commands by bash, each in a fresh process, in a copy of a repository that is removed at the end.

    `repo`: a folder, or a mapping of file names to text. Commands share the files of the copy and nothing else: when
    one ends, all processes that it started are ended. Raises ValueError if the sandbox cannot be had.
    """

    def __init__(
        self,
        repo: str | os.PathLike[str] | Mapping[str, str],
        sandbox: str = "auto",
        timeout: float = 30.0,
        output_limit: int = LIMIT,
        limits: Limits | None = None,
    ):
        if not timeout > 0 or output_limit < 1:
            raise ValueError(f"timeout and output_limit must be positive, got {timeout} and {output_limit}")
        self.level: Level = probe(sandbox)
        self.limits = limits or Limits()
        self.output_limit = output_limit
        self._remote = Remote(self.level.name, timeout, self.limits)
        self.root: str = self._remote.root
        """The folder that commands start in, as they see it."""
        self.copy = f"{self._remote.scratch}/repo"
        """The copy, as we see it."""
        try:
            self.left_out: list[str] = copying.copy(repo, self.copy)
            """Names in the repository that were not copied: sockets, pipes, devices, and links that lead out of it."""
            self._remote.give_copy()
        except BaseException:
            self.close()
            raise

    def run(self, command: str) -> Ran:
        """Run a command to its end, or until it has to be ended."""
        data = _encoded(command)
        if not data or len(data) > LONGEST_COMMAND:
            return Ran("", -1, f"not a command: it is text without NUL of 1 to {LONGEST_COMMAND} bytes")
        output = Output(self.output_limit)
        try:
            returncode, exception = self._remote.run(data, output)
        except BaseException:  # Ctrl-C, too: the command still runs
            self.close()
            raise
        return Ran(output.text(), returncode, exception)

    def files(self) -> dict[str, str]:
        """Read the regular files of the copy: names, in order, to text; bytes that are not UTF-8 become surrogates.

        Raises OSError if they are too many bytes to hold, or nested too deep.
        """
        return copying.read(self.copy, self.limits.disk)

    def close(self) -> None:
        """Remove the copy; may be called again."""
        self._remote.close()

    def __enter__(self) -> Shell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _encoded(command: str) -> bytes:
    """Return the bytes of a command, b"" if bash could not be given them."""
    try:
        data = command.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b""
    return b"" if b"\0" in data else data

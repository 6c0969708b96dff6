"""The shell tool: commands that an agent gives, and what they print."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    """A command that was run."""

    output: str
    """Standard output and error, as they came."""
    returncode: int
    """The exit status of the last command."""
    exception: str = ""
    """Why there is no exit status of its own, as for a time-out; else empty."""

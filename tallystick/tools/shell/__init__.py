"""Bash in a throw-away copy of a folder."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    """What a command line left."""

    output: str
    """What it printed on stdout and stderr, in order."""
    returncode: int
    exception: str = ""

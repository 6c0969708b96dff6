"""Read the small files of a run folder, and say what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tallystick.storage import parse_json


class RunError(ValueError):
    """A run folder that is missing, foreign, damaged or in use."""


def read_text(file: Path) -> str:
    """Read a file of the run folder. Raises RunError if it is missing or damaged."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RunError(f"{file} is missing: the run folder is damaged") from error
    except UnicodeDecodeError as error:
        raise RunError(f"{file} is damaged: {error}") from error


def read_json(file: Path) -> Any:
    try:
        return parse_json(read_text(file))
    except RunError:
        raise
    except ValueError as error:
        raise RunError(f"{file} is damaged: it is not JSON ({error})") from error

"""Load a user's own Python file: a task or a model."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType


def load(path: str | Path) -> ModuleType:
    """Execute a Python file anew and return its module; the file can import its neighbours.

    Raises ValueError, naming the error and its line, if the file is missing or fails to run.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no file {path}")
    spec = importlib.util.spec_from_file_location(f"_user_{path.stem}_{abs(hash(path.resolve()))}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and inspect look their module up there
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # at the end: a neighbour must not hide a library
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        message = " ".join(str(error).split())
        place = _line_of(path, error)
        raise ValueError(f"{path} does not run: {type(error).__name__}: {message}{place}") from error
    finally:
        sys.dont_write_bytecode = bytecode
    return module


def _line_of(path: Path, error: BaseException) -> str:
    """Return ", line N" for the last line of the file that was executed, or "" if none was."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""

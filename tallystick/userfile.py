"""Loads a user's own Python file: a task or a model."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def load(path: str | Path) -> ModuleType:
    """The module in `path`, executed afresh. Raises ValueError, in one line, if it is missing or does not run."""
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
        sys.path.append(folder)  # behind everything else: a neighbour must not hide a library
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        message = " ".join(str(error).split())
        raise ValueError(f"{path} does not run: {type(error).__name__}: {message}") from error
    finally:
        sys.dont_write_bytecode = bytecode
    return module

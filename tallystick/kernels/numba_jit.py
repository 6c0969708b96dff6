"""Compile loops with numba, which stores the compiled code; and say once where that does not work.

Numba compiles a function when it is first called, and stores the result beside the function's file, in the user's cache
folder or in NUMBA_CACHE_DIR. If none of these is writable, every process compiles anew.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

COMPILED: list[Any] = []
"""All functions that numba compiles."""


def load(module: str) -> ModuleType | None:
    """Import a module of compiled loops; return None without numba, or, with one warning, if numba does not work."""
    if find_spec("numba") is None:
        return None
    try:
        return import_module(module)
    except Exception as error:  # numba refuses versions of Python and numpy that it does not know
        message = " ".join(str(error).split())
        print(f"tallystick: numba is installed but does not work ({message}); continuing without it.", file=sys.stderr)
        return None


def jit(function: Any, **options: Any) -> Any:
    """Compile a function when it is first called; options: those of `numba.njit`."""
    import numba

    COMPILED.append(numba.njit(function, cache=_can_cache(), nogil=True, **options))
    return COMPILED[-1]


@cache
def _can_cache() -> bool:
    """Return whether numba finds a folder to store compiled code in; if not, warn on stderr."""
    import numba

    try:
        numba.njit(cache=True)(_can_cache.__wrapped__)
    except RuntimeError:
        _say("finds no writable folder for compiled code, and compiles anew in every process.")
        return False
    return True


def _say(problem: str) -> None:
    advice = "That takes about 10 s; to avoid it, set NUMBA_CACHE_DIR to an empty, writable folder."
    print(f"tallystick: numba {problem} {advice}", file=sys.stderr)


def _is_compiled(function: Any) -> bool:
    """Return whether there is code of a function, in this process or stored, for whatever types of arguments."""
    if getattr(function, "signatures", True):
        return True
    file = getattr(getattr(function, "_cache", None), "_cache_file", None)
    return Path(getattr(file, "_index_path", "")).is_file()


@cache
def _announce() -> None:
    """Say on a terminal, once, why nothing happens for a while."""
    if sys.stderr.isatty():
        print("compiling loops for this machine, once; that takes up to half a minute", file=sys.stderr)


def run(function: Any, *arguments: Any) -> Any:
    """Call a compiled function; if numba cannot store or load its code, compile it without storing."""
    if not _is_compiled(function):
        _announce()
    try:
        return function(*arguments)
    except Exception as error:  # a full disk, or a damaged file, which may raise anything
        _say(f"cannot store compiled code ({type(error).__name__}: {error}), and compiles anew in every process.")
        for compiled in COMPILED:
            compiled._cache.disable()
        return function(*arguments)

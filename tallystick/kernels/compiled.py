"""Compile functions with numba, which is optional: import this module only where numba is known to be installed.

Numba compiles a function when it is first called, and stores the result beside its file, in the user's cache folder or
in NUMBA_CACHE_DIR. If none of these is writable, every process compiles anew.
"""

from __future__ import annotations

import sys
from typing import Any

import numba

OPTIONS = {"fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy", "nogil": True}
"""Options of numba, without the fastmath options "nnan" and "ninf": NaN and infinity must be preserved."""


def _can_cache() -> bool:
    """Return whether numba finds a folder to store compiled code in; if not, warn on stderr."""
    try:
        numba.njit(cache=True)(_can_cache)
    except RuntimeError:
        _say("finds no writable folder for compiled code, and compiles anew in every process.")
        return False
    return True


def _say(problem: str) -> None:
    advice = "That takes about 10 s; to avoid it, set NUMBA_CACHE_DIR to an empty, writable folder."
    print(f"tallystick: numba {problem} {advice}", file=sys.stderr)


CACHE = _can_cache()
COMPILED: list[Any] = []
"""All functions that numba compiles."""


def jit(function: Any) -> Any:
    """Compile a function with the options above."""
    return _kept(numba.njit(function, cache=CACHE, **OPTIONS))


def jit_in_order(function: Any) -> Any:
    """Compile a function whose sums are taken in the order in which they are written."""
    return _kept(numba.njit(function, cache=CACHE, **{**OPTIONS, "fastmath": {"contract", "nsz"}}))


def _kept(compiled: Any) -> Any:
    COMPILED.append(compiled)
    return compiled


def run(function: Any, *arguments: Any) -> Any:
    """Call a compiled function; if numba cannot store or load its code, compile it without storing."""
    try:
        return function(*arguments)
    except Exception as error:  # a full disk, or a damaged file, which may raise anything
        _say(f"cannot store compiled code ({type(error).__name__}: {error}), and compiles anew in every process.")
        for compiled in COMPILED:
            compiled._cache.disable()
        return function(*arguments)

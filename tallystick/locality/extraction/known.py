"""Known code and objects: what keeps no state that a program could read later."""

from __future__ import annotations

import builtins
import dis
import inspect
import math
import operator
import re
import string
from collections.abc import Iterator
from pathlib import Path
from types import BuiltinFunctionType, CellType, CodeType, FrameType, FunctionType
from typing import Any

from tallystick.locality.extraction.states import ITERATORS
from tallystick.tasks import Task
from tallystick.tasks.annotate.control import PLAIN

TRUSTED = tuple(f"tallystick.{name}" for name in ("locality.extraction", "tasks.annotate", "tasks.base", "tasks.guard"))
"""Modules of this package that run within a program's steps; they keep nothing that a program could read."""
LIBRARY = f"{Path(inspect.__file__).parent}/"
"""Folder of Python's library."""
PURE_MODULES = (builtins, math, operator, string)
PURE_FUNCTIONS = frozenset(
    ("abs", "all", "any", "ascii", "bin", "chr", "divmod", "format", "hex", "iter", "len", "max", "min", "next")
    + ("oct", "ord", "pow", "repr", "round", "sorted", "sum")
)
"""Builtin functions that keep nothing."""
PURE_TYPES = (
    *(str, int, float, bool, bytes, list, tuple, dict, set, frozenset, range, slice),
    *(enumerate, zip, reversed, map, filter),
)
HOLDERS = (*PURE_TYPES, *ITERATORS, *(type(view) for view in ({}.keys(), {}.values(), {}.items())))
"""Types whose methods, written in C, keep nothing but what is in the object."""
CONTAINERS = (list, dict, set, CellType)
MUTATORS = frozenset(
    ("append", "extend", "insert", "pop", "remove", "clear", "update", "setdefault", "popitem")
    + ("add", "discard", "sort", "reverse")
)
"""Methods that change an object in place."""
SETTING = re.compile("(STORE|DELETE)_(GLOBAL|ATTR|NAME)|IMPORT_NAME")
"""Instructions that change what outlives a step, or import what may."""
BY_NAME = frozenset(("format", "format_map", "Formatter", "attrgetter", "methodcaller"))
"""Names of what takes the names of attributes in strings."""
FIXED = (None, True, False, ...)
"""Values that `is` may compare with: whether two others are one object may differ from run to run."""


def _is_library(file: str) -> bool:
    """Return whether a file is of Python's library, by its path: a user's may have the name of one."""
    return file.startswith("<frozen ") or (file.startswith(LIBRARY) and "site-packages" not in file)


def is_trusted(frame: FrameType | None) -> bool:
    """Return whether a frame is of a trusted module, or of Python's library as called by one."""
    while frame is not None:
        names = frame.f_globals
        module = names.get("__name__", "")
        if module.startswith(TRUSTED):
            return True
        if not _is_library(frame.f_code.co_filename) and not ("__file__" not in names and module[:11] == "namedtuple_"):
            return False
        frame = frame.f_back
    return False


def contents(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [part for pair in value.items() for part in pair]
    if isinstance(value, CellType):
        try:
            return [value.cell_contents]
        except ValueError:  # it is empty
            return []
    return list(value)


def class_parts(cls: type) -> list[Any]:
    """List what a class holds: its methods and attributes, and its bases."""
    held = {name: value for name, value in vars(cls).items() if name != "_abc_impl"}
    functions = [value for value in held.values() if isinstance(value, FunctionType | property)]
    rest = [v for name, v in held.items() if not name.startswith("__") and not inspect.isdatadescriptor(v)]
    return [*functions, *rest, *(base for base in cls.__bases__ if base not in (object, Task))]


class _Plain:
    """A class whose objects are made of their `__dict__` alone."""


def is_plain_instance(kind: type) -> bool:
    """Return whether objects of a class are made of their `__dict__` alone."""
    return kind.__basicsize__ == _Plain.__basicsize__ and all("__slots__" not in vars(base) for base in kind.__mro__)


def is_exception(value: type) -> bool:
    return issubclass(value, BaseException) and value.__module__ == "builtins"


def is_pure_builtin(value: Any) -> bool:
    if isinstance(value, type):
        return value in PURE_TYPES or is_exception(value)
    if isinstance(value, BuiltinFunctionType):
        owner: Any = value.__self__
        return value.__name__ in PURE_FUNCTIONS if owner is builtins else owner in PURE_MODULES or owner in PURE_TYPES
    return type(value) in PLAIN or value in FIXED


def stores_items(code: CodeType) -> bool:
    return any("SUBSCR" in i.opname and not i.opname.startswith("BINARY") for i in dis.get_instructions(code))


def nested(code: CodeType) -> Iterator[CodeType]:
    """Yield a code and those of the functions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested(constant)

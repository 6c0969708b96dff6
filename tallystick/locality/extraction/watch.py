"""Watch the code that a program runs, for state that no control state shows.

Such state hides in globals, attributes, defaults of arguments, and inside of functions written in C. So all code that
runs is looked at once: what it names must be constant, it may set no attribute and no global, and functions in C must
be known to keep nothing. Constants that could be changed in place, such as a list, are compared after each step.
"""

from __future__ import annotations

import builtins
import dis
import inspect
import math
import operator
import re
import string
import sys
from collections.abc import Hashable, Iterator
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FrameType,
    FunctionType,
    MappingProxyType,
    MethodType,
    ModuleType,
)
from typing import Any

from tallystick.locality.extraction.refusal import Refusal
from tallystick.locality.extraction.states import ITERATORS
from tallystick.tasks import Task
from tallystick.tasks.annotate.annotated_task import AnnotatedTask
from tallystick.tasks.annotate.control import PLAIN

TRUSTED = tuple(f"tallystick.{name}" for name in ("locality.extraction", "tasks.annotate", "tasks.base", "tasks.guard"))
"""Modules of this package that run within a program's steps; they keep nothing that a program could read."""
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
FIXED = (None, True, False, ...)
"""Values that `is` may compare with: whether two others are one object may differ from run to run."""


def own_task(task: Task) -> Task:
    """Return the task that a program with notes was made from; any other task is its own."""
    return task.task if isinstance(task, AnnotatedTask) else task


class Watch:
    """The constants that a program reads, and the code that it has run."""

    def __init__(self, task: Task):
        self._task = own_task(task)
        self._names: dict[int, tuple[Hashable, Any]] = {id(task): ("task", task), id(self._task): ("self", self._task)}
        self._saved: list[tuple[Any, list[Any], str]] = []
        self._direct: set[int] = set()  # ids of constants that the program itself names, not within others
        self._codes: set[CodeType] = set()
        self.named: set[str] = set()
        """All names of globals and attributes in the code that was run."""
        self._globals: dict[str, dict[str, Any]] = {}
        self._add(task.program, "the program")

    def name(self, value: Any) -> Hashable:
        """Return the name of a constant; None for any other object."""
        entry = self._names.get(id(value))
        if entry is not None:
            return entry[0]
        if type(value) is ModuleType and value in PURE_MODULES:
            return "module", value.__name__
        if isinstance(value, type) and (value in PURE_TYPES or _is_exception(value)):
            return "type", value.__name__
        own = type(value).__module__.startswith(TRUSTED)
        return getattr(value, "control_state", None) if own else None

    def begin(self) -> None:
        """Look at all code that runs from here on."""
        sys.setprofile(self._profile)

    def end(self) -> None:
        """Stop looking."""
        sys.setprofile(None)

    def compare(self) -> None:
        """Raise Refusal if a constant has been changed."""
        for value, saved, what in self._saved:
            now = _contents(value)
            if len(now) != len(saved) or not all(map(operator.is_, now, saved)):
                raise Refusal(f"{what} changes while the program runs")

    def compare_writers(self) -> None:
        """Raise Refusal if the task's other methods set an attribute or a global that the program names.

        `answer`, for one, runs while the program does.
        """
        for function in self._functions():
            for code in _nested(function.__code__):
                if code in self._codes or code.co_name == "__init__":
                    continue
                for instruction in dis.get_instructions(code):
                    if SETTING.match(instruction.opname) and instruction.argval in self.named:
                        raise Refusal(f"{code.co_name} sets {instruction.argval}, which the program reads")
                changed = self._changeable & {*code.co_names}
                if changed and (MUTATORS & {*code.co_names} or _stores_items(code)):
                    raise Refusal(f"{code.co_name} may change {min(changed)}, which the program reads")

    @property
    def _changeable(self) -> set[str]:
        """Names of the constants that can be changed in place."""
        return {what.rpartition(".")[2] for value, _, what in self._saved if id(value) in self._direct}

    def _functions(self) -> Iterator[FunctionType]:
        """Yield the functions of the task's classes and of the modules whose code was run."""
        classes = [cls for cls in type(self._task).__mro__ if cls not in (Task, object)]
        modules = [value for names in self._globals.values() for value in names.values()]
        own = [value for value in modules if getattr(value, "__module__", None) in self._globals]
        classes += [value for value in own if isinstance(value, type)]
        members = [getattr(member, "__func__", member) for cls in classes for member in vars(cls).values()]
        members = [getattr(member, "fget", member) for member in members]
        yield from {id(f): f for f in (*own, *members) if isinstance(f, FunctionType)}.values()

    # -- code

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            if frame.f_code not in self._codes and not _is_trusted(frame):
                self._look(frame.f_code, frame.f_globals)
        elif event == "c_call" and not _is_trusted(frame):
            self._look_at_c(argument)

    def _look(self, code: CodeType, names: dict[str, Any]) -> None:
        self._codes.add(code)
        self._globals[names["__name__"]] = names
        for function in self._made_of(code):
            self._add((function.__defaults__, function.__kwdefaults__, vars(function)), f"{code.co_name}'s defaults")
        before = None
        for instruction in dis.get_instructions(code):
            self._look_at(instruction, before, code, names)
            before = instruction

    def _made_of(self, code: CodeType) -> list[FunctionType]:
        import gc  # which knows the function of a code

        return [f for f in gc.get_referrers(code) if isinstance(f, FunctionType) and f.__code__ is code]

    def _look_at(
        self, instruction: dis.Instruction, before: dis.Instruction | None, code: CodeType, names: dict[str, Any]
    ) -> None:
        kind, name = instruction.opname, instruction.argval
        if SETTING.match(kind):
            raise Refusal(f"{code.co_name} {'imports' if kind == 'IMPORT_NAME' else 'sets'} {name}")
        if kind == "IS_OP" and not (before and before.opname == "LOAD_CONST" and before.argval in FIXED):
            raise Refusal(f"{code.co_name} compares objects by `is`")
        if kind in ("LOAD_GLOBAL", "LOAD_NAME"):
            self.named.add(name)
            if name in names:
                self._direct.add(id(names[name]))
                self._add(names[name], name)
            elif not hasattr(builtins, name):
                pass  # a NameError
            elif not _is_pure_builtin(getattr(builtins, name)):
                raise Refusal(f"{code.co_name} calls {name}")
        elif kind.startswith(("LOAD_ATTR", "LOAD_METHOD")):
            self._look_at_attribute(name, code)

    def _look_at_attribute(self, name: str, code: CodeType) -> None:
        if name.startswith("__"):
            raise Refusal(f"{code.co_name} reads {name}")
        value = inspect.getattr_static(self._task, name, None)
        if value is not None or not any(hasattr(kind, name) for kind in PURE_TYPES):
            self.named.add(name)
        if not isinstance(value, property):
            self._direct.add(id(value))
            self._add(value, f"self.{name}")

    def _look_at_c(self, function: Any) -> None:
        owner = getattr(function, "__self__", None)
        if type(owner) is ModuleType:
            if owner in PURE_MODULES and (owner is not builtins or function.__name__ in PURE_FUNCTIONS):
                return
        elif owner is None or type(owner) in HOLDERS or owner in PURE_TYPES or type(owner).__module__ == "builtins":
            if type(owner) is not type or owner in PURE_TYPES:
                return
        elif isinstance(owner, re.Pattern | re.Match):
            return
        raise Refusal(f"the program calls {getattr(function, '__qualname__', function)}, which may keep something")

    # -- constants

    def _add(self, value: Any, what: str) -> None:
        """Note a constant and all that it holds. Raises Refusal for an object that may keep something unseen."""
        kind = type(value)
        if kind in PLAIN or id(value) in self._names or value is None:
            return
        parts = self._parts(value, kind, what)
        self._names[id(value)] = ("constant", len(self._names)), value
        if kind in CONTAINERS:
            self._saved.append((value, _contents(value), what))
        for part in parts:
            self._add(part, what)

    def _parts(self, value: Any, kind: type, what: str) -> list[Any]:
        if kind in (list, tuple, set, frozenset):
            return list(value)
        if kind in (dict, MappingProxyType):
            return [*value.keys(), *value.values()]
        if kind is MethodType:
            return [value.__self__, value.__func__]
        if kind is FunctionType:
            return [*(value.__closure__ or ()), value.__defaults__, value.__kwdefaults__, vars(value)]
        if kind is CellType:
            return _contents(value)
        if kind in (staticmethod, classmethod):
            return [value.__func__]
        if kind is property:
            return [value.fget]
        return self._other_parts(value, kind, what)

    def _other_parts(self, value: Any, kind: type, what: str) -> list[Any]:
        if isinstance(value, type):
            own = (
                value in PURE_TYPES or _is_exception(value) or value.__module__.split(".")[0] in ("builtins", "typing")
            )
            return [] if own else _class_parts(value)
        if kind is ModuleType and value in PURE_MODULES:
            return []
        if isinstance(value, BuiltinFunctionType) and _is_pure_builtin(value):
            return []
        if isinstance(value, re.Pattern | range) or kind.__module__.startswith(("typing", TRUSTED[0])):
            return []
        if isinstance(value, Task) and value is not self._task:
            raise Refusal(f"{what} is another task")
        if isinstance(value, tuple):  # a NamedTuple
            return [kind, *value]
        if _is_plain_instance(kind):
            return [kind, vars(value)]
        raise Refusal(f"{what} is a {kind.__name__}, which may keep something")


def _is_trusted(frame: FrameType | None) -> bool:
    """Return whether a frame is of a trusted module, or of Python's library as called by one."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(TRUSTED):
            return True
        if module.split(".")[0] not in sys.stdlib_module_names and not module.startswith("namedtuple_"):
            return False
        frame = frame.f_back
    return False


def _contents(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [part for pair in value.items() for part in pair]
    if isinstance(value, CellType):
        try:
            return [value.cell_contents]
        except ValueError:  # it is empty
            return []
    return list(value)


def _class_parts(cls: type) -> list[Any]:
    """List what a class holds: its methods and attributes, and its bases."""
    held = {name: value for name, value in vars(cls).items() if name != "_abc_impl"}
    functions = [value for value in held.values() if isinstance(value, FunctionType | property)]
    rest = [v for name, v in held.items() if not name.startswith("__") and not inspect.isdatadescriptor(v)]
    return [*functions, *rest, *(base for base in cls.__bases__ if base not in (object, Task))]


class _Plain:
    """A class whose objects are made of their `__dict__` alone."""


def _is_plain_instance(kind: type) -> bool:
    """Return whether objects of a class are made of their `__dict__` alone."""
    return kind.__basicsize__ == _Plain.__basicsize__ and all("__slots__" not in vars(base) for base in kind.__mro__)


def _is_exception(value: type) -> bool:
    return issubclass(value, BaseException) and value.__module__ == "builtins"


def _is_pure_builtin(value: Any) -> bool:
    if isinstance(value, type):
        return value in PURE_TYPES or _is_exception(value)
    if isinstance(value, BuiltinFunctionType):
        owner: Any = value.__self__
        return value.__name__ in PURE_FUNCTIONS if owner is builtins else owner in PURE_MODULES or owner in PURE_TYPES
    return type(value) in PLAIN or value in FIXED


def _stores_items(code: CodeType) -> bool:
    return any("SUBSCR" in i.opname and not i.opname.startswith("BINARY") for i in dis.get_instructions(code))


def _nested(code: CodeType) -> Iterator[CodeType]:
    """Yield a code and those of the functions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)

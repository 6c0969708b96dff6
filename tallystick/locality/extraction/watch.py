"""Watch the code that a program runs, for state that no control state shows.

Such state hides in globals, attributes, defaults of arguments, and inside of functions written in C. So all code that
runs is looked at once: what it names must be constant, it may set no attribute and no global, and functions in C must
be known to keep nothing. Constants that could be changed in place, such as a list, are compared after each step.
"""

from __future__ import annotations

import builtins
import dis
import gc
import inspect
import operator
import re
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

from tallystick.locality.extraction.known import (
    BY_NAME,
    CONTAINERS,
    FIXED,
    HOLDERS,
    MUTATORS,
    PURE_FUNCTIONS,
    PURE_MODULES,
    PURE_TYPES,
    SETTING,
    TRUSTED,
    class_parts,
    contents,
    is_exception,
    is_plain_instance,
    is_pure_builtin,
    is_trusted,
    nested,
    stores_items,
)
from tallystick.locality.extraction.refusal import Refusal
from tallystick.tasks import Task
from tallystick.tasks.annotate.annotated_task import AnnotatedTask
from tallystick.tasks.annotate.control import PLAIN


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
        self._refused: Refusal | None = None
        self._codes: dict[int, CodeType] = {}  # by id: codes of two modules may be equal
        self.named: set[str] = set()
        """All names of globals and attributes in the code that was run."""
        self._globals: dict[str, dict[str, Any]] = {}
        self._compared = 0, 0, 0
        self._collects = False
        self._add(task.program, "the program")

    def name(self, value: Any) -> Hashable:
        """Return the name of a constant; None for any other object."""
        entry = self._names.get(id(value))
        if entry is not None:
            return entry[0]
        if type(value) is ModuleType and value in PURE_MODULES:
            return "module", value.__name__
        if isinstance(value, type) and (value in PURE_TYPES or is_exception(value)):
            return "type", value.__name__
        own = type(value).__module__.startswith(TRUSTED)
        return getattr(value, "control_state", None) if own else None

    def begin(self) -> None:
        """Look at all code that runs from here on; none but the program's, so no callbacks of garbage collections."""
        self._collects = self._collects or gc.isenabled()
        gc.disable()
        sys.setprofile(self._profile)

    def end(self) -> None:
        """Stop looking."""
        sys.setprofile(None)
        if self._collects:
            gc.enable()
        self._collects = False

    def compare(self) -> None:
        """Raise Refusal if a constant has been changed, or if anything was refused before."""
        if self._refused:
            raise self._refused
        for value, saved, what in self._saved:
            now = contents(value)
            if len(now) != len(saved) or not all(map(operator.is_, now, saved)):
                raise Refusal(f"{what} changes while the program runs")

    def compare_writers(self) -> None:
        """Raise Refusal if the task's other methods set an attribute or a global that the program names.

        `answer`, for one, runs while the program does.
        """
        looked_at = len(self._codes), len(self.named), len(self._saved)
        if looked_at == self._compared:
            return
        for function in self._functions():
            for code in nested(function.__code__):
                if id(code) in self._codes or code.co_name == "__init__":
                    continue
                for instruction in dis.get_instructions(code):
                    if SETTING.match(instruction.opname) and instruction.argval in self.named:
                        raise Refusal(f"{code.co_name} sets {instruction.argval}, which the program reads")
                changed = self._changeable & {*code.co_names}
                if changed and (MUTATORS & {*code.co_names} or stores_items(code)):
                    raise Refusal(f"{code.co_name} may change {min(changed)}, which the program reads")
        self._compared = looked_at

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
        members += [part for member in members if isinstance(member, property) for part in (member.fget, member.fset)]
        yield from {id(f): f for f in (*own, *members) if isinstance(f, FunctionType)}.values()

    # -- code

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        try:
            if event == "call":
                if id(frame.f_code) not in self._codes and not is_trusted(frame):
                    self._look(frame.f_code, frame.f_globals)
            elif event == "c_call" and not is_trusted(frame):
                self._look_at_c(argument)
        except Refusal as refusal:
            self._refused = refusal  # the program might catch it
            raise

    def _look(self, code: CodeType, names: dict[str, Any]) -> None:
        self._codes[id(code)] = code
        self._globals[names["__name__"]] = names
        for function in self._made_of(code):
            self._add((function.__defaults__, function.__kwdefaults__, vars(function)), f"{code.co_name}'s defaults")
        before = None
        for instruction in dis.get_instructions(code):
            self._look_at(instruction, before, code, names)
            before = instruction

    def _made_of(self, code: CodeType) -> list[FunctionType]:
        """Return the functions that have a code, which only the garbage collector knows."""
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
            elif not is_pure_builtin(getattr(builtins, name)):
                raise Refusal(f"{code.co_name} calls {name}")
        elif kind.startswith(("LOAD_ATTR", "LOAD_METHOD")):
            self._look_at_attribute(name, code)
        elif kind == "MATCH_CLASS":
            if instruction.arg or before is None or not isinstance(before.argval, tuple):
                raise Refusal(f"{code.co_name} matches attributes by position")
            for attribute in before.argval:
                self._look_at_attribute(attribute, code)

    def _look_at_attribute(self, name: str, code: CodeType) -> None:
        if name.startswith("__"):
            raise Refusal(f"{code.co_name} reads {name}")
        if name in BY_NAME:
            raise Refusal(f"{code.co_name} calls {name}, which may read any attribute")
        self.named.add(name)
        value = inspect.getattr_static(self._task, name, None)
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
        if kind is type and value.__name__ in BY_NAME:
            raise Refusal(f"{what} may read any attribute")
        parts = self._parts(value, kind, what)
        self._names[id(value)] = ("constant", len(self._names)), value
        if kind in CONTAINERS:
            self._saved.append((value, contents(value), what))
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
            return contents(value)
        if kind in (staticmethod, classmethod):
            return [value.__func__]
        if kind is property:
            return [value.fget]
        return self._other_parts(value, kind, what)

    def _other_parts(self, value: Any, kind: type, what: str) -> list[Any]:
        if isinstance(value, type):
            own = value in PURE_TYPES or is_exception(value) or value.__module__.split(".")[0] in ("builtins", "typing")
            return [] if own else class_parts(value)
        if kind is ModuleType and value in PURE_MODULES:
            return []
        if isinstance(value, BuiltinFunctionType) and is_pure_builtin(value):
            return []
        if isinstance(value, re.Pattern | range) or kind.__module__ == "typing" or kind.__module__.startswith(TRUSTED):
            return []
        if isinstance(value, Task) and value is not self._task:
            raise Refusal(f"{what} is another task")
        if isinstance(value, tuple):  # a NamedTuple
            return [kind, *value]
        if is_plain_instance(kind):
            return [kind, vars(value)]
        raise Refusal(f"{what} is a {kind.__name__}, which may keep something")

"""An interpreter for the part of Python that codefix's codebases are written in.

It knows imports of functions, function definitions, constants, and calls with names and constants as arguments, and
prints what the real interpreter prints. It executes no code on the host, so it is safe for files that a model wrote; a
run that is too long is refused. What differs between Python versions (caret lines, suggestions, messages of syntax
errors) is printed as UNCERTAIN.
"""

from __future__ import annotations

import builtins
import keyword
import re
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from tallystick.tools.shell.results import UNCERTAIN, Result, Unknown

MAX_CALLS = 200_000
MAX_DEPTH = 120
"""Nested calls or imports; each takes a few Python frames here, of which 1,000 are allowed."""

_IMPORT = re.compile(r"from (\w+) import (\w+)")
_DEF = re.compile(r"def (\w+)\(([^()]*)\):")
_ASSIGN = re.compile(r"    (\w+) = (0|[1-9][0-9]*)")
_CALL = re.compile(r"    (\w+)\(([^()]*)\)")
_GUARD = 'if __name__ == "__main__":'
_VALUE = re.compile(r'"(\w*)"|(0|[1-9][0-9]*)|([A-Za-z]\w*)')
_BUILTINS = {*dir(builtins)} - {"print"}

Value = int | str


class Name(NamedTuple):
    """A variable used as an argument."""

    name: str


class Assign(NamedTuple):
    """`name = value`"""

    name: str
    value: int


PASS = Assign("", 0)
"""`pass`, as an assignment to no name that a program can have."""


class Call(NamedTuple):
    """`name(arguments, keyword=argument)`"""

    name: str
    arguments: tuple[Value | Name, ...]
    keywords: tuple[tuple[str, Value | Name], ...]


class Import(NamedTuple):
    """`from module import name`"""

    module: str
    name: str


class Function(NamedTuple):
    """A function definition."""

    name: str
    parameters: tuple[str, ...]
    defaults: Mapping[str, int]
    body: tuple[tuple[int, Assign | Call], ...]
    local: frozenset[str]


class Source(NamedTuple):
    """A parsed file: its top level's statements with their line numbers, or the line of a syntax error."""

    statements: tuple[tuple[int, Import | Function | Call], ...]
    syntax_error: int = 0


class Bound(NamedTuple):
    """A function as a value: with the names of its module, and its file's path."""

    function: Function
    names: dict[str, Bound]
    path: str


class _SyntaxError(Exception):
    """A definition whose parameters are in an order that Python refuses."""


class _Raised(Exception):
    """An exception of the program; frames: (file, line, function), innermost first."""

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message
        self.frames: list[tuple[str, int, str]] = []


def run(files: Mapping[str, str], file: str, root: str) -> Result:
    """Run `python file` in the folder `root` that holds `files`."""
    if file not in files:
        raise Unknown(f"python {file}: no such file")
    program = _Program(files, root)
    try:
        program.load(file, main=True)
    except _Raised as error:
        return Result("".join(program.printed), program.traceback(error), 1)
    return Result("".join(program.printed))


class _Program:
    """One run: its modules, and its output."""

    def __init__(self, files: Mapping[str, str], root: str):
        self.files, self.root = files, root
        self.modules: dict[str, dict[str, Bound] | None] = {}
        self.printed: list[str] = []
        self.calls = self.depth = 0

    def load(self, file: str, main: bool = False) -> dict[str, Bound]:
        """Execute a file's top level."""
        source = parse(self.files[file])
        names: dict[str, Bound] = {}
        if source.syntax_error:
            error = _Raised(f"SyntaxError: {UNCERTAIN}")
            error.frames.append((file, source.syntax_error, ""))
            raise error
        self._enter()
        line = 0
        try:
            for line, statement in source.statements:  # noqa: B007 (the frame of an exception needs it)
                if isinstance(statement, Import):
                    names[statement.name] = self._imported(statement)
                elif isinstance(statement, Function):
                    names[statement.name] = Bound(statement, names, file)
                elif main:
                    self._call(statement, {}, frozenset(), names)
        except _Raised as error:
            error.frames.append((file, line, "<module>"))
            raise
        self.depth -= 1
        return names

    def traceback(self, error: _Raised) -> str:
        """Format the traceback. Python prints no header for a syntax error in the file that was run."""
        frames = error.frames[::-1]
        text = [] if not frames[0][2] else ["Traceback (most recent call last):\n"]
        for file, line, function in frames:
            place = f", in {function}" if function else ""
            shown = self.files[file].split("\n")[line - 1].strip()
            text.append(f'  File "{self.root}/{file}", line {line}{place}\n    {shown}\n    {UNCERTAIN}\n')
        return "".join(text) + error.message + "\n"

    def _enter(self) -> None:
        self.depth += 1
        self.calls += 1
        if self.depth > MAX_DEPTH or self.calls > MAX_CALLS:
            raise Unknown("a run with too many calls")

    def _imported(self, statement: Import) -> Bound:
        module, name = statement
        if module not in self.modules:
            file = f"{module}.py"
            if file not in self.files:
                if module in sys.stdlib_module_names:
                    raise Unknown(f"the module {module}")
                raise _Raised(f"ModuleNotFoundError: No module named '{module}'{UNCERTAIN}")
            self.modules[module] = None
            self.modules[module] = self.load(file)
        names = self.modules[module]
        if names is None:
            raise Unknown("a circular import")
        if name not in names:
            where = f"({self.root}/{module}.py)"
            raise _Raised(f"ImportError: cannot import name '{name}' from '{module}' {where}{UNCERTAIN}")
        return names[name]

    def _call(self, call: Call, known: dict[str, Value], local: frozenset[str], names: dict[str, Bound]) -> None:
        target = names.get(call.name)
        if call.name in local:
            raise Unknown("a call of a number")
        if target is None and call.name != "print":
            raise _Raised(f"NameError: name '{call.name}' is not defined{UNCERTAIN}")
        values = []
        for argument in call.arguments:
            if isinstance(argument, Name):
                value = known.get(argument.name)
                values.append(self._missing(argument.name, local, names) if value is None else value)
            else:
                values.append(argument)
        if target is None:
            if call.keywords:
                raise Unknown("print with options")
            self.printed.append(" ".join(map(str, values)) + "\n")
            return
        keywords = {}
        for key, argument in call.keywords:
            if isinstance(argument, Name):
                value = known.get(argument.name)
                keywords[key] = self._missing(argument.name, local, names) if value is None else value
            else:
                keywords[key] = argument
        self._run(target, values, keywords)

    def _missing(self, name: str, local: frozenset[str], names: dict[str, Bound]) -> Value:
        if name in names:
            raise Unknown("a function as a value")
        if name in local:
            raise _Raised(f"UnboundLocalError: {UNCERTAIN}")
        raise _Raised(f"NameError: name '{name}' is not defined{UNCERTAIN}")

    def _run(self, target: Bound, values: list[Value], keywords: dict[str, Value]) -> None:
        function, names, file = target
        parameters = function.parameters
        known: dict[str, Value] = dict(zip(parameters, values, strict=False))
        if keywords or len(values) != len(parameters):
            if problem := _misfit(function, len(values), tuple(keywords)):
                raise _Raised(f"TypeError: {problem}")
            known = {**function.defaults, **known, **keywords}
        self._enter()
        local, line = function.local, 0
        try:
            for line, statement in function.body:  # noqa: B007 (the frame of an exception needs it)
                if type(statement) is Call:
                    self._call(statement, known, local, names)
                else:
                    known[statement[0]] = statement[1]  # an Assign
        except _Raised as error:
            error.frames.append((file, line, function.name))
            raise
        self.depth -= 1


@lru_cache(4096)
def _stub(name: str, parameters: tuple[str, ...], optional: frozenset[str]) -> Callable[..., None]:
    signature = ", ".join(f"{parameter}=0" if parameter in optional else parameter for parameter in parameters)
    space: dict[str, Callable[..., None]] = {}
    exec(f"def {name}({signature}): pass", space)  # the parser let only plain names through
    return space[name]


def _misfit(function: Function, positional: int, keywords: tuple[str, ...]) -> str:
    """Python's own words where a call does not fit a definition; else empty."""
    stub = _stub(function.name, function.parameters, frozenset(function.defaults))
    try:
        stub(*range(positional), **dict.fromkeys(keywords, 0))
    except TypeError as error:
        message, _, _ = str(error).partition(". Did you mean")
        return message + UNCERTAIN * ("unexpected keyword" in message)
    return ""


@lru_cache(16384)
def parse(text: str) -> Source:
    """Parse a file. Raises Unknown where it is not of the part of Python that is known here."""
    statements: list[tuple[int, Import | Function | Call]] = []
    rows = text.split("\n")
    number = 0
    while number < len(rows):
        row = rows[number]
        number += 1
        if not row:
            continue
        if found := _IMPORT.fullmatch(row):
            statements.append((number, Import(found[1], _name(found[2]))))
            continue
        body = _body(rows, number)
        if found := _DEF.fullmatch(row):
            try:
                parameters, defaults = _parameters(found[2])
            except _SyntaxError:
                return Source((), number)
            assigned = {part.name for _, part in body if isinstance(part, Assign)}
            local = frozenset({*parameters, *assigned})
            statements.append((number, Function(_name(found[1]), parameters, defaults, body, local)))
        elif row == _GUARD and all(isinstance(part, Call) for _, part in body):
            statements += [(line, part) for line, part in body if isinstance(part, Call)]
        else:
            raise Unknown(f"the line {row}")
        number = body[-1][0]
    return Source(tuple(statements))


def _body(rows: list[str], number: int) -> tuple[tuple[int, Assign | Call], ...]:
    """The indented lines after line `number`."""
    body = []
    while number < len(rows) and (not rows[number] or rows[number][0] == " "):
        number += 1
        if rows[number - 1]:
            body.append((number, PASS if rows[number - 1] == "    pass" else _statement(rows[number - 1])))
    if not body:
        raise Unknown("a function without a body")
    return tuple(body)


@lru_cache(65536)
def _statement(row: str) -> Assign | Call:
    if found := _ASSIGN.fullmatch(row):
        return Assign(_name(found[1]), int(found[2]))
    found = _CALL.fullmatch(row)
    if not found:
        raise Unknown(f"the line {row}")
    values, keywords = [], []
    for argument in found[2].split(", ") if found[2] else []:
        key, equals, value = argument.rpartition("=")
        if equals:
            keywords.append((_name(key), _value(value)))
        elif keywords:
            raise Unknown(f"the line {row}")
        else:
            values.append(_value(value))
    if len({key for key, _ in keywords}) < len(keywords):
        raise Unknown(f"the line {row}")
    return Call(_name(found[1], "print"), tuple(values), tuple(keywords))


@lru_cache(65536)
def _parameters(text: str) -> tuple[tuple[str, ...], dict[str, int]]:
    names: list[str] = []
    defaults: dict[str, int] = {}
    wrong = False
    for parameter in text.split(", ") if text else []:
        name, equals, value = parameter.partition("=")
        if _name(name) in names or equals and not re.fullmatch("0|[1-9][0-9]*", value):
            raise Unknown(f"the parameters {text}")
        names.append(name)
        if equals:
            defaults[name] = int(value)
        wrong |= bool(defaults) and not equals
    if wrong:
        raise _SyntaxError
    return tuple(names), defaults


def _value(text: str) -> Value | Name:
    found = _VALUE.fullmatch(text)
    if not found:
        raise Unknown(f"the argument {text}")
    if found[3]:
        return Name(_name(text))
    return int(text) if found[2] else found[1]


@lru_cache(65536)
def _name(text: str, allowed: str = "") -> str:
    """Require a plain name: neither a keyword nor a builtin, whose effects are not known here."""
    plain = re.fullmatch("[A-Za-z][A-Za-z0-9_]*", text)
    if not plain or (text != allowed and (text in _BUILTINS or text == "print" or keyword.iskeyword(text))):
        raise Unknown(f"the name {text}")
    return text

"""The part of Python that codefix's codebases are written in, parsed.

Files hold imports of functions, and definitions of functions that assign constants and call functions with names and
constants as arguments.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from tallystick.tools.shell.results import Unknown

_IMPORT = re.compile(r"from (\w+) import (\w+)")
_DEF = re.compile(r"def (\w+)\(([^()]*)\):")
_ASSIGN = re.compile(r"    (\w+) = (0|[1-9][0-9]*)")
_CALL = re.compile(r"    (\w+)\(([^()]*)\)")
_GUARD = 'if __name__ == "__main__":'
_LITERAL = re.compile(r'"(\w*)"|(0|[1-9][0-9]*)')
_BUILTINS = {*dir(builtins)} - {"print"}

Value = int | str


class Statement(NamedTuple):
    """`name = value`, `name(arguments, keyword=argument)`, or `pass`, which assigns to no name."""

    name: str
    arguments: tuple[str, ...] | None = None
    """The text of each argument, a variable's name or a literal; None: an assignment."""
    keywords: tuple[tuple[str, str], ...] = ()
    value: int = 0
    literals: tuple[tuple[str, Value], ...] = ()
    """The text and value of each literal among the arguments."""
    pick: Callable[[Mapping[str, Value]], tuple[Value, ...]] = tuple
    """Picks the arguments' values, given those of all names."""


class Import(NamedTuple):
    """`from module import name`"""

    module: str
    name: str


class Function(NamedTuple):
    """A function definition."""

    name: str
    parameters: tuple[str, ...]
    defaults: Mapping[str, int]
    body: tuple[tuple[int, Statement], ...]
    """What it does, but for constants that it assigns before all else."""
    constants: Mapping[str, Value]
    """These constants, and the value of each literal by its text."""
    local: frozenset[str]
    """Parameters and names assigned to."""


class Source(NamedTuple):
    """A parsed file: its top level's statements with their line numbers, or the line of a syntax error."""

    statements: tuple[tuple[int, Import | Function], ...]
    guarded: Function
    """What is executed only in the file that is run, as a function."""
    rows: list[str]
    syntax_error: int = 0
    links: tuple[object, ...] = ()
    """What other modules see of it, and it of them: its imports and the names of its functions, in order."""


class _SyntaxError(Exception):
    """A definition whose parameters are in an order that Python refuses."""


def parse(text: str) -> Source:
    """Parse a file. Raises Unknown where it is not of the part of Python that is known here."""
    statements: list[tuple[int, Import | Function]] = []
    guarded: list[tuple[int, Statement]] = []
    rows = text.split("\n")
    for number, body in _blocks(rows):
        row = rows[number - 1]
        if not body:
            statements.append((number, _import(row)))
        elif found := _DEF.fullmatch(row):
            try:
                parameters, defaults = _parameters(found[2])
            except _SyntaxError:
                return Source((), _guarded([]), rows, number)
            statements.append((number, _function(_name(found[1]), parameters, defaults, body)))
        elif row == _GUARD and not guarded and not any(part.arguments is None or part.arguments for _, part in body):
            guarded += body
        else:
            raise Unknown(f"the line {row}")
    bound = [part.name for _, part in statements]
    if len({*bound}) < len(bound):
        raise Unknown("a name that is bound twice")
    links = tuple(part if isinstance(part, Import) else part.name for _, part in statements)
    return Source(tuple(statements), _guarded(guarded), rows, links=links)


def _guarded(body: list[tuple[int, Statement]]) -> Function:
    return Function("<module>", (), {}, tuple(body), {}, frozenset())


def _function(
    name: str, parameters: tuple[str, ...], defaults: dict[str, int], body: list[tuple[int, Statement]]
) -> Function:
    called, local, constants = set[str](), {*parameters}, dict[str, Value]()
    begin = 0
    for i, (_, part) in enumerate(body):
        if part.arguments is not None:
            called.add(part.name)
            constants.update(part.literals)
        else:
            if begin == i and part.name not in parameters:
                constants[part.name], begin = part.value, i + 1
            local.add(part.name)
    if called & local:
        raise Unknown("a call of a number")
    return Function(name, parameters, defaults, tuple(body[begin:]), constants, frozenset(local))


def _blocks(rows: list[str]) -> list[tuple[int, list[tuple[int, Statement]]]]:
    """Return the number of each line of the top level, and the indented lines that follow it."""
    blocks: list[tuple[int, list[tuple[int, Statement]]]] = []
    for number, row in enumerate(rows, 1):
        if not row:
            continue
        if row[0] != " ":
            blocks.append((number, []))
        elif blocks:
            blocks[-1][1].append((number, _statement(row)))
        else:
            raise Unknown(f"the line {row}")
    return blocks


@lru_cache(4096)
def _import(row: str) -> Import:
    found = _IMPORT.fullmatch(row)
    if not found:
        raise Unknown(f"the line {row}")
    return Import(found[1], _name(found[2]))


@lru_cache(4096)
def _statement(row: str) -> Statement:
    if row == "    pass":
        return Statement("")
    if found := _ASSIGN.fullmatch(row):
        return Statement(_name(found[1]), value=int(found[2]))
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
    given = [*values, *(value for _, value in keywords)]
    literals = {text: text[1:-1] if text[0] == '"' else int(text) for text in given if not text[0].isalpha()}
    name = _name(found[1], "print")
    return Statement(name, tuple(values), tuple(keywords), literals=tuple(literals.items()), pick=_picker(values))


def _picker(names: list[str]) -> Callable[[Mapping[str, Value]], tuple[Value, ...]]:
    """Return a function that picks the values of names: a fast one for several."""
    return itemgetter(*names) if len(names) > 1 else lambda known: tuple([known[name] for name in names])


@lru_cache(4096)
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


def _value(text: str) -> str:
    """Require a variable's name or a literal."""
    return text if _LITERAL.fullmatch(text) else _name(text)


@lru_cache(4096)
def _name(text: str, allowed: str = "") -> str:
    """Require a plain name: neither a keyword nor a builtin, whose effects are not known here."""
    plain = re.fullmatch("[A-Za-z][A-Za-z0-9_]*", text)
    if not plain or (text != allowed and (text in _BUILTINS or text == "print" or keyword.iskeyword(text))):
        raise Unknown(f"the name {text}")
    return text

"""The part of Python that codefix's codebases are written in, parsed.

Files hold imports of functions, and definitions of functions that assign constants and call functions with names and
constants as arguments.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Mapping
from functools import lru_cache
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
    literals: Mapping[str, Value]
    """The value of each literal by its text."""
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
    number = 0
    while number < len(rows):
        row = rows[number]
        number += 1
        if not row:
            continue
        if found := _import(row):
            statements.append((number, found))
            continue
        body = _body(rows, number)
        if found := _DEF.fullmatch(row):
            try:
                parameters, defaults = _parameters(found[2])
            except _SyntaxError:
                return Source((), _guarded([]), rows, number)
            statements.append((number, _function(_name(found[1]), parameters, defaults, body)))
        elif row == _GUARD and not guarded and not any(part.arguments is None or part.arguments for _, part in body):
            guarded += body
        else:
            raise Unknown(f"the line {row}")
        number = body[-1][0]
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
    called = {part.name for _, part in body if part.arguments is not None}
    local = {*parameters, *(part.name for _, part in body if part.arguments is None)}
    if called & local:
        raise Unknown("a call of a number")
    literals = {text: value for _, part in body for text, value in part.literals}
    return Function(name, parameters, defaults, tuple(body), literals, frozenset(local))


def _body(rows: list[str], number: int) -> list[tuple[int, Statement]]:
    """The indented lines after line `number`."""
    body = []
    while number < len(rows) and (not rows[number] or rows[number][0] == " "):
        row = rows[number]
        number += 1
        if row:
            body.append((number, _statement(row)))
    if not body:
        raise Unknown("a block without a statement")
    return body


@lru_cache(4096)
def _import(row: str) -> Import | None:
    found = _IMPORT.fullmatch(row)
    return Import(found[1], _name(found[2])) if found else None


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
    return Statement(_name(found[1], "print"), tuple(values), tuple(keywords), literals=tuple(literals.items()))


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

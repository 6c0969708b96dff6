"""sed: a script of addresses and commands, on files in place or to the output."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from dataclasses import dataclass
from functools import lru_cache

from tallystick.tools.shell.patterns import Pattern, translate
from tallystick.tools.shell.results import Result, Unknown, lines, read

Address = int | str | Pattern
"""A line's number, "$" for the last one, or a pattern."""


@dataclass(frozen=True, eq=False)
class Edit:
    """One command of a script."""

    action: str
    first: Address | None = None
    last: Address | None = None
    pattern: Pattern | None = None
    replacement: tuple[str | int, ...] = ()
    """Literal text and numbers of groups, in turn."""
    every: bool = False
    text: str = ""
    block: tuple[Edit, ...] = ()


def sed(files: MutableMapping[str, str], arguments: tuple[str, ...], stdin: str | None) -> Result:
    """Edit lines by a script."""
    options, script, names = _arguments(arguments)
    if not names:
        if stdin is None or "i" in options:
            raise Unknown("sed without input")
        return Result(_edit(script, stdin, "n" in options))
    found, complaints = read(files, names, "sed: can't read {}")
    status = 2 if complaints else 0
    if "i" not in options:
        return Result(_edit(script, _joined(found, names), "n" in options), complaints, status)
    for name in names:
        if name in found and ("n" in options or not _leaves_alone(script, files[name])):
            files[name] = _edit(script, files[name], "n" in options)
    return Result("", complaints, status)


def _joined(found: MutableMapping[str, str], names: tuple[str, ...]) -> str:
    """Files as one text; sed ends each but the last with a newline."""
    texts = [found[name] for name in names if name in found]
    if any(text and not text.endswith("\n") for text in texts[:-1]):
        raise Unknown("sed on a file that does not end in a newline")
    return "".join(texts)


@lru_cache(1024)
def _arguments(arguments: tuple[str, ...]) -> tuple[set[str], tuple[Edit, ...], tuple[str, ...]]:
    options: set[str] = set()
    scripts: list[str] = []
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "-e" and rest:
            scripts.append(rest.pop(0))
        elif option in ("-i", "-n", "-E"):
            options.add(option[1])
        else:
            raise Unknown(f"sed {option}")
    if not scripts and rest:
        scripts.append(rest.pop(0))
    if not scripts or any(word.startswith("-") for word in rest):
        raise Unknown(f"sed {' '.join(arguments)}")
    return options, parse("\n".join(scripts), "E" in options), tuple(rest)


def _leaves_alone(script: tuple[Edit, ...], text: str) -> bool:
    """Whether no command of the script can apply, as its pattern is nowhere in the text."""
    return all(isinstance(edit.first, Pattern) and not edit.first.anywhere.search(text) for edit in script)


class _Deleted(Exception):
    """The line was deleted: its other commands are left out."""


class _Run:
    """A script's way through the lines of one text."""

    def __init__(self, rows: list[str]):
        self.rows = rows
        self.number = 0
        self.line = ""
        self.out: list[str] = []
        self.after: list[str] = []
        self.open: dict[int, bool] = {}
        """Whether a range of lines, by its command's id, has begun and not ended."""

    def applies(self, edit: Edit) -> bool:
        """Whether the line is among those that the command is for."""
        if edit.last is None:
            return edit.first is None or self._is(edit.first)
        assert edit.first is not None, "a range begins somewhere"
        if self.open.get(id(edit)):
            if isinstance(edit.last, int) and self.number > edit.last:
                self.open[id(edit)] = False
                return self._begin(edit)
            self.open[id(edit)] = not self._is(edit.last)
            return True
        return self._begin(edit)

    def _begin(self, edit: Edit) -> bool:
        assert edit.first is not None, "a range begins somewhere"
        if not self._is(edit.first):
            return False
        ended = isinstance(edit.last, int) and edit.last <= self.number
        self.open[id(edit)] = not ended and not (edit.last == "$" and self._is("$"))
        return True

    def _is(self, address: Address) -> bool:
        if isinstance(address, Pattern):
            return address.matches(self.line)
        return self.number == (len(self.rows) if address == "$" else address)

    def apply(self, edits: tuple[Edit, ...]) -> None:
        """Apply commands to the line. Raises _Deleted."""
        for edit in edits:
            if not self.applies(edit):
                continue
            if edit.action == "s":
                self.line = _substitute(edit, self.line)
            elif edit.action == "{":
                self.apply(edit.block)
            elif edit.action == "d":
                raise _Deleted
            elif edit.action == "p":
                self.out.append(self.line + "\n")
            elif edit.action == "i":
                self.out.append(edit.text + "\n")
            else:
                self.after.append(edit.text + "\n")


def _edit(script: tuple[Edit, ...], text: str, quiet: bool) -> str:
    run = _Run(lines(text))
    firsts = {edit.first for edit in script}
    numbers = {first for first in firsts if isinstance(first, int)}
    search = [first.anywhere.search for first in firsts if isinstance(first, Pattern)]
    everywhere = len(firsts) > len(numbers) + len(search) or any(edit.last is not None for edit in script)
    for row in run.rows:
        run.number += 1
        if everywhere or run.number in numbers or (search and any(find(row) for find in search)):
            _cycle(run, script, row, quiet)
        elif not quiet:
            run.out.append(row)
    return "".join(run.out)


def _cycle(run: _Run, script: tuple[Edit, ...], row: str, quiet: bool) -> None:
    """Apply a script to one line."""
    run.line = row.removesuffix("\n")
    if run.line == row and any(_adds(edit) for edit in script):
        raise Unknown("adding lines where the last one has no newline")
    try:
        run.apply(script)
        if not quiet:
            run.out.append(run.line + row[len(row.removesuffix("\n")) :])
    except _Deleted:
        pass
    run.out += run.after
    run.after = []


def _adds(edit: Edit) -> bool:
    return edit.action in "pia" or any(_adds(part) for part in edit.block)


def _substitute(edit: Edit, line: str) -> str:
    assert edit.pattern is not None, "s has a pattern"

    def new(match: re.Match[str]) -> str:
        return "".join(part if isinstance(part, str) else match[part] or "" for part in edit.replacement)

    if not edit.every:
        match = edit.pattern.find(line)
        return line if match is None else line[: match.start()] + new(match) + line[match.end() :]
    out, end = [], 0
    for match in edit.pattern.each(line):
        out += [line[end : match.start()], new(match)]
        end = match.end()
    return "".join(out) + line[end:]


@lru_cache(1024)
def parse(script: str, extended: bool) -> tuple[Edit, ...]:
    """Read a script. Raises Unknown for a command that is not known."""
    parser = _Parser(script, extended)
    edits = parser.block()
    if parser.rest:
        raise Unknown(f"the sed script {script}")
    return edits


class _Parser:
    """Reads a script from left to right."""

    def __init__(self, script: str, extended: bool):
        self.script, self.rest, self.extended = script, script, extended

    def block(self) -> tuple[Edit, ...]:
        """Commands up to the end or a closing brace."""
        edits = []
        while True:
            self.rest = self.rest.lstrip(" ;\n")
            if not self.rest or self.rest[0] == "}":
                return tuple(edits)
            edits.append(self._edit())
            if self.rest and self.rest.lstrip(" ")[:1] not in (";", "\n", "}", ""):
                raise self._unknown()

    def _edit(self) -> Edit:
        first, last = self._address(), None
        if self.rest.startswith(","):
            self.rest = self.rest[1:]
            last = self._address()
            if first is None or last is None:
                raise self._unknown()
        self.rest = self.rest.lstrip(" ")
        action, self.rest = self.rest[:1], self.rest[1:]
        if action == "{":
            block = self.block()
            if not self.rest.startswith("}"):
                raise self._unknown()
            self.rest = self.rest[1:]
            return Edit(action, first, last, block=block)
        if action == "s":
            return self._substitution(first, last)
        if action in ("i", "a"):
            text, newline, rest = self.rest.partition("\n")
            self.rest = newline + rest
            if "\\" in text or not text.strip():
                raise self._unknown()
            return Edit(action, first, last, text=text.lstrip())
        if action not in ("d", "p"):
            raise self._unknown()
        return Edit(action, first, last)

    def _address(self) -> Address | None:
        if found := re.match("[0-9]+", self.rest):
            self.rest = self.rest[found.end() :]
            if found[0].startswith("0"):
                raise self._unknown()
            return int(found[0])
        if self.rest.startswith("$"):
            self.rest = self.rest[1:]
            return "$"
        if self.rest.startswith("/"):
            self.rest = self.rest[1:]
            return translate(self._until("/"), self.extended)
        return None

    def _substitution(self, first: Address | None, last: Address | None) -> Edit:
        sign, self.rest = self.rest[:1], self.rest[1:]
        if sign not in ("/", "|", "#", ","):
            raise self._unknown()
        pattern = translate(self._until(sign), self.extended)
        replacement = self._replacement(self._until(sign), pattern.whole.groups)
        every = self.rest.startswith("g")
        self.rest = self.rest.removeprefix("g")
        return Edit("s", first, last, pattern, replacement, every)

    def _until(self, sign: str) -> str:
        """Read up to a delimiter; an escaped one is literal."""
        found = re.match(rf"((?:[^\\\n{re.escape(sign)}]|\\[^\n])*){re.escape(sign)}", self.rest)
        if not found or (sign != "/" and f"\\{sign}" in found[1]):
            raise self._unknown()
        self.rest = self.rest[found.end() :]
        return found[1]

    def _replacement(self, text: str, groups: int) -> tuple[str | int, ...]:
        parts: list[str | int] = []
        for part in re.findall(r"\\.|&|[^\\&]+", text):
            if part == "&":
                parts.append(0)
            elif part[0] != "\\":
                parts.append(part)
            elif part[1].isdigit() and 0 < int(part[1]) <= groups:
                parts.append(int(part[1]))
            elif part[1] in "/&\\.*[]":
                parts.append(part[1])
            else:
                raise self._unknown()
        return tuple(parts)

    def _unknown(self) -> Unknown:
        return Unknown(f"the sed script {self.script}")

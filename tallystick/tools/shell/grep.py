"""grep, with the options that the teachers use and their neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from tallystick.tools.shell.patterns import Pattern, translate
from tallystick.tools.shell.results import UNCERTAIN, Result, Unknown, lines, read

_SUFFIXES = ("", ". Did you mean: 'main'?", ". Did you forget to import 'main'?")
_MESSAGES = ("non-default argument follows default argument", "parameter without a default follows one with")
_CARETS = ("    ^^^^", "    ~~~^^^^~~", "           ^")


def grep(files: Mapping[str, str], arguments: tuple[str, ...], stdin: str | None) -> Result:
    """Print the lines that match."""
    options, (text, *rest) = _options(arguments)
    names = tuple(rest)
    pattern = translate(text, "E" in options, "i" in options)
    if not names:
        if stdin is None:
            raise Unknown("grep without input")
        found, complaints = {"(standard input)": stdin}, ""
    else:
        found, complaints = read(files, names, "grep: {}")
    titled = "h" not in options and ("H" in options or len(names) > 1)
    if not names and (titled or "l" in options):
        raise Unknown("grep that names its standard input")
    out: list[str] = []
    matched = False
    for name in names or found:
        if name in found:
            some = _file(found[name], pattern, options, f"{name}:" if titled else "", name, out)
            matched = matched or some
    return Result("".join(out), complaints, 2 if complaints else 0 if matched else 1)


@lru_cache(1024)
def _options(arguments: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    options: frozenset[str] = frozenset()
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        options |= {*rest.pop(0)[1:]}
    if not options <= {*"nEvlcohHi"} or not rest or any(word.startswith("-") for word in rest):
        raise Unknown(f"grep {' '.join(arguments)}")
    if "o" in options and "v" in options or len(options & {*"lc"}) > 1:
        raise Unknown("grep with options that override one another")
    return options, tuple(rest)


def _file(text: str, pattern: Pattern, options: frozenset[str], title: str, name: str, out: list[str]) -> bool:
    """Add what is printed of one file; returns whether a line was selected."""
    selected, certain = 0, True
    counts, silent = "c" in options, not options.isdisjoint("lc")
    numbered = "n" in options and not silent
    for number, line in _candidates(text, pattern, options):
        if UNCERTAIN in line:
            certain = certain and line.lstrip() != UNCERTAIN
            shown = _shown_uncertain(line, pattern, options)
        else:
            shown = _shown(line, pattern, options)
        if shown is None:
            continue
        selected += 1
        if silent:
            continue
        if numbered and not certain:
            raise Unknown("line numbers after lines that not every Python version prints")
        prefix = f"{title}{number}:" if numbered else title
        for part in shown:
            out.append(f"{prefix}{part}\n")
    if counts:
        out.append(f"{title}{selected}\n")
    elif silent and selected:
        out.append(f"{name}\n")
    return selected > 0


def _candidates(text: str, pattern: Pattern, options: frozenset[str]) -> Iterator[tuple[int, str]]:
    """The lines that can be selected, with their numbers: most lines of a long text are not even looked at."""
    position, number = 0, 1
    if "v" not in options:
        known = text.find(UNCERTAIN)
        end = len(text) if known < 0 else text.rfind("\n", 0, known) + 1
        while (place := pattern.reach(text, position, end)) >= 0:
            start = text.rfind("\n", 0, place) + 1
            number += text.count("\n", position, start)
            position = text.find("\n", start, end) + 1 or end
            yield number, text[start:position].removesuffix("\n")
            number += 1
        number += text.count("\n", position, end)
        position = end
    for offset, row in enumerate(lines(text[position:])):
        yield number + offset, row.removesuffix("\n")


@lru_cache(4096)
def _shown(line: str, pattern: Pattern, options: frozenset[str]) -> tuple[str, ...] | None:
    """The parts of a line that are printed; None where it is not selected."""
    if "o" in options and "l" not in options and "c" not in options:
        return tuple(match[0] for match in pattern.each(line)) or None
    return (line,) if pattern.matches(line) != ("v" in options) else None


@lru_cache(1024)
def _shown_uncertain(line: str, pattern: Pattern, options: frozenset[str]) -> tuple[str, ...] | None:
    """As `_shown`, of a line whose text depends on the Python version: refused unless it makes no difference."""
    known = line.removesuffix(UNCERTAIN)
    carets = not known.strip()
    variants = _CARETS if carets else [known + end for end in (_MESSAGES if known.endswith(": ") else _SUFFIXES)]
    shown = [_shown(variant, pattern, options) for variant in variants]
    if carets:
        shown.append(None)  # some versions print no such line
    if any(other != shown[0] for other in shown):
        raise Unknown("text that depends on the Python version")
    return shown[0]

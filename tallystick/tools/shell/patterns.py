"""Translate the regular expressions of grep and sed into Python's.

POSIX takes the longest of the leftmost matches, Python the first in the order of alternatives. The two agree on whether
a line matches; where the extent of a match counts, patterns for which they could differ are Unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from tallystick.tools.shell.results import Unknown

_BRACKET = re.compile(r"\[\^?\]?[^\]\[]*\]")
_REPEAT = re.compile(r"\{[0-9]+(,[0-9]*)?\}")


@dataclass(frozen=True, eq=False)
class Pattern:
    """A translated regular expression."""

    text: str
    whole: re.Pattern[str]
    """Matches a line: its newline not among it."""
    anywhere: re.Pattern[str]
    """Finds a line in a text, or more than there are: no line matches where this finds nothing."""
    alternatives: tuple[re.Pattern[str], ...]
    certain: bool
    """Whether each alternative's extent is POSIX's."""
    literals: tuple[str, ...]
    """A text that each alternative's matches contain; none if case does not matter, or if one has no such text."""

    def reach(self, text: str, start: int, end: int) -> int:
        """Return a place in the first line between start and end that may match; -1 if none can."""
        if self.literals:
            places = [place for literal in self.literals if (place := text.find(literal, start, end)) >= 0]
            return min(places, default=-1)
        found = self.anywhere.search(text, start, end)
        return found.start() if found and found.start() < end else -1

    def matches(self, line: str) -> bool:
        """Whether the pattern is found in a line."""
        return self.whole.search(line) is not None

    def find(self, line: str, start: int = 0) -> re.Match[str] | None:
        """Find the leftmost match from `start` on, the longest of those."""
        if not self.certain:
            raise Unknown(f"the extent of {self.text}")
        best = None
        for alternative in self.alternatives:
            match = alternative.search(line, start)
            if match and (best is None or (match.start(), -match.end()) < (best.start(), -best.end())):
                best = match
        return best

    def each(self, line: str) -> Iterator[re.Match[str]]:
        """Find all matches from left to right."""
        start = 0
        while match := self.find(line, start):
            if match.end() == match.start():
                raise Unknown(f"an empty match of {self.text}")
            yield match
            start = match.end()


@lru_cache(1024)
def translate(text: str, extended: bool, ignore_case: bool = False) -> Pattern:
    """Translate a basic or extended regular expression. Raises Unknown for what is not known."""
    read, certain = _Reader(text, extended).read()
    alternatives, literals = ["".join(tokens) for tokens in read], tuple(map(_literal, read))
    flags = re.IGNORECASE if ignore_case else 0
    try:
        each = tuple(re.compile(alternative, flags) for alternative in alternatives)
        together = "|".join(f"(?:{alternative})" for alternative in alternatives)
        whole = re.compile(together, flags)
        # at the end of a line, and not only of the text
        anywhere = re.compile(together.replace(r"\Z", "$"), flags | re.MULTILINE)
    except re.error as error:
        raise Unknown(f"the pattern {text}") from error
    return Pattern(text, whole, anywhere, each, certain, () if ignore_case or "" in literals else literals)


def _literal(tokens: list[str]) -> str:
    """Return the longest plain text that every match contains, outside of parentheses."""
    depth, runs = 0, [""]
    for token, following in pairwise([*tokens, ""]):
        depth += (token == "(") - (token == ")")
        if depth == 0 and re.escape(token[-1]) == token and following not in ("*", "?"):
            runs[-1] += token[-1]
        else:
            runs.append("")
    return max(runs, key=len)


class _Reader:
    """One pass over a regular expression."""

    def __init__(self, text: str, extended: bool):
        self.text, self.extended = text, extended
        self.out: list[str] = []
        self.alternatives: list[list[str]] = []
        self.depth = 0
        self.certain = True
        self.start = True
        """Whether nothing stands before, in this alternative: there * is literal and ^ an anchor."""
        self.repeatable = False
        """Whether what stands before can be repeated."""

    def read(self) -> tuple[list[list[str]], bool]:
        """The alternatives as tokens of Python's syntax, and whether extents are certain."""
        if not self.text or "\n" in self.text:
            raise Unknown(f"the pattern {self.text!r}")
        i = 0
        while i < len(self.text):
            i += self._token(i)
        if self.depth:
            raise Unknown(f"the pattern {self.text}")
        return [*self.alternatives, self.out], self.certain

    def _token(self, i: int) -> int:
        """Translate the token at i; returns its length."""
        sign, following = self.text[i], self.text[i + 1 : i + 2]
        if sign == "[":
            return self._bracket(i)
        if sign == "\\":
            if following and following in "(){}|+?":
                self._literal(following) if self.extended else self._operator(following, i + 2)
                return self._width(i + 1, following, not self.extended) + 1
            self._escape(following)
            return 2
        if sign == "*" or self.extended and sign in "(){}|+?":
            self._operator(sign, i + 1)
            return self._width(i, sign, self.extended)
        if sign == "^" or sign == "$":
            self._anchor(sign, i)
        elif sign == ".":
            self._atom(".")
        else:
            self._literal(sign)
        return 1

    def _width(self, i: int, sign: str, operator: bool) -> int:
        if sign == "{" and operator:
            raise Unknown(f"a count in {self.text}")
        return 1

    def _bracket(self, i: int) -> int:
        found = _BRACKET.match(self.text, i)
        if not found or "[:" in found[0]:
            raise Unknown(f"the bracket expression in {self.text}")
        inside = found[0][1:-1]
        negated, inside = inside.startswith("^"), inside.removeprefix("^")
        if not re.fullmatch(r"([^-]-[^-]|[^-])*-?", inside):
            raise Unknown(f"the bracket expression in {self.text}")
        escaped = re.sub(r"[\\\]\[&~|^]", r"\\\g<0>", inside)
        if escaped.endswith("-"):
            escaped = escaped[:-1] + r"\-"
        self._atom(f"[{'^' if negated else ''}{escaped}]")
        return len(found[0])

    def _escape(self, sign: str) -> None:
        if sign in ("w", "W", "s", "S"):
            self._atom("\\" + sign)
        elif sign in ("b", "B"):
            self.out.append("\\" + sign)
            self.start = self.repeatable = False
        elif sign and sign in "/.[]*^$\\":
            self._literal(sign)
        else:
            raise Unknown(f"the escape \\{sign} in {self.text}")

    def _anchor(self, sign: str, i: int) -> None:
        rest = self.text[i + 1 :]
        if sign == "^" and (self.start or self.extended):
            anchor = r"^"
        elif sign == "$" and (not rest or self.extended or rest.startswith((r"\)", r"\|"))):
            anchor = r"\Z"
        else:
            self._literal(sign)
            return
        self.out.append(anchor)
        self.repeatable = False
        self.start = self.start and sign == "^"

    def _operator(self, sign: str, after: int) -> None:
        if sign == "(":
            self.out.append("(")
            self.depth += 1
            self.start, self.repeatable = True, False
        elif sign == ")":
            if not self.depth or self.start:
                raise Unknown(f"the parentheses in {self.text}")
            self.out.append(")")
            self.depth -= 1
            self.repeatable = True
        elif sign == "|":
            self._alternative()
        elif sign == "*" and self.start and not self.extended:
            self._literal("*")
        elif sign in "*+?" and self.repeatable:
            # a repeated group can make POSIX's match longer than Python's, unless nothing follows it
            if self.out[-1] == ")" and not (sign == "?" and after == len(self.text) or self._ends(after)):
                self.certain = False
            self.out.append(sign)
            self.repeatable = False
        else:
            raise Unknown(f"{sign} in {self.text}")

    def _ends(self, after: int) -> bool:
        return self.extended and self.depth == 0 and self.text[after - 1] == "?" and self.text[after:].startswith("|")

    def _alternative(self) -> None:
        if self.start:
            raise Unknown(f"an empty alternative in {self.text}")
        if self.depth:
            self.certain = False
            self.out.append("|")
        else:
            self.alternatives.append(self.out)
            self.out = []
        self.start, self.repeatable = True, False

    def _literal(self, sign: str) -> None:
        self._atom(re.escape(sign))

    def _atom(self, text: str) -> None:
        self.out.append(text)
        self.start, self.repeatable = False, True

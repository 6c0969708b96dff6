"""What a program keeps in its locals is found where no sample shows it, and a local program is not doubted."""

import sys
from pathlib import Path

import pytest

from tallystick import Defaults, locality, tasks
from tallystick.locality import hidden

sys.path.insert(0, str(Path(__file__).parent))
import walks

LENGTHS = [3, 5, 10]
PROBLEMS = hidden.PROBLEMS
"""As it is outside the tests."""


@pytest.fixture(autouse=True)
def as_many_problems_as_usual(monkeypatch):
    monkeypatch.setattr(hidden, "PROBLEMS", PROBLEMS)


class Walk(walks.Walk):
    symbols = "abcdefghijqxyz.01234="
    drawn = "abcdefghij"
    start = "a"
    defaults = Defaults(train_length=5, check=(3, 5, 10, 20))


class LastThatIsNoD(Walk):
    """One letter in the middle of the alphabet is skipped: long runs of it are never drawn."""

    def keep(self, kept, symbol):
        return kept if symbol == "d" else symbol


class LastThatIsNoDOf26(LastThatIsNoD):
    symbols = "abcdefghijklmnopqrstuvwxyz="
    drawn = "abcdefghijklmnopqrstuvwxyz"


class ParityOfRun(Walk):
    """The parity of the last run of one letter in the middle."""

    start = "0"

    def keep(self, kept, symbol):
        return str(1 - int(kept)) if symbol == "e" else "0"


class CountModulo5(Walk):
    start = "0"

    def keep(self, kept, symbol):
        return str((int(kept) + (symbol == "d")) % 5)


class Comment(Walk):
    """x opens a comment and y, far commoner, closes it."""

    start = "0"

    def draw(self, length, rng):
        return rng.choices("abxcydef", [1, 1, 1, 1, 30, 1, 1, 1], k=length)

    def keep(self, kept, symbol):
        return "1" if symbol == "x" else "0" if symbol == "y" else kept


class FirstIfAskedFor(Walk):
    """The first letter, if the last three are all q."""

    drawn = "abcdefghijq"
    start = ""

    def keep(self, kept, symbol):
        return (kept or symbol)[0] + kept[1:][-2:] + symbol

    def say(self, kept):
        return kept[0] if kept[1:] == "qqq" else "."


class Password(Walk):
    """Whether six letters came in a row that hardly ever do: no problem looked at has them."""

    start = ""

    def keep(self, kept, symbol):
        kept = kept if kept == "fahcdb" else kept + symbol
        return kept if "fahcdb".startswith(kept) else symbol if symbol == "f" else ""

    def say(self, kept):
        return "1" if kept == "fahcdb" else "0"


class Shuffled(Walk):
    """The last letter, behind few dots: the sample is made by a shuffle."""

    def draw(self, length, rng):
        letters = [*rng.choices("abcdefgh", k=length - length // 8), *"." * (length // 8)]
        rng.shuffle(letters)
        return letters

    def keep(self, kept, symbol):
        return kept if symbol == "." else symbol


class Rejection(Walk):
    """The sample is drawn again until it has many letters, so that no worst case is constant."""

    def draw(self, length, rng):
        while True:
            letters = rng.choices("abcdefghij", k=length)
            if len(set(letters)) >= min(5, length // 2):
                return letters

    def keep(self, kept, symbol):
        return kept if symbol == "b" else symbol


class Nested(Walk):
    """A choice of kind, then of letter; the last x or y decides."""

    drawn = "xyabcdef"

    def draw(self, length, rng):
        return [rng.choice("xy" if rng.choice(["key"] * 5 + ["fill"] + ["key"] * 5) == "key" else "abcdef")
                for _ in range(length)]  # fmt: skip

    def keep(self, kept, symbol):
        return symbol if symbol in "xy" else kept


class RareLatch(Walk):
    """One symbol of a thousand is remembered, and lies in the middle of the draws."""

    def draw(self, length, rng):
        return ["z" if 0.7 < rng.random() < 0.701 else rng.choice("ab") for _ in range(length)]

    def keep(self, kept, symbol):
        return "z" if symbol == "z" else kept


class Majority(Walk):
    drawn, start = "ab", 0

    def keep(self, kept, symbol):
        return kept + (1 if symbol == "a" else -1)

    def say(self, kept):
        return "1" if kept > 0 else "0"


class LengthParity(Walk):
    start = "0"

    def keep(self, kept, symbol):
        return str(1 - int(kept))


class Depth(Walk):
    """The parity of how deep brackets go, x opening and y closing; the length is their number."""

    start = (0, 0)

    def draw(self, length, rng):
        left = rng.randrange(length) if length else 0
        return ["x", *self.draw(left, rng), "y", *self.draw(length - 1 - left, rng)] if length else []

    def keep(self, kept, symbol):
        depth = kept[0] + (1 if symbol == "x" else -1)
        return depth, max(kept[1], depth)

    def say(self, kept):
        return str(kept[1] % 2)


class FarApart(Walk):
    """Whether the same letter follows the first d and the last one."""

    start = ("", "", "")

    def keep(self, kept, symbol):
        first, last, before = kept
        return (first or symbol, symbol, symbol) if before == "d" else (first, last, symbol)

    def say(self, kept):
        return "1" if kept[0] == kept[1] else "0"


NOT_LOCAL = [LastThatIsNoD, LastThatIsNoDOf26, ParityOfRun, CountModulo5, Comment, FirstIfAskedFor, Password, Shuffled,
             Rejection, Nested, RareLatch, Majority, LengthParity, Depth, FarApart]  # fmt: skip


@pytest.mark.parametrize("cls", NOT_LOCAL)
def test_a_program_that_is_not_local_is_never_called_local(cls):
    assert not locality.check(cls(), LENGTHS, problems=80)["local"]


class Window(Walk):
    """The largest of the last two letters: local, though the program keeps both."""

    start = ""

    def keep(self, kept, symbol):
        return (kept + symbol)[-2:]

    def say(self, kept):
        return max(kept)


class SaidLargest(Walk):
    """The largest letter, said at each step."""

    def solve(self, w):
        p, kept = w.pointer(0), self.start
        while (symbol := p.read()) != "=":
            kept = max(kept, symbol)
            w.think(kept)
            p.right()
        w.answer()
        w.output(kept)

    def keep(self, kept, symbol):
        return max(kept, symbol)


@pytest.mark.parametrize("cls", [Window, SaidLargest])
def test_a_local_program_is_not_doubted(cls):
    assert hidden.doubt(cls(), LENGTHS, 300, 0) == ""


@pytest.mark.parametrize("name", ["addition", "hanoi", "turing", "chomsky:stack-manipulation"])
def test_local_programs_of_the_registry_are_not_doubted(name):
    task = tasks.load(name)
    assert hidden.doubt(task, list(task.defaults.check[:3]), 20, 0) == ""


def test_the_doubt_names_the_place_and_what_it_keeps():
    text = hidden.doubt(LastThatIsNoD(), LENGTHS, 80, 0)
    assert text.startswith("the program may go on alike for ever, at solve+2 with kept='")
    assert "' or at solve+2 with kept='" in text


def test_the_parts_of_a_mixture_are_looked_at():
    name = "reverse:1,addition:1"
    assert "at _add+" in hidden.doubt(tasks.load(name, "default+paper"), [3, 5], 20, 0)
    assert hidden.doubt(tasks.load(name), [3, 5], 20, 0) == ""

"""Radix sort of three-digit numbers, lowest digit first: 207 tokens per number."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tallystick.tasks.base import Defaults, Task
from tallystick.tasks.numbers import DIGITS, short
from tallystick.workspace import PointerHandle, Workspace

DIGITS_EACH = 3
"""Number of digits of each number."""


class Sort(Task):
    """Sort numbers 0-999, with duplicates: 345 7 12 7 answers 007 007 012 345.

    `length` is the number of numbers. There are three passes over the list, each by the last digit of its numbers:
    pointer 0 goes through the list and copies the numbers that end in 0, pointer 1 those that end in 1, and so on. A
    copy begins with the digit that it was sorted by, so that the next digit comes last: 345 becomes 534, then 453, and
    finally 345 again. The pointer's name tells which digit is copied; there are only nine pointers, so pointer 8 goes
    back and sweeps once more for 9, with a note at each number. A list ends in three marks, so that strides of three
    reach the third, which tells how many passes are done: #, | or [ANS], since the third pass writes the answer. The
    last 8 tokens decide. The memory for 345 7 12:

        : 345 007 012 ###  201 534 700 |||  070 120 453 ||[ANS]  007 012 345
    """

    symbols = (*DIGITS, ":", "#", "|", "&", "9-", "9&")
    shape = ":([0-9][0-9][0-9])+###"
    notes = ("&", "9-", "9&")
    tools = ("pointer:9",)
    variants = {"local": "solve"}
    defaults = Defaults(train_length=8, check=(3, 5, 8, 20, 50), eval=(8, 20, 100, 300, 1000))

    def sample(self, length, rng):
        """Draw uniform numbers."""
        return _prompt(f"{rng.randrange(1000):03}" for _ in range(length))

    def sample_up_to(self, length, rng):
        """Draw uniform numbers, half of the time from only three digits, for duplicates and runs of one digit."""
        digits = rng.choice((DIGITS, rng.choices(DIGITS, k=3)))
        return _prompt("".join(rng.choices(digits, k=DIGITS_EACH)) for _ in range(rng.randint(1, length)))

    def worst_cases(self, length):
        """List constant, sorted and reversed lists, lists of few values, and of numbers that differ in one digit."""
        rising = [f"{1000 * i // length:03}" for i in range(length)]
        lists = [[number] * length for number in ("000", "999", "898", "090")]
        lists += [rising, rising[::-1], [*rising[::2], *rising[1::2]]]
        lists += [[f"{9 - i % 10}{i % 10}{i % 2}" for i in range(length)]]
        lists += [[form.format(9 - i % 10) for i in range(length)] for form in ("{}55", "5{}5", "55{}", "{0}{0}{0}")]
        return [_prompt(numbers) for numbers in lists]

    def parse(self, text):
        """Parse "345 7 12", with or without commas."""
        words = text.replace(",", " ").split()
        wrong = [word for word in words if not word.isascii() or not word.isdecimal() or len(word) > DIGITS_EACH]
        if wrong or not words:
            raise ValueError(f"{short((wrong or [text])[0])!r} is not a number 0-999; write some, as in 345 7 12")
        return _prompt(word.zfill(DIGITS_EACH) for word in words)

    def format(self, tokens):
        """Format numbers with three digits each, separated by spaces."""
        digits = "".join(token for token in tokens if token in DIGITS)
        return " ".join(digits[i : i + DIGITS_EACH] for i in range(0, len(digits), DIGITS_EACH))

    def answer(self, prompt):
        """Return the sorted numbers; strings of equal length sort like their numbers."""
        return list("".join(sorted(self.format(prompt).split())))

    def solve(self, w):
        """Make three passes, the third of them after [ANS]."""
        self._pass(w, w.think)
        w.think(*"|||")
        self._pass(w, w.think)
        w.think(*"||")
        w.answer()
        self._pass(w, w.output)

    def _pass(self, w: Workspace, say: Callable[[str], None]) -> None:
        """Copy the list, sorted by the last digit of its numbers."""
        for i in range(9):
            _sweep(w, w.pointer(i), DIGITS[i], say)
        _back(w.pointer(8))
        _sweep(w, w.pointer(8), "9", say, again=True)


def _prompt(numbers: Iterable[str]) -> list[str]:
    return [":", *"".join(numbers), *"###"]


def _sweep(w: Workspace, pointer: PointerHandle, last: str, say: Callable[[str], None], again: bool = False) -> None:
    """Copy the numbers with this last digit, which becomes the first; again: whether this is a second sweep."""
    while True:
        for _ in range(DIGITS_EACH):
            pointer.right()
        if again:
            w.note("9-")
        symbol = pointer.read()
        if symbol not in DIGITS:
            return
        if symbol == last:
            say(symbol)
            pointer.left()
            pointer.left()
            say(pointer.read())
            pointer.right()
            w.note("9&" if again else "&")
            say(pointer.read())
            pointer.right()


def _back(pointer: PointerHandle) -> None:
    """Move back to the mark before the list."""
    while True:
        for _ in range(DIGITS_EACH):
            pointer.left()
        if pointer.read() not in DIGITS:
            return

"""The context-sensitive tasks on binary numbers: addition and multiplication, lowest bit first.

Sums and products end at their last 1, which is not known before all bits are. So the bits are first said as thoughts.
Then pointer 1 goes through them, and wherever it finds a 1, pointer 2, which waits after the previous 1, follows and
says the bits up to it.
"""

from __future__ import annotations

import random
import re

from tallystick.tasks.chomsky.base import SLOW, Chomsky
from tallystick.workspace import PointerHandle, Workspace

BITS = "01"


class BinaryAddition(Chomsky):
    """Add binary numbers, lowest bit first: 001+01101 answers 010112, 1001+000001 answers 1001012.

    The answer ends at its last 1, with the termination token 2. `length` is that of the whole input; inputs of length 1
    and 2 are one number, not all ones, which is its own answer. Numbers are at least 1 and may end in zeros. Pointers 0
    and 1 go through them, and a note says the carry at each step: 15 tokens per symbol; the last 8 tokens decide.
    """

    sign = "+"
    alphabet = "01+"
    symbols = (*BITS, "+", "2", "=", "c0", "c1")
    shape = r"[01][01]?|[01]*1[01]*\+[01]*1[01]*"
    notes = ("c0", "c1")
    tools = ("pointer:3",)
    example = "001+01101"

    def sample(self, length, rng):
        """Draw two positive uniform numbers, whose lengths are uniform shares of the whole."""
        if length <= 2:
            return _bits(rng.randrange(2**length - 1), length)
        first = rng.randrange(1, length - 1)
        second = length - 1 - first
        return [*_number(first, rng), self.sign, *_number(second, rng)]

    def worst_cases(self, length):
        """List carries everywhere, powers of two, zeros at the ends, alternating bits; also with one-bit numbers."""
        if length <= 2:
            return [_bits(number, length) for number in range(2**length - 1)]
        pairs = []
        for first in dict.fromkeys(((length - 1) // 2, 1, length - 2)):
            second = length - 1 - first
            for a, b in (("1", "1"), ("1", "10"), ("01", "1"), ("10", "10"), ("001", "001"), ("110", "011")):
                pairs.append((_repeat(a, first), _repeat(b, second)))
            pairs += [("0" * (first - 1) + "1", "0" * (second - 1) + "1"), ("1" + "0" * (first - 1), "1" * second)]
        return [[*a, self.sign, *b] for a, b in pairs if "1" in a and "1" in b]

    def allows(self, prompt):
        """Return whether these are two positive numbers, or one of one or two bits that are not all 1."""
        text = "".join(prompt)
        number = "[01]*1[01]*"
        return text in ("0", "00", "10", "01") or bool(re.fullmatch(rf"{number}\{self.sign}{number}", text))

    def answer(self, prompt):
        """Compute the sum as a Python int, whose conversion to and from binary, unlike decimal, takes linear time."""
        numbers = [int(bits[::-1], 2) for bits in "".join(prompt).split("+")]
        return [*f"{sum(numbers):b}"[::-1], "2"]

    def solve(self, w):
        """Think the bits of the sum, then say all of them up to the last 1."""
        w.think("=")
        first, second, behind = (w.pointer(i) for i in range(3))
        if not _to_second(second, behind, "+"):
            w.answer()
            self._say_number(w, first)
            return
        carry = 0
        while True:
            a, b = first.read(), second.read()
            if a not in BITS and b not in BITS:
                break
            total = (a == "1") + (b == "1") + carry
            carry = total // 2
            w.think(BITS[total % 2])
            w.note(f"c{carry}")
            if a in BITS:
                first.right()
            if b in BITS:
                second.right()
                behind.right()
        if carry:
            w.think("1")
        w.answer()
        _say_to_last_one(w, second, behind)

    def _say_number(self, w: Workspace, p: PointerHandle) -> None:
        """Say a single number: its first bit, and the second if that is 1."""
        w.output(p.read())
        p.right()
        if p.read() == "1":
            w.output("1")
        w.output("2")


class BinaryMultiplication(BinaryAddition):
    """Multiply binary numbers, lowest bit first: 001*01101 answers 00011012, 11*11 answers 10012.

    Inputs are as in addition; those of length 1 and 2 answer 2 and 02, as in the paper's code. The product is built on
    the tape: for each 1 of the second number, the first is added, one cell further each time. About 1.1 n^2 tokens;
    the last 7 decide.
    """

    sign = "*"
    alphabet = "01*"
    symbols = (*BITS, "*", "2", "=", "c0", "c1")
    shape = r"[01][01]?|[01]*1[01]*\*[01]*1[01]*"
    tools = ("pointer:3", "tape:01")
    example = "001*01101"
    defaults = SLOW
    max_length = 3000

    def tape(self, prompt):
        """Return an empty tape."""
        return [], 0

    def answer(self, prompt):
        """Compute the product as a Python int."""
        if "*" not in prompt:
            return [*"0" * (len(prompt) - 1), "2"]
        first, second = "".join(prompt).split("*")
        return [*f"{int(first[::-1], 2) * int(second[::-1], 2):b}"[::-1], "2"]

    def solve(self, w):
        """Think each bit of the product as soon as it is final, then those left on the tape; then say them."""
        w.think("=")
        first, second, behind = (w.pointer(i) for i in range(3))
        if not _to_second(second, behind, "*"):
            w.answer()
            self._say_number(w, first)
            return
        while (bit := second.read()) != "=":
            if bit == "1":
                self._add(w, first)
            symbol = w.tape.read()
            w.think("1" if symbol == "1" else "0")
            w.tape.right()
            second.right()
            behind.right()
        while (symbol := w.tape.read()) != self.blank:
            w.think(symbol)
            w.tape.right()
        w.answer()
        _say_to_last_one(w, second, behind)

    def _add(self, w: Workspace, p: PointerHandle) -> None:
        """Add the first number to the tape from the head on; move pointer and head back."""
        carry = 0
        w.note("c0")
        while (bit := p.read()) != "*":
            total = (bit == "1") + (w.tape.read() == "1") + carry
            carry = total // 2
            w.tape.write(BITS[total % 2])
            w.note(f"c{carry}")
            w.tape.right()
            p.right()
        w.tape.write(BITS[carry])
        while p.read() != "[BOS]":
            p.left()
            w.tape.left()
        p.right()
        w.tape.right()

    def _say_number(self, w: Workspace, p: PointerHandle) -> None:
        """Say 0 if there is a second bit, whatever its value."""
        p.right()
        if p.read() in BITS:
            w.output("0")
        w.output("2")


def _to_second(second: PointerHandle, behind: PointerHandle, sign: str) -> bool:
    """Move to the first bit of the second number, or to the end; return whether there is a second number."""
    while (symbol := second.read()) not in (sign, "="):
        behind.right()
        second.right()
    if symbol == "=":
        return False
    behind.right()
    second.right()
    return True


def _say_to_last_one(w: Workspace, ahead: PointerHandle, behind: PointerHandle) -> None:
    """Say the bits that were thought after the =, up to the last 1."""
    ahead.right()
    behind.right()
    while (symbol := ahead.read()) != "[ANS]":
        bit = "" if symbol == "1" else "1"
        while bit != "1":
            bit = behind.read()
            w.output(bit)
            behind.right()
        ahead.right()
    w.output("2")


def _number(length: int, rng: random.Random) -> list[str]:
    """Draw a positive uniform number of so many bits, the lowest first."""
    return _bits(rng.randrange(1, 2**length), length)


def _repeat(text: str, length: int) -> str:
    return (text * length)[:length]


def _bits(number: int, length: int) -> list[str]:
    return list(f"{number:0{length}b}"[::-1])

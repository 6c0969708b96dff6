"""Context-sensitive, binary numbers: addition and multiplication, lowest bit first, and square roots.

Sums and products end at their last 1, which nobody knows before the end. So their bits are thought first; then pointer
1 goes through them, and wherever it finds a 1, pointer 2, which waits behind the last one, comes after and says them.
"""

from __future__ import annotations

import math
import re

from tallystick.tasks.chomsky.base import END, SLOW, Chomsky

BITS = "01"
DONE = ("d0", "d1")
"""Cells of the remainder."""
TRIED = ("00", "01", "10", "11")
"""Cells while a bit of the root is tried: the remainder as it was, and as it would be."""


class BinaryAddition(Chomsky):
    """Add binary numbers, lowest bit first: 001+01101 answers 010112, 1001+000001 answers 1001012. 15 tokens a symbol.

    The answer ends at its last 1, with the termination token 2. `length` is that of the whole input; at 1 and 2 it is a
    number alone, not all ones, and answers itself. Numbers are at least 1 and may end in zeros. Pointers 0 and 1 go
    through them, a carry is noted at each step; the last 8 tokens decide.
    """

    sign = "+"
    alphabet = "01+"
    symbols = (*BITS, "+", "2", "=", "c0", "c1")
    notes = ("c0", "c1")
    tools = ("pointer:3",)
    example = "001+01101"

    def sample(self, length, rng):
        """Uniform shares of the length, and in them uniform numbers from 1."""
        if length <= 2:
            return _bits(rng.randrange(2**length - 1), length)
        first = rng.randrange(1, length - 1)
        second = length - 1 - first
        return [*_number(first, rng), self.sign, *_number(second, rng)]

    def worst_cases(self, length):
        """Carries everywhere, powers of two, zeros at the ends, alternating bits; also with a number of one bit."""
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
        """Two numbers that are not 0, or one or two bits that are not all 1."""
        text = "".join(prompt)
        number = "[01]*1[01]*"
        return text in ("0", "00", "10", "01") or bool(re.fullmatch(rf"{number}\{self.sign}{number}", text))

    def answer(self, prompt):
        """By Python's own numbers, whose binary texts take linear time."""
        numbers = [int(bits[::-1], 2) for bits in "".join(prompt).split("+")]
        return [*f"{sum(numbers):b}"[::-1], "2"]

    def solve(self, w):
        """The sum's bits; then all up to the last 1 of them."""
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

    def _say_number(self, w, p):
        """A bit, and a second one if it is 1."""
        w.output(p.read())
        p.right()
        if p.read() == "1":
            w.output("1")
        w.output("2")


class BinaryMultiplication(BinaryAddition):
    """Multiply binary numbers, lowest bit first: 001*01101 answers 00011012, 11*11 answers 10012.

    As in addition; lengths 1 and 2 answer 2 and 02, as in their code. The product is made on the tape: for each 1 of
    the second number, the first is added to it one cell further on. About 1.1 n^2 tokens; the last 7 decide.
    """

    sign = "*"
    alphabet = "01*"
    symbols = (*BITS, "*", "2", "=", "c0", "c1")
    tools = ("pointer:3", "tape:01")
    example = "001*01101"
    defaults = SLOW
    max_length = 3000

    def tape(self, prompt):
        """Blank."""
        return [], 0

    def answer(self, prompt):
        """By Python's own numbers."""
        if "*" not in prompt:
            return [*"0" * (len(prompt) - 1), "2"]
        first, second = "".join(prompt).split("*")
        return [*f"{int(first[::-1], 2) * int(second[::-1], 2):b}"[::-1], "2"]

    def solve(self, w):
        """A bit of the product is thought as soon as it is final; those left on the tape come last."""
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

    def _add(self, w, p):
        """The first number, to the tape from the head on; pointer and head come back."""
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

    def _say_number(self, w, p):
        """0 for a second bit, whatever it is."""
        p.right()
        if p.read() in BITS:
            w.output("0")
        w.output("2")


class ComputeSqrt(Chomsky):
    """The square root of a binary number, rounded down: 100101 answers 110, 111 answers 10. About 1.8 n^2 tokens.

    Highest bit first, and half as many bits as the number has, rounded up. The root's bits come one after the other: of
    the remainder, which stands on the tape in place of the number's bits that are used up, and the next two bits, four
    times the root and 1 is subtracted on the way to the left. If that left a borrow, the bit is 0 and the way back to
    the right restores the remainder. The root is read where it is said. The last 8 tokens decide.
    """

    symbols = (*BITS, "odd", "even", "b0", "b1", "no", "yes")
    notes = symbols[2:]
    tools = ("pointer:1", f"tape:{' '.join((*BITS, *DONE, *TRIED))}")
    example = "100101"
    defaults = SLOW
    max_length = 3000

    def sample(self, length, rng):
        """A uniform number from 1."""
        return _number(length, rng)[::-1]

    def worst_cases(self, length):
        """Powers of two, all ones, and the squares of such roots, with their neighbours."""
        half = (length + 1) // 2
        roots = [2**half - 1, 2 ** (half - 1), 2 ** (half // 2), 2**half // 3]
        squares = [root * root + change for root in roots for change in (-1, 0, 1, 2 * root)]
        numbers = [1, 2, 2**length - 1, 2 ** (length - 1), 2**length // 3, *squares]
        return [list(f"{number:0{length}b}") for number in dict.fromkeys(numbers) if 0 < number < 2**length]

    def allows(self, prompt):
        """Not 0."""
        return "1" in prompt

    def answer(self, prompt):
        """By Python's own root."""
        return list(f"{math.isqrt(int(''.join(prompt), 2)):0{(len(prompt) + 1) // 2}b}")

    def solve(self, w):
        """Two bits at a time, of an odd number the first one alone: each pair gives a bit of the root."""
        root, tape = w.pointer(0), w.tape
        even = _is_even(w, root)
        w.answer()
        root.right()
        root.right()
        symbol = ""
        while symbol != self.blank:
            if symbol or even:
                tape.right()
            fits = _try(w, root)
            symbol = _settle(w, root, fits)
            w.output(BITS[fits])


def _is_even(w, p):
    """Whether the number has an even number of bits; leaves the pointer at the end."""
    even = True
    while p.read() != END:
        even = not even
        w.note("even" if even else "odd")
        p.right()
    return even


def _try(w, root):
    """Subtracts four times the root and 1, from the remainder's last cell to the left; whether it could be done.

    The pointer starts two beyond the root's last bit, for the first two bits to subtract are 01.
    """
    borrow = _subtract(w, root, 1)
    borrow = _subtract(w, root, borrow)
    while (bit := root.read()) != "[ANS]":
        borrow = _subtract(w, root, borrow + (bit == "1"))
    fits = w.tape.read() == "d1" or not borrow
    w.tape.write("d0")
    return fits


def _subtract(w, root, amount):
    """0, 1 or 2 from the cell under the head; returns the borrow, and goes one to the left."""
    old = int(w.tape.read() in ("1", "d1"))
    w.tape.write(f"{old}{(old - amount) % 2}")
    borrow = int(amount > old)
    w.note(f"b{borrow}")
    w.tape.left()
    root.left()
    return borrow


def _settle(w, root, fits):
    """Back to the right: each cell becomes what it was, or what it would be; returns the first symbol not used yet."""
    while True:
        w.note("yes" if fits else "no")
        w.tape.right()
        root.right()
        symbol = w.tape.read()
        if symbol not in TRIED:
            return symbol
        w.tape.write(f"d{symbol[fits]}")


def _to_second(second, behind, sign):
    """To the first bit of the second number; False, and to the end, if there is no second one."""
    while (symbol := second.read()) not in (sign, "="):
        behind.right()
        second.right()
    if symbol == "=":
        return False
    behind.right()
    second.right()
    return True


def _say_to_last_one(w, ahead, behind):
    """The bits that were thought behind the =, up to the last 1."""
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


def _number(length, rng):
    """A uniform number from 1 in so many bits, the lowest first."""
    return _bits(rng.randrange(1, 2**length), length)


def _repeat(text, length):
    return (text * length)[:length]


def _bits(number, length):
    return list(f"{number:0{length}b}"[::-1])

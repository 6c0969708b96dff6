"""The context-sensitive task of square roots, computed bit by bit with the remainder on the tape."""

from __future__ import annotations

import math

from tallystick.tasks.chomsky.base import END, SLOW, Chomsky
from tallystick.workspace import PointerHandle, Workspace

BITS = "01"
DONE = ("d0", "d1")
"""Symbols of the remainder's cells, with its bit."""
TRIED = ("00", "01", "10", "11")
"""Symbols of cells while a bit of the root is tried: the remainder's bit before and after subtraction."""


class ComputeSqrt(Chomsky):
    """The square root of a binary number, rounded down: 100101 answers 110, 111 answers 10. About 1.8 n^2 tokens.

    The highest bit comes first, and the root has half as many bits as the number, rounded up. It is found bit by bit.
    The remainder stands on the tape, in place of the bits of the number that are used up. From it and the next two
    bits, four times the root plus 1 is subtracted while moving left. If that leaves a borrow, the next bit of the root
    is 0, and moving back right restores the remainder. The pointer reads the root in the output. The last 8 tokens
    decide.
    """

    shape = "[01]*1[01]*"
    symbols = (*BITS, "odd", "even", "b0", "b1", "no", "yes")
    notes = symbols[2:]
    tools = ("pointer:1", f"tape:{' '.join((*BITS, *DONE, *TRIED))}")
    example = "100101"
    defaults = SLOW
    max_length = 3000

    def sample(self, length, rng):
        """Draw a positive uniform number."""
        return list(f"{rng.randrange(1, 2**length):0{length}b}")

    def worst_cases(self, length):
        """List powers of two, all ones, and squares of such roots, with their neighbours."""
        half = (length + 1) // 2
        roots = [2**half - 1, 2 ** (half - 1), 2 ** (half // 2), 2**half // 3]
        squares = [root * root + change for root in roots for change in (-1, 0, 1, 2 * root)]
        numbers = [1, 2, 2**length - 1, 2 ** (length - 1), 2**length // 3, *squares]
        return [list(f"{number:0{length}b}") for number in dict.fromkeys(numbers) if 0 < number < 2**length]

    def allows(self, prompt):
        """Return whether the number is not 0."""
        return "1" in prompt

    def answer(self, prompt):
        """Compute the root by math.isqrt."""
        return list(f"{math.isqrt(int(''.join(prompt), 2)):0{(len(prompt) + 1) // 2}b}")

    def solve(self, w):
        """Take two bits at a time, or first a single one if their number is odd; each pair gives a bit of the root."""
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


def _is_even(w: Workspace, p: PointerHandle) -> bool:
    """Walk to the end, and return whether the number of bits is even."""
    even = True
    while p.read() != END:
        even = not even
        w.note("even" if even else "odd")
        p.right()
    return even


def _try(w: Workspace, root: PointerHandle) -> bool:
    """Subtract four times the root plus 1, from the remainder's last cell to the left; return whether it fits.

    The pointer starts two cells after the root's last bit, since the first two bits to subtract are 01.
    """
    borrow = _subtract(w, root, 1)
    borrow = _subtract(w, root, borrow)
    while (bit := root.read()) != "[ANS]":
        borrow = _subtract(w, root, borrow + (bit == "1"))
    fits = w.tape.read() == "d1" or not borrow
    w.tape.write("d0")
    return fits


def _subtract(w: Workspace, root: PointerHandle, amount: int) -> int:
    """Subtract 0, 1 or 2 from the cell under the head, and go one to the left; return the borrow."""
    old = int(w.tape.read() in ("1", "d1"))
    w.tape.write(f"{old}{(old - amount) % 2}")
    borrow = int(amount > old)
    w.note(f"b{borrow}")
    w.tape.left()
    root.left()
    return borrow


def _settle(w: Workspace, root: PointerHandle, fits: bool) -> str:
    """Move back right, setting each cell to its old or new bit; return the first symbol not used yet."""
    while True:
        w.note("yes" if fits else "no")
        w.tape.right()
        root.right()
        symbol = w.tape.read()
        if symbol not in TRIED:
            return symbol
        w.tape.write(f"d{symbol[fits]}")

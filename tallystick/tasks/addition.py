"""Addition of two numbers (paper, section 4), 38 tokens per digit."""

from __future__ import annotations

from tallystick.tasks.base import Defaults, Task
from tallystick.tasks.numbers import DIGITS, NUMBER, VALUES, add, number, operands
from tallystick.workspace import PointerHandle, Workspace

CARRIES = ("c0", "c1")
"""Symbols of the carries, separate from digits so that the last sweep can tell them apart."""


class Addition(Task):
    """Add two numbers: 58+67= answers 125.

    `length` is the number of digits of each operand. Training draws the two lengths independently, from 1 to n, because
    a model trained on equal lengths cannot add 12 and 3 digits.

    Variants: `local` makes the last sweep with a fresh pointer and is decided by the last 7 tokens. `paper` re-uses
    pointer 1, whose first sweep looks the same. The others are ablations: `direct` has no tool and no thoughts, which
    no fixed state can do at every length (theorem 2.1; `tallystick theory bound`); `reversed` is `direct` with the
    lowest digit first; `calculator` makes a single call; `no-tool` is `local`, but the model must predict the
    pointers' answers itself.
    """

    symbols = (*DIGITS, "+", "=", *CARRIES)
    shape = rf"{NUMBER}\+{NUMBER}="
    tools = ("pointer:3",)
    variants = {
        "local": "solve",
        "paper": "solve_paper",
        "direct": "solve_direct",
        "reversed": "solve_direct",
        "calculator": "solve_calculator",
        "no-tool": "solve",
    }
    predicted = ("no-tool",)
    defaults = Defaults(train_length=5, check=(3, 5, 10, 20, 50))

    def __init__(self, options: str = "", variant: str | None = None):
        super().__init__(options, variant)
        self.tools = {"direct": (), "reversed": (), "calculator": ("calculator",)}.get(self.variant, self.tools)

    def sample(self, length, rng):
        """Draw two uniform numbers of exactly `length` digits."""
        return [*number(length, rng), "+", *number(length, rng), "="]

    def sample_up_to(self, length, rng):
        """Draw two uniform numbers, their lengths independently from 1 to `length`."""
        return [*number(rng.randint(1, length), rng), "+", *number(rng.randint(1, length), rng), "="]

    def worst_cases(self, length):
        """List problems without carries, with carries everywhere or at one end only, and with very unequal lengths."""
        nines, ones, zeros = "9" * length, "1" * length, "1" + "0" * (length - 1)
        pairs = [
            (nines, nines),
            (nines, "1"),
            ("1", nines),
            (zeros, zeros),
            (ones, ones),
            (nines, zeros),
            ("5" + zeros[1:], "5" + zeros[1:]),
            ("4" * length, "5" * length),
            ("4" * (length - 1) + "5", "5" * length),
            ("0", nines),
            (nines, "0"),
            ("9", zeros),
        ]
        return [[*a, "+", *b, "="] for a, b in pairs]

    def parse(self, text):
        """Parse "12+345", with or without the final =; leading zeros are dropped."""
        left, right = operands(text, "+", "sum", "123+456")
        return [*left, "+", *right, "="]

    def answer(self, prompt):
        """Compute the sum, digit by digit."""
        plus = prompt.index("+")
        total = add(prompt[:plus], prompt[plus + 1 : -1])
        return total[::-1] if self.variant == "reversed" else total

    def solve(self, w):
        """Add, then say the sum with a fresh pointer, whose last move shows whether it is going out or coming back."""
        self._add(w)
        p = w.pointer(2)
        while p.read() != "[ANS]":
            p.right()
        self._say_sum(w, p)

    def solve_paper(self, w):
        """Add, then move pointer 1 (the paper's second) on to [ANS], past the = where it turned back earlier."""
        self._add(w)
        p = w.pointer(1)
        p.right()
        while p.read() != "[ANS]":
            p.right()
        self._say_sum(w, p)

    def solve_calculator(self, w):
        """Copy both numbers into one call, and the sum from its answer."""
        plus = w.prompt.index("+")
        total = w.call("add", w.prompt[:plus], w.prompt[plus + 1 : -1])
        w.answer()
        w.output(*total)

    def _add(self, w: Workspace) -> None:
        """Move both pointers to the last digits, then think digit and carry until neither reads a digit.

        A pointer that has run out of digits stays in place and is read again at each step, so that the model sees this
        among the last tokens instead of having to remember it until the longer number ends.
        """
        left, right = w.pointer(0), w.pointer(1)
        while left.read() != "+":
            left.right()
        left.left()
        while right.read() != "=":
            right.right()
        right.left()
        carry = 0
        while True:
            a, b = left.read(), right.read()
            if a not in VALUES and b not in VALUES:
                break
            carry, digit = divmod(VALUES.get(a, 0) + VALUES.get(b, 0) + carry, 10)
            w.think(DIGITS[digit], CARRIES[carry])
            if a in VALUES:
                left.left()
            if b in VALUES:
                right.left()
        if carry:
            w.think("1")
        w.answer()

    def _say_sum(self, w: Workspace, p: PointerHandle) -> None:
        """Read the digits before [ANS] backwards, skipping the carries between them."""
        while True:
            p.left()
            symbol = p.read()
            if symbol == "=":
                return
            if symbol not in CARRIES:
                w.output(symbol)

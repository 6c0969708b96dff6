"""Addition of two numbers (paper, section 4), 38 tokens a digit."""

from __future__ import annotations

from tallystick.tasks.base import Defaults, Task

DIGITS = "0123456789"
CARRIES = ("c0", "c1")
"""Carries are symbols of their own, so that the last sweep knows them from digits by sight."""
VALUES = {digit: int(digit) for digit in DIGITS}


class Addition(Task):
    """Add two numbers: 58+67= answers 125.

    `length` is the number of digits of both operands; training draws the two lengths independently (1 to n each), for
    a model trained on equal lengths cannot add 12 and 3 digits. `local` sends a fresh pointer on the last sweep and
    is decided by the last 7 tokens; `paper` re-uses pointer 1, whose first sweep looks the same there. The others are
    ablations: `direct` has no tool and thinks nothing, what theorem 2.1 says no fixed state can do at every length
    (`tallystick theory bound`), `reversed` likewise with the last digit first, `calculator` calls one once, and
    `no-tool` is `local` with the pointers' answers to be predicted by the model.
    """

    symbols = (*DIGITS, "+", "=", *CARRIES)
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
        """Two uniform numbers of exactly `length` digits."""
        return [*_number(length, rng), "+", *_number(length, rng), "="]

    def sample_up_to(self, length, rng):
        """Two uniform numbers, their lengths drawn independently from 1..length."""
        return [*_number(rng.randint(1, length), rng), "+", *_number(rng.randint(1, length), rng), "="]

    def worst_cases(self, length):
        """No carry, carries all the way, a carry at the first or last digit alone, and very unequal lengths."""
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
        """ "12+345", with or without the closing =; leading zeros are dropped."""
        left, plus, right = text.replace(" ", "").removesuffix("=").partition("+")
        for operand in (left, right):
            if not plus or not operand or operand.strip(DIGITS):
                raise ValueError(f"{_short(text)!r} is not a sum; write two numbers of digits 0-9, as in 123+456")
        return [*(left.lstrip("0") or "0"), "+", *(right.lstrip("0") or "0"), "="]

    def answer(self, prompt):
        """The sum, digit by digit: Python's own int refuses 4,300 digits and takes quadratic time."""
        backwards = _sum_backwards(prompt)
        return backwards if self.variant == "reversed" else backwards[::-1]

    def solve(self, w):
        """The last sweep with a fresh pointer: whether it goes out or comes back is seen in its last move."""
        self._add(w)
        p = w.pointer(2)
        while p.read() != "[ANS]":
            p.right()
        self._say_sum(w, p)

    def solve_paper(self, w):
        """The paper's text: pointer 1 (its second) is moved on to [ANS], over the = where it once turned back."""
        self._add(w)
        p = w.pointer(1)
        p.right()
        while p.read() != "[ANS]":
            p.right()
        self._say_sum(w, p)

    def solve_calculator(self, w):
        """Both numbers copied into one call, the sum copied from its answer: a single turn."""
        plus = w.prompt.index("+")
        total = w.call("add", w.prompt[:plus], w.prompt[plus + 1 : -1])
        w.answer()
        w.output(*total)

    def _add(self, w):
        """Both pointers to the last digits, then digit and carry until both read no digit any more.

        One that has run out stays where it is and is read again at each step: that it has is then seen close by, where
        a model would otherwise have to remember it for as long as the longer number goes on.
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

    def _say_sum(self, w, p):
        """The digits lie reversed before [ANS], with carries between."""
        while True:
            p.left()
            symbol = p.read()
            if symbol == "=":
                return
            if symbol not in CARRIES:
                w.output(symbol)


def _sum_backwards(prompt):
    """The digits of the sum, the last one first."""
    plus = prompt.index("+")
    left, right = prompt[:plus][::-1], prompt[plus + 1 : -1][::-1]
    width = max(len(left), len(right))
    total, carry = [], 0
    for a, b in zip(left + ["0"] * (width - len(left)), right + ["0"] * (width - len(right)), strict=True):
        carry, digit = divmod(int(a) + int(b) + carry, 10)
        total.append(DIGITS[digit])
    return [*total, *(["1"] if carry else [])]


def _number(length, rng):
    """A uniform number of exactly `length` digits; 0 is a number of one digit."""
    first = rng.choice(DIGITS if length == 1 else DIGITS[1:])
    return [first, *rng.choices(DIGITS, k=length - 1)]


def _short(text):
    return text if len(text) <= 40 else text[:37] + "..."

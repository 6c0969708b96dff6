"""Multiplication of two numbers (paper, section 4): by one digit, by two, and by any number of digits.

The program says or reads again whatever it needs for longer than a few tokens: the multiplier's digit is read at each
step, carries are notes, and the last move of a pointer shows what it is doing. For 58*12= the memory after the prompt
then holds

    s 6 1 1            the first row, 58 * 2 = 116, lowest digit first and one digit longer than 58: the first sum


    + 8 5 0  s 9 6 0   each further row, 58 * 1 = 058, and its sum with the previous sum without its lowest digit,
                       which is final: 058 + 11 = 069

The answer is the last sum without its leading zero, 69, followed by the lowest digit of each earlier sum, which stands
next to the s: 696.
"""

from __future__ import annotations

from tallystick.tasks.base import Defaults, Task
from tallystick.tasks.numbers import DIGITS, NUMBER, POSITIVE, VALUES, multiply, number, operands, short
from tallystick.workspace import PointerHandle, Workspace

CARRYING = 5 * "0" + "".join(digit * int(digit) for digit in DIGITS)
"""Digits of the second number in training, each as often as it has carries to be learned."""
PRODUCT_CARRIES, SUM_CARRIES = tuple(f"c{c}" for c in range(9)), ("e0", "e1")


class Multiplication(Task):
    """Multiply two numbers: 58*12= answers 696. 31 tokens for each pair of digits, 13,000 for 20 digits by 20.

    `length` is the number of digits of each number; training draws the two lengths independently. The docstring of this
    file shows the program's memory; the last 7 tokens decide.
    """

    symbols = (*DIGITS, "*", "=", "+", "s", ".", ",", *PRODUCT_CARRIES, *SUM_CARRIES)
    shape = rf"0\*{NUMBER}=|{POSITIVE}\*(0=|{POSITIVE}=)"
    notes = (".", ",", *PRODUCT_CARRIES, *SUM_CARRIES)
    tools = ("pointer:4",)
    variants = {"local": "solve"}
    defaults = Defaults(train_length=5, check=(3, 5, 8, 12, 20), eval=(5, 10, 20, 50, 100))
    max_length = 3000
    digits: int | None = None
    """Number of digits of the second number; None for as many as the first has."""

    def sample(self, length, rng):
        """Draw two uniform numbers, the first of `length` digits."""
        return [*number(length, rng), "*", *number(self.digits or length, rng), "="]

    def sample_up_to(self, length, rng):
        """Draw the lengths independently from 1 to `length`, the second only if it is free.

        A digit d of the second number is drawn as often as it has carries to be learned, which are 0 to d - 1. Half
        of the one-digit first numbers are 0, for which the answer is immediate.
        """
        first, second = rng.randint(1, length), rng.randint(1, length)
        left = number(first, rng, DIGITS if first > 1 else 8 * "0" + DIGITS)
        return [*left, "*", *number(self.digits or second, rng, CARRYING), "="]

    def worst_cases(self, length):
        """List problems with carries everywhere or nowhere, zeros inside, at the end and alone, and sums of nines."""
        first = [unit * length for unit in "123456789"]
        first += [("45" * length)[:length], ("90" * length)[:length], ("09" * length)[-length:], "0"]
        first += ["1" + "0" * (length - 1), "9" + "0" * (length - 1), "3" * (length - 1) + "4"]
        pairs = [(a.lstrip("0") or "0", b) for a in first for b in self._seconds(length)]
        return [[*a, "*", *b, "="] for a, b in pairs]

    def _seconds(self, length: int) -> list[str]:
        """Return the second numbers of the worst cases: of full length, and short ones if the length is free."""
        digits = self.digits or length
        others = {1: ["0", *"2345678"], 2: ["19", "90"], None: ["0", "7", "10"]}[self.digits]
        return list(dict.fromkeys(["9" * digits, "1" * digits, "1" + "0" * (digits - 1), *others]))

    def parse(self, text):
        """Parse "123*45", with or without the final =; leading zeros are dropped."""
        left, right = operands(text, "*", "product", "123*45")
        if self.digits and len(right) != self.digits:
            left, right = right, left
        if self.digits and len(right) != self.digits:
            example = f"123*{'45'[: self.digits]}"
            raise ValueError(f"{short(text)!r}: {self.name} needs a number of {self.digits} digit(s), as in {example}")
        return [*left, "*", *right, "="]

    def answer(self, prompt):
        """Compute the product in blocks of digits."""
        times = prompt.index("*")
        return multiply(prompt[:times], prompt[times + 1 : -1])

    def solve(self, w):
        """Write a row for each digit of the second number, and its sum with the previous sum."""
        first, digit, before, row = (w.pointer(i) for i in range(4))
        if self._zero(w, first, digit):
            return
        digit.left()
        mark = "s"
        while digit.read() != "*":
            w.think(mark)
            self._row(w, first, digit)
            while (symbol := row.read()) not in ("+", "[EOS]"):
                row.right()
            if symbol == "+":  # the first row is its own sum, and none follows it
                w.think("s")
                self._sum(w, before, row)
            digit.left()
            mark = "+"
        w.answer()
        self._say_product(w, row)

    def _zero(self, w: Workspace, first: PointerHandle, digit: PointerHandle) -> bool:
        """Answer 0 if a number is 0, else move pointer `digit` to the =; return whether a number is 0."""
        zero = first.read() == "0"
        if not zero:
            _walk_on(digit, "*")
            digit.right()
            zero = digit.read() == "0"
        if zero:
            w.answer()
            w.output("0")
        else:
            _walk_on(digit, "=")
        return zero

    def _row(self, w: Workspace, first: PointerHandle, digit: PointerHandle) -> None:
        """Write the first number times the digit, with one digit more; read the digit at each step."""
        first.right()
        _walk(first, "*")
        w.note("c0")
        carry = 0
        while True:
            first.left()
            symbol = first.read()
            if symbol == "[BOS]":
                break
            carry, low = divmod(int(symbol) * int(digit.read()) + carry, 10)
            w.think(DIGITS[low])
            w.note(PRODUCT_CARRIES[carry])
        w.think(DIGITS[carry])
        w.note(".")

    def _sum(self, w: Workspace, before: PointerHandle, row: PointerHandle) -> None:
        """Add the row and the previous sum without its lowest digit, which is one digit shorter than the row."""
        _walk(before, "s")
        before.right()
        w.note("e0")
        carry, other = 0, ""
        while other != "+":
            row.right()
            total = int(row.read()) + carry
            before.right()
            other = before.read()
            if other != "+":
                total += int(other)
            carry, low = divmod(total, 10)
            w.think(DIGITS[low])
            w.note(SUM_CARRIES[carry])

    def _say_product(self, w: Workspace, p: PointerHandle) -> None:
        """Read leftwards from [ANS]; say the last sum without a leading zero, and the digit next to each other s.

        The notes keep nearby whether the next digit on the left will be said (,) or not (.).
        """
        _walk(p, "[ANS]")
        symbol, last = "[ANS]", True
        while symbol != "=":
            p.left()
            right, symbol = symbol, p.read()
            was_last, last = last, last and symbol in DIGITS
            if last:
                if (right, symbol) != ("[ANS]", "0"):
                    w.output(symbol)
                w.note(",")
            elif symbol == "s" and not was_last:
                w.output(right)
                w.note(".")

    def token_limit(self, prompt):
        """Return a limit proportional to the number of rows times the digits of each."""
        times = prompt.index("*")
        return 10_000 + 60 * (times + 4) * (len(prompt) - times + 4)


class Multiplication1(Multiplication):
    """Multiply by one digit: 58*7= answers 406. 25 tokens per digit of the first number, which has `length` digits.

    `local` reads the second number's digit again at each step, so the last 6 tokens decide. `paper` reads it once, at
    the beginning of a sweep through the first number (18 tokens per digit), says carries as thoughts, and re-uses
    pointer 1 for the answer, so the tokens that decide lie as far back as the number is long.
    """

    shape = rf"0\*[0-9]=|{POSITIVE}\*(0=|[1-9]=)"
    variants = {"local": "solve", "paper": "solve_paper"}
    defaults = Defaults(train_length=10, check=(3, 5, 10, 20, 50), eval=(10, 20, 100, 1000))
    max_length = 10_000_000
    digits = 1

    def __init__(self, options="", variant=None):
        super().__init__(options, variant)
        if self.variant == "paper":
            self.notes = ()  # its carries are thoughts

    def solve_paper(self, w):
        """Write the rows with carries, then their sum with carries; say it backwards with pointer 1."""
        first, second = w.pointer(0), w.pointer(1)
        if self._zero(w, first, second):
            return
        second.left()
        zeros = []
        while (digit := second.read()) != "*":
            if zeros:
                w.think("+", *zeros)
            _walk(first, "*")
            self._row_paper(w, first, int(digit))
            first.right()
            second.left()
            zeros.append("0")
        if len(zeros) > 1:
            self._sum_paper(w, first, second)
        w.answer()
        self._say_paper(w, second)

    def _row_paper(self, w: Workspace, first: PointerHandle, digit: int) -> None:
        carry = 0
        while True:
            first.left()
            symbol = first.read()
            if symbol == "[BOS]":
                break
            carry, low = divmod(int(symbol) * digit + carry, 10)
            w.think(DIGITS[low], PRODUCT_CARRIES[carry])
        if carry:
            w.think(DIGITS[carry])

    def _sum_paper(self, w: Workspace, first: PointerHandle, second: PointerHandle) -> None:
        """Add the two rows: pointer 0 reads the first, after the =, pointer 1 the second, after the +."""
        w.think("=")
        _walk(first, "=")
        _walk(second, "+")
        carry, upper, lower = 0, True, True  # whether each row has a digit left
        while True:
            a = _next_digit(first) if upper else ""
            b = _next_digit(second) if lower else ""
            upper, lower = a in VALUES, b in VALUES
            if not upper and not lower:
                break
            carry, low = divmod(carry + VALUES.get(a, 0) + VALUES.get(b, 0), 10)
            w.think(DIGITS[low], PRODUCT_CARRIES[carry])
        if carry:
            w.think("1")

    def _say_paper(self, w: Workspace, p: PointerHandle) -> None:
        _walk(p, "[ANS]")
        symbol = ""
        while symbol != "=":
            p.left()
            symbol = p.read()
            if symbol in DIGITS:
                w.output(symbol)


class Multiplication2(Multiplication1):
    """Multiply by two digits: 58*12= answers 696. 55 tokens per digit of the first number, which has `length` digits.

    The variants are those of multiplication-1; `paper` takes 57 tokens per digit.
    """

    shape = rf"0\*[1-9][0-9]=|{POSITIVE}\*[1-9][0-9]="
    digits = 2


def _walk(pointer: PointerHandle, symbol: str) -> None:
    """Move right until the pointer reads the symbol."""
    while pointer.read() != symbol:
        pointer.right()


def _walk_on(pointer: PointerHandle, symbol: str) -> None:
    """Move right, at least once, until the pointer reads the symbol."""
    pointer.right()
    _walk(pointer, symbol)


def _next_digit(pointer: PointerHandle) -> str:
    """Move right to the next symbol that is not a carry."""
    while True:
        pointer.right()
        symbol = pointer.read()
        if symbol not in PRODUCT_CARRIES:
            return symbol

"""Multiplication of two numbers (paper, section 4): by one digit, by two, and in full.

What a program must know for longer than a few tokens it says or reads again: the multiplier's digit is read at each
step, carries are notes, and what a pointer is doing is seen in its last move. The memory holds, after the prompt,

    s 4 8 3        the first row, lowest digit first: it is the first sum
    + 7 1 2 s 5 6  each further row, and its sum with the sum before, less that one's lowest digit, which is final

so the answer is the last sum and, from right to left, the lowest digit of each sum before it. 58*12= goes

    row 1 (by 2)   s 6 1 1                          116
    row 2 (by 1)   + 8 5      then the sum  s 9 6   58 + 11 = 69
    answer         6 9 6                            the last sum, then the 6 of the first
"""

from __future__ import annotations

from tallystick.tasks.base import Defaults, Task

DIGITS = "0123456789"
PRODUCT_CARRIES, SUM_CARRIES = tuple(f"c{c}" for c in range(9)), ("e0", "e1")


class Multiplication(Task):
    """Multiply two numbers: 58*12= answers 696; 30 tokens for each pair of digits.

    `length` is the number of digits of both; training draws the two lengths independently. The program is decided by
    the last 8 tokens: see the top of the file for what it writes.
    """

    symbols = (*DIGITS, "*", "=", "+", "s", ".", ",", *PRODUCT_CARRIES, *SUM_CARRIES)
    notes = (".", ",", *PRODUCT_CARRIES, *SUM_CARRIES)
    tools = ("pointer:4",)
    variants = {"local": "solve"}
    defaults = Defaults(train_length=5, check=(3, 5, 8, 12, 20), eval=(5, 10, 20, 50, 100))
    max_length = 3000
    digits: int | None = None
    """Digits of the second number; None: as many as the first."""

    def sample(self, length, rng):
        """Two uniform numbers: the first of `length` digits."""
        return [*_number(length, rng), "*", *_number(self.digits or length, rng), "="]

    def sample_up_to(self, length, rng):
        """The lengths drawn independently from 1..length; the second's only if it is free."""
        first, second = rng.randint(1, length), rng.randint(1, length)
        return [*_rough(first, rng), "*", *_rough(self.digits or second, rng), "="]

    def corners(self, length):
        """Carries everywhere and nowhere, zeros within, at the end and as a number, and sums that are all nines."""
        first = [unit * length for unit in "123456789"]
        first += [("45" * length)[:length], ("90" * length)[:length], ("09" * length)[-length:], "0"]
        first += ["1" + "0" * (length - 1), "9" + "0" * (length - 1), "3" * (length - 1) + "4"]
        pairs = [(a.lstrip("0") or "0", b) for a in first for b in self._seconds(length)]
        return [[*a, "*", *b, "="] for a, b in pairs]

    def _seconds(self, length):
        """Second numbers for the corners: full ones, and for free lengths very short ones too."""
        digits = self.digits or length
        full = [*("123456789" if digits == 1 else ()), "9" * digits, "1" * digits, "1" + "0" * (digits - 1)]
        return list(dict.fromkeys([*full, *(["0", "7", "10"] if self.digits is None else ["0"] if digits == 1 else [])]))

    def parse(self, text):
        """ "12*345", with or without the closing =; leading zeros are dropped."""
        left, times, right = text.replace(" ", "").removesuffix("=").partition("*")
        for operand in (left, right):
            if not times or not operand or operand.strip(DIGITS):
                raise ValueError(f"{_short(text)!r} is not a product; write two numbers of digits 0-9, as in 123*45")
        left, right = (operand.lstrip("0") or "0" for operand in (left, right))
        if self.digits and len(right) != self.digits:
            left, right = right, left
        if self.digits and len(right) != self.digits:
            raise ValueError(f"{_short(text)!r}: one of the two numbers must have {self.digits} digit(s)")
        return [*left, "*", *right, "="]

    def answer(self, prompt):
        """The product, digit by digit in blocks: Python's own int refuses to read or print more than 4,300 digits."""
        times = prompt.index("*")
        left, right = _blocks(prompt[:times]), _blocks(prompt[times + 1 : -1])
        total = [0] * (len(left) + len(right))
        for i, a in enumerate(left):
            carry = 0
            for j, b in enumerate(right):
                carry, total[i + j] = divmod(total[i + j] + a * b + carry, BASE)
            total[i + len(right)] = carry
        text = "".join(f"{block:0{BLOCK_DIGITS}}" for block in reversed(total))
        return list(text.lstrip("0") or "0")

    def solve(self, w):
        """A row for each digit of the second number, and its sum with the sum before."""
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
            if symbol == "+":  # not there after the first row, which is its own sum
                w.think("s")
                self._sum(w, before, row)
            digit.left()
            mark = "+"
        w.answer()
        self._say_product(w, row)

    def _zero(self, w, first, digit):
        """Answers 0 if a number is 0; leaves pointer `digit` on the = otherwise."""
        zero = first.read() == "0"
        if not zero:
            _walk(digit, "*")
            digit.right()
            zero = digit.read() == "0"
        if zero:
            w.answer()
            w.output("0")
        else:
            _walk_on(digit, "=")
        return zero

    def _row(self, w, first, digit):
        """The first number times the digit, which is read again at each step: always one digit more than the number."""
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

    def _sum(self, w, before, row):
        """The row and the sum before it less its lowest digit: one digit shorter, so that the row's last ends it."""
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

    def _say_product(self, w, p):
        """Leftwards from [ANS]: the last sum, less a leading zero; of each sum before, the digit beside its s.

        The notes keep in sight whether the digit on the left is to be said (,) or not (.).
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
        """Rows times digits."""
        times = prompt.index("*")
        return 10_000 + 60 * (times + 4) * (len(prompt) - times + 4)


class Multiplication1(Multiplication):
    """Multiply by one digit: 58*7= answers 406; 23 tokens a digit of the first number, whose length is `length`.

    `local` reads the digit again at each step and is decided by the last 8 tokens; `paper` (9 + 8 tokens a digit)
    reads it once, so that the program's head holds it over the whole sweep, and says carries as thoughts.
    """

    variants = {"local": "solve", "paper": "solve_paper"}
    defaults = Defaults(train_length=10, check=(3, 5, 10, 20, 50), eval=(10, 20, 100, 1000))
    max_length = 10_000_000
    digits = 1

    def __init__(self, options="", variant=None):
        super().__init__(options, variant)
        if self.variant == "paper":
            self.notes = ()  # there carries are thoughts

    def solve_paper(self, w):
        """The paper's text: rows with carries, then their sum with carries, which pointer 1 says backwards."""
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

    def _row_paper(self, w, first, digit):
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

    def _sum_paper(self, w, first, second):
        """Of the two rows: pointer 0 reads the first, behind the =, pointer 1 the second, behind the +."""
        w.think("=")
        _walk(first, "=")
        _walk(second, "+")
        carry, live = 0, [first, second]
        while True:
            symbols = [_next_digit(p) for p in live]
            live = [p for p, symbol in zip(live, symbols, strict=True) if symbol in DIGITS]
            if not live:
                break
            carry, low = divmod(carry + sum(int(symbol) for symbol in symbols if symbol in DIGITS), 10)
            w.think(DIGITS[low], PRODUCT_CARRIES[carry])
        if carry:
            w.think("1")

    def _say_paper(self, w, p):
        _walk(p, "[ANS]")
        symbol = ""
        while symbol != "=":
            p.left()
            symbol = p.read()
            if symbol in DIGITS:
                w.output(symbol)


class Multiplication2(Multiplication1):
    """Multiply by two digits: 58*12= answers 696; 50 tokens a digit of the first number, whose length is `length`.

    The variants are those of multiplication-1.
    """

    digits = 2


BLOCK_DIGITS = 9
BASE = 10**BLOCK_DIGITS


def _blocks(digits):
    """A number in base 10^9, lowest block first."""
    text = "".join(digits)
    return [int(text[max(0, end - BLOCK_DIGITS) : end]) for end in range(len(text), 0, -BLOCK_DIGITS)]


def _walk(pointer, symbol):
    """Right, until the pointer reads the symbol."""
    while pointer.read() != symbol:
        pointer.right()


def _walk_on(pointer, symbol):
    """The same, from a symbol that was just read."""
    pointer.right()
    _walk(pointer, symbol)


def _next_digit(pointer):
    """The next symbol on the right that is not a carry."""
    while True:
        pointer.right()
        symbol = pointer.read()
        if symbol not in PRODUCT_CARRIES:
            return symbol


def _number(length, rng, digits=DIGITS):
    """A number of exactly `length` of these digits; 0 is a number of one digit."""
    first = rng.choice(digits if length == 1 else digits.replace("0", "") or "1")
    return [first, *rng.choices(digits, k=length - 1)]


def _rough(length, rng):
    """Half of the time a number of few different digits: runs bring about the rare carries."""
    return _number(length, rng, rng.choice((DIGITS, "".join(rng.choices(DIGITS, k=2)))))


def _short(text):
    return text if len(text) <= 40 else text[:37] + "..."

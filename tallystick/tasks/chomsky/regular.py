"""The regular tasks: a state with few values is said as a note after each symbol, so that it never lies far back."""

from __future__ import annotations

from tallystick.tasks.chomsky.base import END, BitString, Chomsky

MODULUS = 5
DIGITS = "01234"
STEP = {"-1": -1, "0": 0, "1": 1}


class ParityCheck(BitString):
    """Is the number of ones odd? 1010100 answers 1, 01111 answers 0. 5 tokens per symbol.

    The note after each symbol is the parity so far; the last 5 tokens decide.
    """

    symbols = ("0", "1", "even", "odd")
    notes: tuple[str, ...] = ("even", "odd")
    example = "1010100"

    def answer(self, prompt):
        """Return the number of ones, modulo 2."""
        return [str(prompt.count("1") % 2)]

    def solve(self, w):
        """Walk to the end, noting the parity after each symbol."""
        p, odd = w.pointer(0), 0
        while (symbol := p.read()) != END:
            odd ^= symbol == "1"
            w.note(self.notes[odd])
            p.right()
        w.answer()
        w.output(str(odd))


class EvenPairs(ParityCheck):
    """Is the number of pairs 01 and 10 odd? 001110 answers 0, 0101001 answers 1. 5 tokens per symbol.

    The note after each symbol is the parity so far; the previous symbol is still nearby. The last 5 tokens decide.
    """

    example = "001110"

    def answer(self, prompt):
        """Return the number of differing neighbours, modulo 2."""
        return [str(sum(a != b for a, b in zip(prompt, prompt[1:], strict=False)) % 2)]

    def solve(self, w):
        """Walk to the end, noting the parity after each symbol."""
        p, odd, before = w.pointer(0), 0, ""
        while (symbol := p.read()) != END:
            odd ^= {before, symbol} == {"0", "1"}
            w.note(self.notes[odd])
            p.right()
            before = symbol
        w.answer()
        w.output(str(odd))


class CycleNavigation(Chomsky):
    """Where does a walk on a cycle of 5 places end? 1 -1 0 -1 -1 answers 3, 1 1 1 -1 answers 2. 5 tokens per symbol.

    The note after each step is the place; the last 5 tokens decide.
    """

    alphabet = tuple(STEP)
    symbols = (*STEP, *"234", *(f"at{place}" for place in DIGITS))
    notes: tuple[str, ...] = tuple(f"at{place}" for place in DIGITS)
    shape = "[<-1>01]+"
    example = "1 -1 0"

    def sample(self, length, rng):
        """Draw uniform steps."""
        return rng.choices(list(STEP), k=length)

    def worst_cases(self, length):
        """List walks of equal steps, and back and forth."""
        return [[step] * length for step in STEP] + [(["1", "-1"] * length)[:length]]

    def format(self, tokens):
        """Join the symbols by spaces, since they have up to two characters."""
        return " ".join(tokens)

    def answer(self, prompt):
        """Return the sum of the steps, modulo 5."""
        return [DIGITS[(prompt.count("1") - prompt.count("-1")) % MODULUS]]

    def solve(self, w):
        """Walk to the end, noting the place after each step."""
        p, place = w.pointer(0), 0
        while (symbol := p.read()) != END:
            place = (place + STEP[symbol]) % MODULUS
            w.note(self.notes[place])
            p.right()
        w.answer()
        w.output(DIGITS[place])


class ModularArithmetic(Chomsky):
    """The value of an expression modulo 5, products first: 1+2*3 answers 2, 1-1-1 answers 4. 5 tokens per symbol.

    The notes are the signed product so far, after each digit, and the sum of the terms so far, after each sign. The
    last 8 tokens decide. Expressions have odd lengths: as in the paper's code, an even `length` gives one symbol less.
    """

    alphabet = (*DIGITS, *"+-*")
    symbols = (*DIGITS, *"+-*", *(f"s{n}" for n in DIGITS), *(f"p{n}" for n in DIGITS))
    notes: tuple[str, ...] = (*(f"s{n}" for n in DIGITS), *(f"p{n}" for n in DIGITS))
    shape = r"[0-4]([+\-*][0-4])*"
    example = "1+2*3"

    def sample(self, length, rng):
        """Draw uniform digits and signs."""
        prompt = rng.choices(DIGITS, k=length)
        prompt[1::2] = rng.choices("+-*", k=length // 2)
        return prompt[: (length - 1) | 1]

    def worst_cases(self, length):
        """List one sign throughout, between large digits and between zeros, and mixed signs."""
        size = (length - 1) | 1
        pairs = ["4+", "4-", "4*", "0*", "0-", "2*3-", "1-4*", "3+2*2-"]
        return [list((pair * size)[:size]) for pair in pairs]

    def allows(self, prompt):
        """Return whether digits and signs alternate."""
        digits = {*prompt[::2]} <= {*DIGITS}
        return len(prompt) % 2 == 1 and digits and {*prompt[1::2]} <= {*"+-*"}

    def answer(self, prompt):
        """Compute the sum of the terms, each of which is a product."""
        terms = "".join(prompt).replace("-", "+-").split("+")
        return [DIGITS[sum(_product(term) for term in terms) % MODULUS]]

    def solve(self, w):
        """Walk to the end with a sum and a product; a sign other than *, or the end, adds the product to the sum."""
        p, total, product, sign = w.pointer(0), 0, 0, "+"
        while sign != END:
            digit = int(p.read())
            product = product * digit if sign == "*" else -digit if sign == "-" else digit
            product %= MODULUS
            w.note(f"p{product}")
            p.right()
            sign = p.read()
            total = total if sign == "*" else (total + product) % MODULUS
            w.note(f"s{total}")
            p.right()
        w.answer()
        w.output(DIGITS[total])


def _product(term: str) -> int:
    """Evaluate a term such as "-2*3" modulo 5."""
    value = -1 if term.startswith("-") else 1
    for digit in term.removeprefix("-").split("*"):
        value = value * int(digit) % MODULUS
    return value

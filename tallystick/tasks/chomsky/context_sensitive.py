"""The context-sensitive tasks on strings, whose programs use a separate pointer for each purpose."""

from __future__ import annotations

from tallystick.tasks.chomsky.base import END, BitString, Chomsky, worst_bits

ANS = "[ANS]"
"""Symbol that a pointer reads after the prompt once the answer has begun."""


class DuplicateString(BitString):
    """Say a bit string twice: 101 answers 101101, 0011 answers 00110011. 9 tokens per symbol; the last 3 decide."""

    tools = ("pointer:2",)
    example = "101"

    def answer(self, prompt):
        """Return the bits twice."""
        return prompt * 2

    def solve(self, w):
        """Copy the bits, each time with another pointer."""
        w.answer()
        for p in (w.pointer(0), w.pointer(1)):
            while (symbol := p.read()) != ANS:
                w.output(symbol)
                p.right()


class MissingDuplicate(Chomsky):
    """Find the bit of a doubled string that 2 hides: 01100210 answers 1, 1011213 answers 0. 5 tokens per symbol.

    An odd length ends in 3; length 1 is the bit 1, which is its own answer. Pointer 0 takes one step for every two of
    pointer 1, and so finds the second copy; then pointer 2 goes through the first in step with it. The last 4 tokens
    decide.
    """

    alphabet = "0123"
    symbols = alphabet
    shape = "1|[01]*2[01]*3?"
    tools = ("pointer:3",)
    example = "1011213"

    def sample(self, length, rng):
        """Draw uniform bits, and hide one at a uniform place."""
        if length == 1:
            return ["1"]
        half = rng.choices("01", k=length // 2)
        return _hide(half, rng.randrange(2 * len(half)), length)

    def worst_cases(self, length):
        """List constant, alternating and nearly constant bits, hidden at the ends and in the middle of either copy."""
        if length == 1:
            return [["1"]]
        half = length // 2
        places = dict.fromkeys((0, half // 2, half - 1, half, half + half // 2, 2 * half - 1))
        return [_hide(bits, place, length) for bits in worst_bits(half) for place in places]

    def allows(self, prompt):
        """Return whether these are two halves that are equal except for one 2."""
        text = "".join(prompt)
        if text == "1":
            return True
        half = len(text) // 2
        first, second, rest = text[:half], text[half : 2 * half], text[2 * half :]
        alike = all(a == b or "2" in (a, b) for a, b in zip(first, second, strict=True))
        return alike and (first + second).count("2") == 1 and "3" not in first + second and rest in ("", "3")

    def answer(self, prompt):
        """Return the bit at the same place of the other copy."""
        half = len(prompt) // 2
        return [prompt[(prompt.index("2") + half) % (2 * half)]] if "2" in prompt else ["1"]

    def solve(self, w):
        """Find the middle, then compare the copies."""
        second, ahead, first = (w.pointer(i) for i in range(3))
        while ahead.read() not in ("3", END):
            second.right()
            ahead.right()
            ahead.right()
        while True:
            a, b = first.read(), second.read()
            if "2" in (a, b) or b == END:
                break
            first.right()
            second.right()
        w.answer()
        w.output(b if a == "2" else a)


class OddsFirst(BitString):
    """Say the bits at odd places, then the others: 00110101 answers 01110100, 110 answers 110. 8 tokens per symbol.

    Places count from 0, as in the paper's code (its text counts from 1). A pointer for each half reads every symbol, so
    that it does not run past the end of the input, and says every second one; the last 5 tokens decide.
    """

    tools = ("pointer:2",)
    example = "00110101"

    def answer(self, prompt):
        """Return the bits at odd places, then those at even ones."""
        return prompt[1::2] + prompt[::2]

    def solve(self, w):
        """Say every second symbol: pointer 0 skips the first, pointer 1 says it."""
        w.answer()
        for p, said in ((w.pointer(0), False), (w.pointer(1), True)):
            while (symbol := p.read()) != ANS:
                if said:
                    w.output(symbol)
                said = not said
                p.right()


class BucketSort(Chomsky):
    """Sort digits 0-4: 10204112 answers 00111224, 1110001 answers 0001111. 17 tokens per symbol.

    Each of five pointers goes through the input and says one of the digits; the last 3 tokens decide.
    """

    alphabet = "01234"
    symbols = alphabet
    shape = "[0-4]+"
    tools = ("pointer:5",)
    example = "10204112"

    def sample(self, length, rng):
        """Draw uniform digits."""
        return rng.choices(self.alphabet, k=length)

    def worst_cases(self, length):
        """List constant, cyclic, sorted and reversed digits, and some that are missing digits."""
        rising = [self.alphabet[5 * i // length] for i in range(length)]
        texts = [digit * length for digit in self.alphabet]
        texts += [(turn * length)[:length] for turn in ("01234", "43210", "04", "10", "31")]
        return [list(text) for text in (*texts, rising, rising[::-1])]

    def answer(self, prompt):
        """Return the sorted digits."""
        return sorted(prompt)

    def solve(self, w):
        """Sweep once for each digit."""
        w.answer()
        for i, digit in enumerate(self.alphabet):
            p = w.pointer(i)
            while (symbol := p.read()) != ANS:
                if symbol == digit:
                    w.output(digit)
                p.right()


def _hide(half: list[str], place: int, length: int) -> list[str]:
    """Return the string twice, with 2 at the place, and 3 at the end if the length is odd."""
    twice = half * 2
    twice[place] = "2"
    return [*twice, *"3" * (length % 2)]

"""Small tasks whose programs are written without regard for locality, for the tests of notes."""

from tallystick import Defaults, Task

DIGITS = "0123456789"
HEX_DIGITS = "0123456789abcdef"


class Parity(Task):
    """Is the number of ones odd?"""

    symbols = "01="
    tools = ("pointer:1",)
    defaults = Defaults(train_length=6, check=(4, 8, 16))

    def sample(self, length, rng):
        return [*rng.choices("01", k=length), "="]

    def answer(self, prompt):
        return [str(prompt.count("1") % 2)]

    def solve(self, w):
        p, odd = w.pointer(0), 0
        while (symbol := p.read()) != "=":
            odd ^= symbol == "1"
            p.right()
        w.answer()
        w.output(str(int(odd)))


class Hesitant(Parity):
    """A task whose program has no value before the first 1, though even would do."""

    def solve(self, w):
        p, odd = w.pointer(0), None
        while (symbol := p.read()) != "=":
            odd = 1 - (odd or 0) if symbol == "1" else odd
            p.right()
        w.answer()
        w.output(str(odd or 0))


class Nested(Parity):
    """A program with bounded recursion, closures, a comprehension, a generator, and a method in a local."""

    def solve(self, w):
        p = w.pointer(0)
        move = p.right
        odd = [0]

        def flip(times):
            if times:
                odd[0] ^= 1
                flip(times - 1)

        def symbols():
            while (symbol := p.read()) != "=":
                yield symbol
                move()

        for symbol in symbols():
            flip([int(x) for x in symbol][0])
        w.answer()
        w.output(str(odd[0]))


class Recursive(Parity):
    """A program whose recursion is as deep as the problem is long."""

    def solve(self, w):
        odd = self._rest(w.pointer(0))
        w.answer()
        w.output(str(odd))

    def _rest(self, p):
        symbol = p.read()
        if symbol == "=":
            return 0
        p.right()
        return self._rest(p) ^ int(symbol)


class Listing(Parity):
    """A program with the whole problem in a local."""

    def solve(self, w):
        p, seen = w.pointer(0), []
        while (symbol := p.read()) != "=":
            seen.append(symbol)
            p.right()
        w.answer()
        w.output(str(seen.count("1") % 2))


class Late(Parity):
    """A program that reaches a state to which no problem of the training length leads."""

    def solve(self, w):
        p, odd, far = w.pointer(0), 0, 0
        while (symbol := p.read()) != "=":
            odd, far = odd ^ (symbol == "1"), min(far + 1, 8)
            p.right()
            odd += 2 * (far == 8 and odd < 2)
        w.answer()
        w.output(str(int(odd % 2)))


class PromptReader(Parity):
    """A program that asks no tool but reads the whole prompt."""

    def solve(self, w):
        w.answer()
        w.output(str(w.prompt.count("1") % 2))


class LatePromptReader(Parity):
    """A program that asks the pointer only for the end of the prompt."""

    def solve(self, w):
        p = w.pointer(0)
        while p.read() != "=":
            p.right()
        w.answer()
        w.output(str(w.prompt.count("1") % 2))


class LastLetter(Parity):
    """The last letter of the alphabet in the prompt; the program keeps one of 26 symbols."""

    symbols = "abcdefghijklmnopqrstuvwxyz="

    def sample(self, length, rng):
        return [*rng.choices(self.symbols[:-1], k=length), "="]

    def answer(self, prompt):
        return [max(prompt[:-1])]

    def solve(self, w):
        p, largest = w.pointer(0), "a"
        while (symbol := p.read()) != "=":
            largest = max(symbol, largest)
            p.right()
        w.answer()
        w.output(largest)


class Ends(LastLetter):
    """The first letter; the program also finds the last one."""

    def answer(self, prompt):
        return prompt[:1]

    def solve(self, w):
        first, _ = self._ends(w.pointer(0))
        w.answer()
        w.output(first)

    def _ends(self, p):
        first = last = p.read()
        p.right()
        while (symbol := p.read()) != "=":
            last = symbol
            p.right()
        return first, last


class Keeper(Task):
    """A fold over digits whose program keeps one of few values.

    Its random problems are so long that the last few digits nearly always give the answer.
    """

    symbols = (*DIGITS, "=")
    tools = ("pointer:1",)
    min_length = 20
    defaults = Defaults(train_length=30, check=(20, 30, 60))
    start = ""

    def sample(self, length, rng):
        return [*rng.choices(DIGITS, k=length), "="]

    def fold(self, kept, digit):
        raise NotImplementedError

    def answer(self, prompt):
        kept = self.start
        for digit in prompt[:-1]:
            kept = self.fold(kept, digit)
        return [kept]

    def solve(self, w):
        p, kept = w.pointer(0), self.start
        while (symbol := p.read()) != "=":
            kept = self.fold(kept, symbol)
            p.right()
        w.answer()
        w.output(kept)


class Largest(Keeper):
    """The largest digit."""

    def fold(self, kept, digit):
        return max(kept, digit)


class Smallest(Keeper):
    """The smallest of sixteen digits."""

    symbols = (*HEX_DIGITS, "=")
    start = "f"

    def sample(self, length, rng):
        return [*rng.choices(HEX_DIGITS, k=length), "="]

    def fold(self, kept, digit):
        return min(kept, digit)


class LastOddDigit(Keeper):
    """The last odd digit, or 0 if there is none."""

    start = "0"

    def fold(self, kept, digit):
        return digit if int(digit) % 2 else kept


class CountModulo3(Keeper):
    """The number of sevens, modulo 3."""

    start = "0"

    def fold(self, kept, digit):
        return str((int(kept) + (digit == "7")) % 3)

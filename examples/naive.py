"""Two programs written without a thought for what a model of fixed state can remember.

tallystick check examples/naive.py:Larger               # not local: a variable holds the verdict so far
tallystick check examples/naive.py:Larger --annotate    # local and covered: notes say the verdict
tallystick check examples/naive.py:Majority --annotate  # refused: it counts, and notes cannot say ever larger numbers
"""

from tallystick import Task


class Larger(Task):
    """Which of two numbers of equal length is larger?  21?19= answers >: the first."""

    symbols = "0123456789?=<>"
    tools = ("pointer:2",)

    def sample(self, length, rng):
        """Draw two numbers; half of the time equal in their first digits, as random ones hardly ever are."""
        first, second = (rng.choices("0123456789", k=length) for _ in range(2))
        if rng.random() < 0.5:
            same = rng.randint(0, length)
            second[:same] = first[:same]
        return [*first, "?", *second, "="]

    def worst_cases(self, length):
        """Equal numbers, and numbers that differ in the first or the last digit alone."""
        a, high, low = "5" * length, "9" + "5" * (length - 1), "5" * (length - 1) + "1"
        return [[*x, "?", *y, "="] for x, y in [(a, a), (a, high), (high, a), (a, low), (low, a)]]

    def answer(self, prompt):
        """Compare as strings: of equal length, numbers are ordered like their digits."""
        middle = prompt.index("?")
        first, second = prompt[:middle], prompt[middle + 1 : -1]
        return [">" if first > second else "<" if first < second else "="]

    def solve(self, w):
        """Compare from the last digit to the first: a digit that differs outweighs all those before."""
        left, right = w.pointer(0), w.pointer(1)
        for pointer, end in ((left, "?"), (right, "=")):
            while pointer.read() != end:
                pointer.right()
            pointer.left()
        verdict = "="
        while (a := left.read()) != "[BOS]":
            b = right.read()
            if a != b:
                verdict = ">" if a > b else "<"
            left.left()
            right.left()
        w.answer()
        w.output(verdict)


class Majority(Task):
    """Is there more of a or of b?  aab= answers a; a tie answers =."""

    symbols = "ab="

    def sample(self, length, rng):
        """Draw letters."""
        return [*rng.choices("ab", k=length), "="]

    def answer(self, prompt):
        """Count both letters."""
        lead = prompt.count("a") - prompt.count("b")
        return ["a" if lead > 0 else "b" if lead < 0 else "="]

    def solve(self, w):
        """Keep a count in a variable, which grows with the problem."""
        p, lead = w.pointer(0), 0
        while (symbol := p.read()) != "=":
            lead += 1 if symbol == "a" else -1
            p.right()
        w.answer()
        w.output("a" if lead > 0 else "b" if lead < 0 else "=")

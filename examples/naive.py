"""Programs written with no thought of what a small-state model can see.

tallystick check examples/naive.py:Larger               # the verdict so far is in a local: not local
tallystick check examples/naive.py:Larger --annotate    # said in notes: local, and covered
tallystick check examples/naive.py:Majority --annotate  # refused: it counts, and no note can say ever larger numbers
"""

from tallystick import Task


class Larger(Task):
    """Which of two numbers of one length is larger?  21?19= answers >, for it is the first."""

    symbols = "0123456789?=<>"
    tools = ("pointer:2",)

    def sample(self, length, rng):
        """Two numbers; half of the time they differ late or not at all, as random ones hardly ever do."""
        first, second = (rng.choices("0123456789", k=length) for _ in range(2))
        if rng.random() < 0.5:
            same = rng.randint(0, length)
            second[:same] = first[:same]
        return [*first, "?", *second, "="]

    def worst_cases(self, length):
        """Equal, and different in the first or the last digit alone."""
        a, high, low = "5" * length, "9" + "5" * (length - 1), "5" * (length - 1) + "1"
        return [[*x, "?", *y, "="] for x, y in [(a, a), (a, high), (high, a), (a, low), (low, a)]]

    def answer(self, prompt):
        """Numbers of one length compare like their digits."""
        middle = prompt.index("?")
        first, second = prompt[:middle], prompt[middle + 1 : -1]
        return [">" if first > second else "<" if first < second else "="]

    def solve(self, w):
        """From the last digit to the first: each digit that differs outweighs all before."""
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
    """Are there more a or more b?  aab= answers a; as many of both answer =."""

    symbols = "ab="

    def sample(self, length, rng):
        """Letters."""
        return [*rng.choices("ab", k=length), "="]

    def answer(self, prompt):
        """By counting."""
        lead = prompt.count("a") - prompt.count("b")
        return ["a" if lead > 0 else "b" if lead < 0 else "="]

    def solve(self, w):
        """By counting, too: the lead grows with the problem."""
        p, lead = w.pointer(0), 0
        while (symbol := p.read()) != "=":
            lead += 1 if symbol == "a" else -1
            p.right()
        w.answer()
        w.output("a" if lead > 0 else "b" if lead < 0 else "=")

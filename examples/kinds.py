"""Five tasks of different kinds, as docs/tasks.md explains them.

tallystick check examples/kinds.py:Largest
tallystick train examples/kinds.py:Largest --out runs/largest
"""

from tallystick import Defaults, Task


class Largest(Task):
    """Find the largest digit.  3141= answers 4."""

    symbols = ("0", "1", "2", "3", "4", "=", *(f"max{d}" for d in "01234"))
    notes = tuple(f"max{d}" for d in "01234")
    tools = ("pointer:1",)

    def sample(self, length, rng):
        return [*rng.choices("01234", k=length), "="]

    def answer(self, prompt):
        return [max(prompt[:-1])]

    def solve(self, w):
        p, largest = w.pointer(0), "0"
        while (digit := p.read()) != "=":
            largest = max(largest, digit)
            w.note(f"max{largest}")
            p.right()
        w.answer()
        w.output(largest)


class Flip(Task):
    """Flip every bit on the tape.  0110 answers 1001."""

    symbols = "01"
    tools = ("tape:01",)

    def sample(self, length, rng):
        return rng.choices("01", k=length)

    def answer(self, prompt):
        return ["10"[int(bit)] for bit in prompt]

    def solve(self, w):
        w.answer()
        while (bit := w.tape.read()) != "[_]":
            w.output("10"[int(bit)])
            w.tape.right()


class PhoneBook(Task):
    """Look a name up.  a=3⏎b=7⏎?b> answers 7 (⏎ is a line break)."""

    symbols = (*"abcdefghijklmnopqrstuvwxyz", *"0123456789", "=", "?", ">", "\n")
    tools = ("pointer:1", "search")
    max_length = 26
    defaults = Defaults(train_length=10, check=(3, 5, 10, 20), eval=(10, 20, 26))

    def sample(self, length, rng):
        names = rng.sample("abcdefghijklmnopqrstuvwxyz", length)
        lines = [symbol for name in names for symbol in (name, "=", rng.choice("0123456789"), "\n")]
        return [*lines, "?", rng.choice(names), ">"]

    def answer(self, prompt):
        return [prompt[prompt.index(prompt[-2]) + 2]]

    def solve(self, w):
        p = w.pointer(0)
        while p.read() != "?":
            p.right()
        p.right()
        (line,) = w.find(p.read(), "=")
        w.answer()
        w.output(line[2])


class Robot(Task):
    """Follow the orders around a square.  left right right answers north, east, south or west."""

    symbols = ("left", "right", "end", "north", "east", "south", "west")
    tools = ("pointer:1",)

    def sample(self, length, rng):
        return [*rng.choices(("left", "right"), k=length), "end"]

    def answer(self, prompt):
        turns = prompt.count("right") - prompt.count("left")
        return [self.symbols[3 + turns % 4]]

    def solve(self, w):
        p, heading = w.pointer(0), 0
        w.think("north")
        while (order := p.read()) != "end":
            heading = (heading + (1 if order == "right" else -1)) % 4
            w.think(self.symbols[3 + heading])
            p.right()
        w.answer()
        w.output(self.symbols[3 + heading])

    def parse(self, text):
        words = text.split()
        if not words or not {*words} <= {"left", "right"}:
            raise ValueError(f"{text!r} is not a list of orders; write left and right, as in 'left right right'")
        return [*words, "end"]

    def format(self, tokens):
        return " ".join(tokens)


class Brackets(Task):
    """Are the brackets balanced?  (()) answers y, )( answers n."""

    symbols = "()=yn"
    tools = ("pointer:1", "tape:(")

    def tape(self, prompt):
        return ["[_]"], 0

    def sample(self, length, rng):
        """Balanced, and half of the time with one bracket turned round."""
        drawn, depth = [], 0
        for left in range(2 * length, 0, -1):
            up = depth == 0 or (depth < left and rng.random() < 0.5)
            drawn.append("(" if up else ")")
            depth += 1 if up else -1
        if rng.random() < 0.5:
            i = rng.randrange(2 * length)
            drawn[i] = "()"[drawn[i] == "("]
        return [*drawn, "="]

    def answer(self, prompt):
        depth = 0
        for symbol in prompt[:-1]:
            depth += 1 if symbol == "(" else -1
            if depth < 0:
                return ["n"]
        return ["y" if depth == 0 else "n"]

    def solve(self, w):
        p, tape = w.pointer(0), w.tape
        while (symbol := p.read()) != "=":
            if symbol == "(":
                tape.right()
                tape.write("(")
            else:
                if tape.read() != "(":
                    break
                tape.left()
            p.right()
        w.answer()
        w.output("n" if symbol == ")" or tape.read() == "(" else "y")

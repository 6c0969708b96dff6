"""A task of your own: one file, no edit elsewhere.

tallystick check examples/my_task.py:Reverse
tallystick train examples/my_task.py:Reverse
"""

from tallystick import Task


class Reverse(Task):
    """Reverse a bit string.  101> answers 101 backwards."""

    symbols = "01>"  # token strings beyond the tools' own
    tools = ("pointer:1",)  # one pointer into everything said so far

    def sample(self, length, rng):
        """A problem of complexity exactly `length`."""
        return [*rng.choices("01", k=length), ">"]

    def answer(self, prompt):
        """The ground truth, independent of the program."""
        return prompt[-2::-1]

    def solve(self, w):
        """The program: it sees the problem only through its pointer."""
        p = w.pointer(0)
        while p.read() != ">":
            p.right()
        w.answer()
        while True:
            p.left()
            symbol = p.read()
            if symbol == "[BOS]":
                break
            w.output(symbol)

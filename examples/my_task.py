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
        """Draw a problem of complexity exactly `length`."""
        return [*rng.choices("01", k=length), ">"]

    def answer(self, prompt):
        """Compute the ground truth, independent of the program."""
        return prompt[-2::-1]

    def solve(self, w):
        """Solve the problem, which is seen only through the pointer."""
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

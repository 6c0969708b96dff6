"""Reverse a bit string."""

from __future__ import annotations

from tallystick.tasks.base import Defaults, Task


class Reverse(Task):
    """Reverse a bit string: 101> answers 101 backwards, 1101> answers 1011.

    `direct` has no tool: to answer n bits, a model's state must hold n bits (`tallystick theory bound reverse`).
    """

    symbols = "01>"
    shape = "[01]+>"
    tools = ("pointer:1",)
    variants = {"default": "solve", "direct": "solve_direct"}
    defaults = Defaults(train_length=10, check=(6, 10, 20, 40, 100))

    def __init__(self, options: str = "", variant: str | None = None):
        super().__init__(options, variant)
        if self.variant == "direct":
            self.tools = ()

    def sample(self, length, rng):
        """Draw `length` bits, then >."""
        return [*rng.choices("01", k=length), ">"]

    def worst_cases(self, length):
        """List constant and alternating bits."""
        return [[*bits, ">"] for bits in ("0" * length, "1" * length, ("01" * length)[:length])]

    def parse(self, text):
        """Parse bits, with or without the final >."""
        bits = text.removesuffix(">")
        if ">" in bits:
            raise ValueError(f"{text!r} is not a bit string; write 0 and 1, as in 1101")
        return [*super().parse(bits), ">"]

    def answer(self, prompt):
        """Return the bits in reverse order."""
        return prompt[-2::-1]

    def solve(self, w):
        """Walk to the end, then back, saying each bit."""
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

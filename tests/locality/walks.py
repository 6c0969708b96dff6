"""A task to be varied: a program that holds a value in a local while it walks over the prompt."""

from tallystick import Task


class Walk(Task):
    """Walk over the prompt once with a value in a local, and say it at the end."""

    symbols = "012="
    drawn = ""
    """The symbols that are drawn; by default all but the =."""
    start = ""

    def draw(self, length, rng):
        return rng.choices(self.drawn or self.symbols[:-1], k=length)

    def sample(self, length, rng):
        return [*self.draw(length, rng), "="]

    def answer(self, prompt):
        kept = self.start
        for symbol in prompt[:-1]:
            kept = self.keep(kept, symbol)
        return [self.say(kept)]

    def solve(self, w):
        p, kept = w.pointer(0), self.start
        while (symbol := p.read()) != "=":
            kept = self.keep(kept, symbol)
            p.right()
        w.answer()
        w.output(self.say(kept))

    def say(self, kept):
        return kept

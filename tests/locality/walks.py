"""A task to be varied: a program that holds a value in a local while it walks over the prompt."""

from tallystick import Task
from tallystick.tasks import Defaults


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


class Pin(Walk):
    """Whether the prompt ends in a certain word of 12 letters: local, though no sample shows it."""

    symbols = "ab="
    shape = "[ab]+="
    word = "abaabbabaaab"
    defaults = Defaults(train_length=4, check=(3, 4, 6))

    def keep(self, kept, symbol):
        kept += symbol
        while not self.word.startswith(kept):
            kept = kept[1:]
        return kept

    def say(self, kept):
        return "b" if kept == self.word else "a"

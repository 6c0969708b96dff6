"""Random programs: phases in which a pointer or the tape's head walks until a stop, saying what a table has for it."""

import itertools
import random

from tallystick import Defaults, Task

SYMBOLS = ("a", "b", ">", "x", "[BOS]", "[EOS]", "[ANS]", "[_]")
"""All that a program may read."""
STATES = 2


class Generated(Task):
    """A program of three to five phases, with two pointers and a tape, that reads what it has said, too.

    It ends on every prompt: it walks left, or right without saying anything, or right to the end of the prompt. After
    some walks it goes further without looking, out of the memory.
    """

    symbols = "abx>"
    shape = "[ab]+>"
    tools = ("pointer:2", "tape")
    defaults = Defaults(train_length=3, check=(1, 2, 3))

    def __init__(self, seed):
        super().__init__()
        self.rng = random.Random(seed)
        self.phases = tuple((*phase, self.rng.choice((0, 0, 1, 2))) for phase in self._phases())
        del self.rng

    def _phases(self):
        at, phases = ["begin", "begin"], []
        for _ in range(self.rng.randint(3, 5)):
            which = self.rng.choice((0, 0, 0, 1, 1, "tape"))
            if which == "tape":
                phases.append((which, self.rng.choice((True, False)), "[_]", self._table(True, True)))
            elif at[which] == "begin" and self.rng.random() < 0.6:
                at[which] = "middle"
                phases.append((which, True, ">", self._table(True, False)))
            elif at[which] == "end" or self.rng.random() < 0.6:
                at[which] = "begin"
                phases.append((which, False, "[BOS]", self._table(True, False)))
            else:
                at[which] = "end"
                phases.append((which, True, "[EOS]", self._table(False, False)))
        return phases

    def _table(self, says, writes):
        """Return for each state and symbol what is said, the next state, and what is written."""
        said = ("", "", "a", "b", "x") if says else ("",)
        written = "abx" if writes else ("",)
        cases = itertools.product(range(STATES), SYMBOLS)
        return {case: (self.rng.choice(said), self.rng.randrange(STATES), self.rng.choice(written)) for case in cases}

    def sample(self, length, rng):
        return [*rng.choices("ab", k=length), ">"]

    def answer(self, prompt):
        """Run the phases on lists, without any tool."""
        memory, tape, at, state, output = [*prompt], dict(enumerate(prompt)), {0: 0, 1: 0, "tape": 0}, 0, []
        for number, (which, right, stop, table, further) in enumerate(self.phases):
            last = number == len(self.phases) - 1
            memory += ["[ANS]"] if last else []
            while (symbol := read(memory, tape, which, at[which])) != stop:
                said, state, written = table[state, symbol]
                memory += said
                output += said if last else ""
                if written:
                    tape[at[which]] = written
                at[which] += 1 if right else -1
            at[which] += further if right else -further
        return output

    def solve(self, w):
        phase = state = 0
        while phase < len(self.phases):
            which, right, stop, table, further = self.phases[phase]
            if phase == len(self.phases) - 1:
                w.answer()
            tool = w.tape if which == "tape" else w.pointer(which)
            while (symbol := tool.read()) != stop:
                said, state, written = table[state, symbol]
                if said and phase == len(self.phases) - 1:
                    w.output(said)
                elif said:
                    w.think(said)
                if written:
                    w.tape.write(written)
                if right:
                    tool.right()
                else:
                    tool.left()
            while further:
                if right:
                    tool.right()
                else:
                    tool.left()
                further -= 1
            phase += 1


def read(memory, tape, which, position):
    """Return what stands at a position of the tape, or of the memory."""
    if which == "tape":
        return tape.get(position, "[_]")
    return "[BOS]" if position < 0 else memory[position] if position < len(memory) else "[EOS]"


def prompts(longest):
    """List every prompt of up to so many symbols."""
    return [[*bits, ">"] for n in range(1, longest + 1) for bits in itertools.product("ab", repeat=n)]

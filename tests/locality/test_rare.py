"""Programs that hide the first bit of the prompt, which is 0 in all problems drawn: only the checks can refuse them."""

import operator
import sys
from pathlib import Path

import pytest

from tallystick import Defaults
from tallystick.locality import prove
from tallystick.locality.extraction import Machine, Refusal
from tallystick.tasks import runner

sys.path.insert(0, str(Path(__file__).parent))
import walks


class Rare(walks.Walk):
    """Say the first bit at the end, and read it at the beginning."""

    symbols = "01="
    shape = "[01]+="
    defaults = Defaults(train_length=4, check=(3, 4, 6))

    def draw(self, length, rng):
        return ["0", *rng.choices("01", k=length - 1)]

    def worst_cases(self, length):
        return [["0"] * length + ["="]]

    every_worst_case = worst_cases

    def answer(self, prompt):
        return [prompt[0]]

    def walk(self, p):
        while p.read() != "=":
            p.right()


class NotANumber(Rare):
    """Whether a NaN is in a list tells whether it is the same object."""

    def solve(self, w):
        p, one = w.pointer(0), float("nan")
        kept = [one] if p.read() == "1" else [float("nan")]
        self.walk(p)
        w.answer()
        w.output("1" if one in kept else "0")


class SharedCell(Rare):
    """Whether two functions share a cell decides, though the cells' contents are alike."""

    def solve(self, w):
        p = w.pointer(0)
        put, get = self.make()
        if p.read() == "0":
            _, get = self.make()
        self.walk(p)
        w.answer()
        put()
        w.output(get())

    def make(self):
        kept = "0"

        def put():
            nonlocal kept
            kept = "1"

        return put, lambda: kept


class CellOfFrame(Rare):
    """Whether a function reads the running frame's local, or that of an earlier call."""

    def solve(self, w):
        w.answer()
        self.say_kept(w, self.say_kept(w, None))

    def say_kept(self, w, before):  # noqa: RET503
        kept, p = "0", w.pointer(0)
        get = lambda: kept  # noqa: E731
        if before is None:
            return get
        chosen = get if p.read() == "1" else before
        self.walk(p)
        kept = "1"
        w.output(chosen())


class FromAnswer(Rare):
    """`answer` leaves the bit in an attribute that has the name of a list's method."""

    count = None

    def answer(self, prompt):
        self.count = prompt[0]
        return [self.count]

    def solve(self, w):
        self.walk(w.pointer(0))
        w.answer()
        w.output(self.kept() or "0")

    def kept(self):
        return self.count


class ByPattern(FromAnswer):
    def kept(self):
        match self:
            case Rare(count="1"):
                return "1"


class ByPosition(ByPattern):
    __match_args__ = ("count",)

    def kept(self):
        match self:
            case ByPosition("1"):
                return "1"


class ByFormat(FromAnswer):
    def kept(self):
        return "{.count}".format(self)[0].replace("N", "0")  # noqa: UP032


class ByGetter(FromAnswer):
    def kept(self):
        return operator.attrgetter("count")(self)


class BySetter(Rare):
    """`answer` sets a property, whose setter sets what the program reads."""

    kept = "0"

    @property
    def first(self):
        return self.kept

    @first.setter
    def first(self, bit):
        self.kept = bit

    def answer(self, prompt):
        self.first = prompt[0]
        return [self.first]

    def solve(self, w):
        self.walk(w.pointer(0))
        w.answer()
        w.output(self.kept)


MODULE = """
table = ["0"]
def put(bit):
    table[0] = bit
def get():
    return table[0]
"""
ONE, OTHER = {"__name__": "one"}, {"__name__": "other"}
for names in (ONE, OTHER):
    exec(compile(MODULE, f"{names['__name__']}.py", "exec"), names)
put_one, get_one, put_other, get_other = ONE["put"], ONE["get"], OTHER["put"], OTHER["get"]


class InTwin(Rare):
    """Two modules have equal functions, of which one changes nothing."""

    def solve(self, w):
        p = w.pointer(0)
        put_one(get_one())
        put_other(p.read())
        self.walk(p)
        w.answer()
        w.output(get_other())


class ByText(Rare):
    """The handle of a replay is written in another way than that of a workspace."""

    def solve(self, w):
        p = w.pointer(0)
        kept = p.read() if "Handle" in repr(p) else "0"
        self.walk(p)
        w.answer()
        w.output(kept)


class AskedAgain(Rare):
    """A pointer that was asked for is found by a number that is no int, too."""

    def solve(self, w):
        p = w.pointer(0)
        first = p.read()
        if first == "1":
            p = w.pointer(0.0)
        self.walk(p)
        w.answer()
        w.output(first)


class Closing(Rare):
    """The tape's limit is no method of the class."""

    tools = ("pointer:1", "tape:01")

    def __init__(self, options="", variant=None):
        super().__init__(options, variant)
        self.tape_limit = lambda prompt: 1 if prompt[0] == "1" else None

    def tape(self, prompt):
        return ["0"], 0

    def solve(self, w):
        w.tape.write("0")
        closed = w.tape.read() == "[EOS]"
        self.walk(w.pointer(0))
        w.answer()
        w.output("1" if closed else "0")


HIDING = [NotANumber, SharedCell, CellOfFrame, FromAnswer, ByPattern, ByPosition, ByFormat, ByGetter, BySetter,
          InTwin, ByText, AskedAgain, Closing]  # fmt: skip


@pytest.mark.parametrize("cls", HIDING)
def test_a_program_that_hides_what_no_problem_shows_is_not_proved(cls):
    proof = prove(cls(), quick=True)
    assert (proof["verdict"], proof["k"]) == ("unknown", None)


@pytest.mark.parametrize("cls", HIDING)
def test_the_program_solves_the_problems_that_are_not_drawn(cls):
    for prompt in (["0", "1", "="], ["1", "0", "="]):
        assert runner.record(cls(), prompt).ok


class Deep(Rare):
    def solve(self, w):
        self.down(10**6)

    def down(self, n):
        return self.down(n - 1) if n else 0


def test_a_replay_that_is_too_deep_is_no_error_of_the_program():
    with pytest.raises(Refusal, match="RecursionError"):
        Machine(Deep()).start("=")

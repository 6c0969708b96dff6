"""A value kept in a Python local, worst cases that show it, and notes that mend it: see docs/tasks.md."""

from tallystick import Task


class Lift(Task):
    """On which of five floors does a lift stop?  It starts at 0 and cannot leave the house: UUDU. answers 2."""

    symbols = "UD.01234"
    tools = ("pointer:1",)

    def sample(self, length, rng):
        return [*rng.choices("UD", k=length), "."]

    def answer(self, prompt):
        floor = 0
        for way in prompt[:-1]:
            floor = min(4, floor + 1) if way == "U" else max(0, floor - 1)
        return [str(floor)]

    def solve(self, w):
        p, floor = w.pointer(0), 0
        while (way := p.read()) != ".":
            if way == "U" and floor < 4:
                floor += 1
            elif way == "D" and floor > 0:
                floor -= 1
            self.tell(w, floor)
            p.right()
        w.answer()
        w.output(str(floor))

    def tell(self, w, floor):
        """Say nothing: the floor is known to Python alone."""


class HardLift(Lift):
    """The same lift, with walks that begin on different floors and then only go up and down between two of them."""

    def worst_cases(self, length):
        return [[*("U" * start + "UD" * length)[:length], "."] for start in range(4)]


class LiftWithNotes(HardLift):
    """The same lift, whose program says the floor after each step."""

    notes = ("at0", "at1", "at2", "at3", "at4")
    symbols = (*Lift.symbols, *notes)

    def tell(self, w, floor):
        w.note(f"at{floor}")

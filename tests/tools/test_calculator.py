"""The calculator: right at any length, and errors that end an episode."""

import random

import pytest

from tallystick import Task, tools
from tallystick.episode import Recorder, ToolError
from tallystick.tasks.reverse import Reverse
from tallystick.tasks.runner import run
from tallystick.tools.calculator import calculate
from tallystick.trajectory import Trajectory
from tallystick.workspace import ProgramError


@pytest.mark.parametrize(("name", "function"), [("add", int.__add__), ("mul", int.__mul__)])
def test_against_pythons_int(name, function):
    rng = random.Random(0)
    for _ in range(300):
        a, b = (rng.randrange(10 ** rng.randint(1, 40)) for _ in range(2))
        assert calculate([name, *f"{a},{b}"]) == str(function(a, b))


def test_zeros():
    assert [calculate([name, *text]) for name in ("add", "mul") for text in ("0,0", "007,00", "0,12")] == [
        "0", "7", "12", "0", "0", "0",
    ]  # fmt: skip


@pytest.mark.parametrize("digits", [5_000, 200_000])
def test_beyond_pythons_limit_of_digits(digits):
    nines = "9" * digits
    assert calculate(["add", *nines, ",", "1"]) == "1" + "0" * digits
    assert calculate(["mul", *nines, ",", *nines]) == "9" * (digits - 1) + "8" + "0" * (digits - 1) + "1"


@pytest.mark.parametrize(
    "said",
    [[], ["add"], ["sub", *"1,2"], ["add", *"12"], ["add", *"1,"], ["add", *",1"], ["add", *"1,2,3"], [*"1,2"],
     ["add", "add", *"1,2"], ["add", *"-1,2"], ["add", *"²,2"], ["mul", *"1e5,2"]],
)  # fmt: skip
def test_a_bad_call_fails(said):
    with pytest.raises(ToolError, match="a call is add or mul, and two whole numbers"):
        calculate(said)


def test_it_takes_no_option():
    with pytest.raises(ValueError, match="calculator:3: the calculator takes no option; write calculator"):
        tools.build("calculator:3", Reverse())


class Product(Task):
    """A task that shares its digits with the calculator."""

    symbols = "0123456789*"
    tools = ("calculator",)

    def sample(self, length, rng):
        return [*rng.choices("123456789", k=length), "*", "7"]

    def answer(self, prompt):
        return [*str(int("".join(prompt[:-2])) * 7)]

    def solve(self, w):
        product = w.call("mul", w.prompt[:-2], "7")
        w.answer()
        w.output(*product)


def test_programs_call_it():
    task = Product()
    run(task, [*"12*7"], sink := Recorder())
    segments = Trajectory.of(sink, task.vocab.tokens).segments
    assert [(role.name.lower(), " ".join(symbols)) for role, symbols in segments[1:]] == [
        ("command", "[call] mul 1 2 , 7 [/call]"),
        ("observation", "[obs] 8 4 [/obs]"),
        ("thought", "[ANS]"),
        ("output", "8 4"),
        ("thought", "[EOS]"),
    ]


def test_a_program_that_calls_it_wrongly():
    task = type("Wrong", (Product,), {"solve": lambda self, w: w.call("mul", "7")})()
    with pytest.raises(ProgramError, match="ToolError: a call is add or mul"):
        run(task, [*"12*7"], Recorder())


def test_a_program_without_it():
    task = type("Without", (Product,), {"tools": ()})()
    with pytest.raises(ProgramError, match=r"call\(mul\) is not among this task's tools: none"):
        run(task, [*"12*7"], Recorder())

"""Cases of every kind, and teachers at work on them in the fast shell."""

import random
from types import SimpleNamespace

import pytest

from tallystick.tasks.codefix import bugs, teachers
from tallystick.tools.shell.fast import FastShell

TEACHERS = {
    "one": teachers.one,
    "three": teachers.three,
    "all": teachers.everywhere,
    "single-turn": teachers.single_turn,
    "general": teachers.repair,
}
PAIRS = [
    *(("pass", teacher) for teacher in TEACHERS),
    *((kind, "general") for kind in bugs.KINDS if kind != "pass"),
]
"""Kinds of cases with the teachers that repair them."""


class Agent:
    """Stands in for a Workspace: it keeps what is said and read."""

    def __init__(self, files):
        self.shell = FastShell(files)
        self.commands = []
        self.log = []

    def say(self, text):
        self.log.append(("thought", text))

    def bash(self, command):
        assert len(self.commands) < 5000, "endless"
        ran = self.shell.run(command)
        self.commands.append(command)
        self.log += [("command", command), ("observation", f"{ran.returncode}\n{ran.output}")]
        return ran


def draw(kind, n, seed, count=None):
    rng = random.Random(f"{kind} {n} {seed}")
    return bugs.draw_case(kind, n, rng, count or rng.randint(1, 3))


def solve(case, teacher):
    agent = Agent(case.files)
    TEACHERS[teacher](agent)
    return agent


@pytest.fixture
def codefix():
    return SimpleNamespace(draw=draw, solve=solve, pairs=PAIRS)


def pytest_generate_tests(metafunc):
    if {"kind", "teacher"} <= set(metafunc.fixturenames):
        metafunc.parametrize(("kind", "teacher"), PAIRS, ids=["-".join(pair) for pair in PAIRS])

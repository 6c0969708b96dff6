"""Programs as machines in compiled loops against the same programs as Python, token for token and block for block."""

import pytest

from tallystick import Task, tasks
from tallystick.episode import BLOCK, Recorder
from tallystick.locality import programs
from tallystick.locality.programs import transducer
from tallystick.tasks import runner
from tallystick.workspace import ProgramError

pytest.importorskip("numba")
MIXTURE = "turing:bb3:1,sort:3,multiplication-2:2"
NAMES = [*tasks.TASKS, "turing:bb5", "turing:palindrome", MIXTURE]
BY_PYTHON = {
    ("turing-universal", "default"),
    ("addition", "calculator"),
    ("addition", "direct"),
    ("addition", "reversed"),
    ("reverse", "direct"),
    ("logic-graph", "local"),
    ("logic-graph", "paper"),
    ("hanoi", "paper"),
    *((name, "direct") for name in tasks.TASKS if name.startswith("chomsky:")),
}
"""Programs that search, call a tool, read their prompt at will, or keep a list that grows with the problem."""


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Use machines from the first problem on; leave those with ever more states to Python soon."""
    monkeypatch.setattr(programs, "BY_PYTHON", 0)
    monkeypatch.setattr(transducer, "REPLAYED", 20_000)


def variants():
    return [(name, variant) for name in NAMES for variant in tasks.load(name).variants if not tasks.load(name).text]


def problems(task):
    """Return random problems of up to the length of training, longer ones, and worst cases."""
    length = task.defaults.train_length
    drawn = [task.problem("train", 0, length, i, up_to=True) for i in range(10)]
    longer = [task.problem("test", 0, min(length + 3, task.max_length), i) for i in range(2)]
    return [*drawn, *longer, *task.every_worst_case(task.check_length(max(task.min_length, length // 2)))]


def blocks(record, task, prompt):
    """Return what a sink is handed, as lists; the program's error if it fails."""
    recorder = Recorder()
    record(task, prompt, recorder)
    return [(ids.tolist(), roles.tolist(), ids.dtype, roles.dtype) for ids, roles in recorder.blocks], recorder.ok


def parts(task):
    return list(task.parts.values()) or [task]


@pytest.mark.parametrize(("name", "variant"), variants())
def test_every_token_role_and_block_is_the_programs(name, variant):
    task, plain = tasks.load(name, variant), tasks.load(name, variant)
    for prompt in problems(task):
        assert blocks(programs.run, task, prompt) == blocks(runner.run, plain, prompt)
    assert {part.compiled.refused for part in parts(task)} == {(name, variant) in BY_PYTHON}


@pytest.mark.parametrize(("name", "length"), [("addition", 28_000), ("turing:bb5", 700_000), ("reverse", 140_000)])
def test_a_million_tokens(name, length):
    """The last has a prompt that is longer than a block."""
    task = tasks.load(name)
    prompt = task.problem("test", 0, length, 0)
    assert blocks(programs.run, task, prompt) == blocks(runner.run, tasks.load(name), prompt)
    assert not task.compiled.refused

"""Programs as machines in compiled loops against the same programs as Python, token for token and block for block."""

import re
import sys
from functools import partial

import pytest

from tallystick import Task, episode, tasks
from tallystick.episode import Recorder
from tallystick.locality import programs
from tallystick.locality.extraction import Action
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
    plain = [(name, variant) for name in NAMES for variant in tasks.load(name).variants if not tasks.load(name).text]
    noted = pytest.param("hanoi-recursive", "paper+notes", marks=pytest.mark.slow)
    return [*plain, ("addition", "paper+notes"), noted]


def problems(task):
    """Return random problems of up to the length of training, longer ones, and worst cases."""
    length = task.defaults.train_length
    drawn = [task.problem("train", 0, length, i, up_to=True) for i in range(5)]
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


@pytest.mark.parametrize(("name", "length"), [("addition", 5_600), ("turing:bb5", 140_000), ("reverse", 70_000)])
def test_problems_of_several_blocks(name, length):
    """The last has a prompt that is longer than a block."""
    task = tasks.load(name)
    prompt = task.problem("test", 0, length, 0)
    assert blocks(programs.run, task, prompt) == blocks(runner.run, tasks.load(name), prompt)
    assert not task.compiled.refused


class Busy(Task):
    """A task whose program says much between two questions: moves of many pointers, of the tape, and long thoughts."""

    symbols, blank = "ab>", "a"
    tools = ("pointer:5", "tape:ab")

    def sample(self, length, rng):
        return [*rng.choices("ab", k=length), ">"]

    def answer(self, prompt):
        return [*prompt[:-1], *"aba", *"b" * 40]

    def solve(self, w):
        pointers = [w.pointer(i) for i in range(5)]
        while (symbol := pointers[0].read()) != ">":
            w.tape.write(symbol)
            w.tape.left()
            w.tape.write("b")
            for _ in range(3):
                w.tape.right()
            for pointer in pointers:
                pointer.right()
            pointers[1].left()
            pointers[1].right()
            w.think(*"ab" * 10)
            w.think(w.tape.read())
        w.answer()
        while True:
            pointers[4].left()
            if pointers[4].read() == "[BOS]":
                break
        while True:
            pointers[4].right()
            symbol = pointers[4].read()
            if symbol == ">":
                break
            w.output(symbol)
            w.think(*"ba")
        w.output(*"aba", *"b" * 40)


@pytest.fixture
def small_blocks(monkeypatch):
    """Return a function that sets the size of blocks, so that they end anywhere in what a program says."""

    def set_size(size):
        for module in (episode, programs, transducer):
            monkeypatch.setattr(module, "BLOCK", size)

    return set_size


@pytest.mark.parametrize("make", [Busy, *(partial(tasks.load, name) for name in ("addition", "hanoi", "turing:bb3"))])
def test_blocks_end_anywhere(make, small_blocks):
    task, plain = make(), make()
    for size in (1, 2, 17, 20, 31, 64):
        small_blocks(size)
        for length in (1, 4):
            prompt = task.problem("test", size, length, 0)
            for _ in range(2):  # Python begins the first one
                assert blocks(programs.run, task, prompt) == blocks(runner.run, plain, prompt)
    assert not task.compiled.refused


def plant(task, answer, token):
    """Change what the machine says first after an answer while it answers; return the state."""
    machine = task.compiled._transducer
    states = machine.machine.states
    (origin,) = (each for each in machine.origins if each.answer == answer and states[each.state].answered)
    step = machine.machine.step(*origin)
    actions = (Action(task.vocab.ids[token]), *step.actions[1:])
    machine.entries_SV[origin.state, task.vocab.ids[answer]] = machine._add(origin, step._replace(actions=actions))
    return origin.state


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("token", ["[p0.left]", "[ANS]", "1"])
def test_a_difference_is_an_error_that_names_the_state(checked, token):
    """Python has begun the problem, or the machine is stuck because its output is wrong or its token is not allowed."""
    task, prompt = tasks.load("reverse"), list("0010>")
    for _ in range(3):
        programs.record(task, prompt)
    assert task.compiled._problems == 3
    task.compiled._problems += checked
    state = plant(task, "0", token)
    said = f"reverse: the program says 0 .* says {re.escape(token)}, in control state {state} .solve., where p0 reads 0"
    with pytest.raises(ProgramError, match=said):
        programs.record(task, prompt)


class Wrong(Task):
    """A task whose program is wrong in one of several ways on prompts that begin with a b."""

    symbols = "ab>"
    how = ""

    def sample(self, length, rng):
        return [*rng.choices("ab", k=length), ">"]

    def answer(self, prompt):
        return 3 if self.how == "truth" and prompt[0] == "b" else ["a"]

    def solve(self, w):
        p = w.pointer(0)
        begins = p.read()
        while p.read() != ">":
            p.right()
        if begins == "a" or self.how == "truth":
            w.answer()
            w.output("a")
        elif self.how == "symbol":
            w.think("z")
        elif self.how == "raises":
            raise KeyError(begins)
        elif self.how == "endless":
            while True:
                p.right()
                w.think("b", "b")
        elif self.how == "no answer":
            pass
        else:
            w.answer()
            w.output(*self.how)


@pytest.mark.parametrize("how", ["", "b", "aa", "symbol", "raises", "endless", "truth", "no answer"])
def test_errors_of_programs_are_the_same(how, monkeypatch):
    monkeypatch.setattr(Wrong, "token_limit", lambda self, prompt: 70_000)
    errors = []
    for run in (runner.run, programs.run):
        task, sinks = type("Wrong", (Wrong,), {"how": how})(), [Recorder(), Recorder()]
        for _ in range(5):  # Python does not begin the next one
            run(task, list("aba>"), sinks[0])
        with pytest.raises(ProgramError) as error:
            run(task, list("bba>"), sinks[1])
        errors.append((str(error.value), [sink.ok for sink in sinks], [ids.tolist() for ids, _ in sinks[1].blocks]))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("how", ["", "b"])
def test_a_wrong_output_is_found_where_a_block_ends(how, small_blocks):
    for size in range(2, 12):
        small_blocks(size)
        handed = []
        for run in (runner.run, programs.run):
            task, sink = type("Wrong", (Wrong,), {"how": how})(), Recorder()
            for _ in range(5):
                run(task, list("aba>"), Recorder())
            with pytest.raises(ProgramError):
                run(task, list("bba>"), sink)
            handed.append([ids.tolist() for ids, _ in sink.blocks])
        assert handed[0] == handed[1]


class Noted(Task):
    """A task that outputs a note, which is compared with the answer and yet is none."""

    symbols, notes = "a&>", ("&",)

    def sample(self, length, rng):
        return [*"a" * length, ">"]

    def answer(self, prompt):
        return list(self.truth_of)

    truth_of = "&a"

    def solve(self, w):
        w.pointer(0).read()
        w.answer()
        w.output("&")
        w.output("a")


class Taped(Noted):
    """A task without a memory that says several symbols at once."""

    notes, tools, truth_of = (), ("tape:a",), "aaa"

    def solve(self, w):
        w.tape.read()
        w.answer()
        w.output("a", "a", "a")


@pytest.mark.parametrize("cls", [Noted, Taped])
def test_what_a_machine_does_not_know_is_left_to_python(cls):
    task = cls()
    assert blocks(programs.run, task, ["a", ">"]) == blocks(runner.run, cls(), ["a", ">"])
    assert task.compiled.refused


def test_a_note_that_the_answer_has_not_is_wrong_as_output():
    task = type("Noted", (Noted,), {"truth_of": "a"})()
    task.compiled = programs.Program(task)
    task.compiled._problems = 3
    with pytest.raises(ProgramError, match="output token 0 is '&'"):
        programs.run(task, ["a", ">"], Recorder())


class Counts(Task):
    """A task whose program depends on an attribute, which others change."""

    symbols, word = "a>", "a"

    def sample(self, length, rng):
        return [*"a" * length, ">"]

    def answer(self, prompt):
        return [self.word]

    def solve(self, w):
        p = w.pointer(0)
        p.read()
        w.answer()
        w.output(self.word)


def test_a_task_whose_attributes_change_is_left_to_python():
    task = Counts()
    vars(task).update(word="a")
    assert programs.record(task, list("a>")).ok
    assert not task.compiled.refused
    vars(task).update(word=">")
    assert programs.record(task, list("a>")).ok
    assert task.compiled.refused


def test_a_profiler_keeps_its_place():
    task, seen = tasks.load("reverse"), []
    sys.setprofile(lambda *event: seen.append(event))
    try:
        assert programs.record(task, list("010>")).ok
    finally:
        sys.setprofile(None)
    assert task.compiled.refused
    assert seen

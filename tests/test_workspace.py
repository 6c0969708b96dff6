"""Tests of the Workspace: everything that a program says is recorded, and a wrong program is refused."""

import signal
import threading
import time

import pytest

from tallystick import Task, workspace
from tallystick.episode import BLOCK, Recorder, Role, StopProgram
from tallystick.tasks import guard
from tallystick.tasks.runner import run, run_problem
from tallystick.trajectory import Trajectory
from tallystick.workspace import ProgramError

PROMPT = list("aba>")


class Copy(Task):
    """Says the letters again; `program` is set by the tests."""

    symbols = ("a", "b", ">", "memo")
    notes = ("memo",)

    def sample(self, length, rng):
        return [*rng.choices("ab", k=length), ">"]

    def answer(self, prompt):
        return prompt[:-1]


def task(program, **attributes):
    return type("Probe", (Copy,), {"solve": lambda self, w: program(w), **attributes})()


class Sink(Recorder):
    """Counts how often it is closed, and may act at every write."""

    def __init__(self, at_write=lambda: None):
        super().__init__()
        self.at_write, self.closed = at_write, 0

    def write(self, ids, roles):
        super().write(ids, roles)
        self.at_write()

    def close(self, ok):
        super().close(ok)
        self.closed += 1


def copy(w, until=">"):
    p = w.pointer(0)
    w.answer()
    while (symbol := p.read()) != until:
        w.output(symbol)
        p.right()


def saying(*outputs):
    def program(w):
        w.answer()
        w.output(*outputs)

    return program


def talk(w):
    for _ in range(5 * BLOCK):
        w.think("a")


def talk_without_words(w):
    for _ in range(5 * BLOCK):
        w.pointer(0).right()


def compute(w):
    end = time.process_time() + 2  # ends at last, so that a watch that does not bite is a failure, not a hang
    while time.process_time() < end:
        pass


def no_answer(w):
    w.think("a")


def segments(program):
    sink = Recorder()
    run(task(program), PROMPT, sink)
    said = Trajectory.of(sink, Copy().vocab.tokens).segments
    return [(role.name.lower(), " ".join(symbols)) for role, symbols in said]


def test_a_right_program():
    sink = Sink()
    run(task(copy), PROMPT, sink)
    assert (sink.ok, sink.closed) == (True, 1)
    assert [Copy().vocab.tokens[i] for i in sink.ids[sink.roles == Role.OUTPUT]] == list("aba")


def test_what_the_workspace_says():
    def program(w):
        w.think("b", "a")
        w.note("memo", "memo")
        w.note("a", "memo")
        w.pointer(0).right()
        assert w.pointer(0).read() == "b"
        w.pointer(0).left()
        w.answer()
        w.output("a", "b")
        w.think("b")
        w.output("a")

    assert segments(program) == [
        ("prompt", "a b a >"),
        ("thought", "b a"),
        ("note", "memo memo [note] a memo [/note]"),
        ("command", "[p0.right] [p0.read]"),
        ("observation", "b"),
        ("command", "[p0.left]"),
        ("thought", "[ANS]"),
        ("output", "a b"),
        ("thought", "[think] b [/think]"),
        ("output", "a"),
        ("thought", "[EOS]"),
    ]


def test_find():
    class Lines(Copy):
        symbols = (*"ab>", "\n")
        notes = ()
        tools = ("search",)

        def solve(self, w):
            assert w.find("b") == []
            w.think(*"ab\nb\na\n")
            assert w.find("b") == [[*"aa>ab"], ["b"]]
            assert w.find("a", "b") == [[*"aa>ab"]]
            w.answer()
            w.output(*w.prompt[:-1])

    run(Lines(), list("aa>"), sink := Recorder())
    assert sink.ok
    with pytest.raises(ProgramError, match=r"find is not among this task's tools: pointer:1"):
        run(task(lambda w: w.find("a")), PROMPT, Recorder())


WRONG = {
    "wrong at 1": (saying("a", "a", "a"), "output token 1 is 'a', but the answer has 'b' there"),
    "wrong at 2": (saying("a", "b", "b"), "output token 2 is 'b', but the answer has 'a' there"),
    "too short": (saying("a", "b"), "the output ends after 2 tokens, but the answer continues with 'a'"),
    "nothing": (saying(), "the output ends after 0 tokens, but the answer continues with 'a'"),
    "too long": (saying(*"abaa"), "output token 3 is 'a', but the answer ends there"),
    "foreign output": (saying("z"), "'z' is not in the vocabulary"),
    "foreign thought": (lambda w: w.think("z"), "'z' is not in the vocabulary"),
    "foreign note": (lambda w: w.note("z"), "'z' is not in the vocabulary"),
    "no symbol": (saying(3), "a symbol is a string: '3', not 3"),
    "foreign symbol": (saying("x"), "'x' is not in the vocabulary"),
    "output first": (lambda w: w.output("a"), r"output\(\) was called before answer\(\)"),
    "no answer": (no_answer, r"the program ended without calling answer\(\)"),
    "answer as a thought": (lambda w: w.think("[ANS]"), r"the program ended without calling answer\(\)"),
    "answer twice": (lambda w: (w.answer(), w.answer()), r"BadCommand: \[ANS\]"),
    "goes on after the end": (lambda w: (w.think("[EOS]"), copy(w)), r"BadCommand: \[EOS\]"),
    "undeclared pointer": (lambda w: w.pointer(1), r"pointer\(1\) is not among this task's tools: pointer:1"),
    "exception": (lambda w: {}["x"], "KeyError: 'x'"),
    "exception at the end": (lambda w: (copy(w), [].pop()), "IndexError: pop from empty list"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_program(name):
    program, message = WRONG[name]
    sink = Sink()
    with pytest.raises(ProgramError, match=message):
        run(task(program), PROMPT, sink)
    assert (sink.ok, sink.closed) == (False, 1)


def test_the_answer_may_come_in_any_pieces():
    def program(w):
        w.answer()
        w.output()
        w.output("a", "b")
        w.output("a")

    assert ("output", "a b a") in segments(program)


def test_a_foreign_symbol_in_the_prompt():
    sink = Sink()
    with pytest.raises(ProgramError, match="'z' is not in the vocabulary"):
        run(task(copy), ["z", ">"], sink)
    assert (sink.ok, sink.closed) == (False, 1)


@pytest.mark.parametrize("program", [talk, talk_without_words])
def test_endless_talking(program):
    sink = Sink()
    with pytest.raises(ProgramError, match="more than 1,000 tokens: the program does not end"):
        run(task(program, token_limit=lambda self, prompt: 1000), PROMPT, sink)
    assert (sink.ok, sink.closed, len(sink.ids)) == (False, 1, BLOCK)


def test_endless_silence(monkeypatch):
    monkeypatch.setattr(guard, "PATIENCE", 0.05)
    sink = Sink()
    with pytest.raises(ProgramError, match="does not end"):
        run(task(compute), PROMPT, sink)
    assert (sink.ok, sink.closed) == (False, 1)


def test_patience_begins_again_with_every_block(monkeypatch):
    monkeypatch.setattr(guard, "PATIENCE", 0.2)
    with pytest.raises(ProgramError, match="of CPU time"):
        run(task(lambda w: (w.think(*"a" * BLOCK), compute(w))), PROMPT, Recorder())


def test_the_sinks_time_is_not_the_programs(monkeypatch):
    monkeypatch.setattr(guard, "PATIENCE", 0.2)
    end = time.process_time() + 0.4

    def burn():
        while time.process_time() < end:
            pass

    sink = Sink(burn)
    run(task(lambda w: (w.think(*"a" * BLOCK), copy(w))), PROMPT, sink)
    assert sink.ok


def test_score_decides_where_answers_differ():
    run(task(saying("b"), answers_by_token=False), PROMPT, sink := Sink())
    assert (sink.ok, sink.closed) == (True, 1)


def stop():
    raise StopProgram


def test_a_sink_may_stop_the_program():
    sink = Sink(stop)
    run(task(talk), PROMPT, sink)
    assert (len(sink.blocks), sink.closed) == (1, 0)


@pytest.mark.parametrize(("program", "at_write"), [(copy, lambda: None), (saying("b"), lambda: None), (talk, stop)])
def test_the_watch_is_off_afterwards(program, at_write):
    try:
        run(task(program), PROMPT, Sink(at_write))
    except ProgramError:
        pass
    finally:
        assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)


def test_programs_run_in_any_thread():
    sink = Sink()
    thread = threading.Thread(target=run, args=(task(copy), PROMPT, sink))
    thread.start()
    thread.join()
    assert sink.ok


def test_memory_is_kept_only_if_a_tool_reads_it():
    class Deaf(Copy):
        tools = ()

        def solve(self, w):
            w.answer()
            w.output(*"aba")

    memories = [workspace.Workspace(t, PROMPT, Recorder())._episode.memory for t in (Deaf(), task(copy))]
    assert [memory is None for memory in memories] == [True, False]


def refuse(self, length, rng):
    raise IndexError("two\nlines")


@pytest.mark.parametrize(
    ("attributes", "what"),
    [
        ({}, "probe: the output ends after 0 tokens, but the answer continues with '[ab]'"),
        ({"sample": refuse}, "probe: IndexError: two lines"),
    ],
)
def test_a_wrong_problem_is_named_in_one_line(attributes, what):
    with pytest.raises(ProgramError, match=rf"^{what}.*(; drawing|,) test problem 7 of length 30, seed 2$") as error:
        run_problem(task(saying(), **attributes), Recorder(), "test", 2, 30, 7)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_run_problem_runs_the_problem():
    probe = task(copy)
    for up_to in (False, True):
        run_problem(probe, sink := Recorder(), "test", 0, 9, 4, up_to=up_to)
        prompt = probe.problem("test", 0, 9, 4, up_to=up_to)
        assert Trajectory.of(sink, probe.vocab.tokens).segments[0] == (Role.PROMPT, prompt)

"""Tests of the tape: two-way infinite, with cells of its own, closed after a number of writes."""

import random

import pytest

from tallystick import Task
from tallystick.episode import Recorder
from tallystick.tasks.runner import run
from tallystick.workspace import ProgramError, Workspace


class Taped(Task):
    """A task whose prompt is the tape; `limit` and `head` are set by the tests."""

    symbols = "ab"
    tools = ("tape",)
    limit, head = None, 0

    def sample(self, length, rng):
        return rng.choices("ab", k=length)

    def answer(self, prompt):
        return prompt

    def tape(self, prompt):
        return prompt, self.head

    def tape_limit(self, prompt):
        return self.limit


class Hand:
    """Says commands by name to a tape."""

    def __init__(self, prompt="ab", **attributes):
        self.task = type("Probe", (Taped,), attributes)()
        (tool,) = self.task.built_tools
        self.commands = tool.start(self.task.vocab, None, self.task, list(prompt))

    def say(self, *verbs):
        for verb in verbs:
            observation = self.commands[self.task.vocab.ids[f"[tape.{verb}]"]]()
        return " ".join(self.task.vocab.decode(observation))


def test_starts_on_the_first_cell_of_the_prompt():
    assert Hand("ab").say("read") == "a"


def test_the_task_says_where_the_head_is():
    assert Hand("aab", head=2).say("read") == "b"


@pytest.mark.parametrize("head", [-1, 2])
def test_a_head_outside_the_cells_is_refused(head):
    with pytest.raises(ValueError, match="the head must stand on a cell of the tape, 0 to 1, not"):
        Hand("ab", head=head)


def test_an_empty_tape_is_blank():
    assert Hand("").say("read") == "[_]"


@pytest.mark.parametrize("verbs", [("left",), ("right",), ("write a",)])
def test_only_reading_is_answered(verbs):
    assert Hand().say(*verbs) == ""


@pytest.mark.parametrize(("verbs", "want"), [(("left",), "[_]"), (("right", "right"), "[_]"), (("right",), "b")])
def test_unwritten_cells_are_blank_on_both_sides(verbs, want):
    assert Hand().say(*verbs, "read") == want


def test_the_blank_may_be_a_symbol_and_can_be_written():
    hand = Hand("b", blank="a")
    assert hand.task.vocab.tokens.count("a") == 1
    assert (hand.say("left", "read"), hand.say("right", "write a", "read")) == ("a", "a")


@pytest.mark.parametrize("seed", range(20))
def test_against_a_dictionary(seed):
    rng, cells, at, hand = random.Random(seed), dict(enumerate("ab")), 0, Hand("ab")
    for _ in range(500):
        verb = rng.choice(("left", "right", "write a", "write b", "write [_]"))
        hand.say(verb)
        at += {"left": -1, "right": 1}.get(verb, 0)
        if verb.startswith("write"):
            cells[at] = verb.split()[1]
        assert hand.say("read") == cells.get(at, "[_]")


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_after_its_last_write_it_is_closed(limit):
    hand = Hand(limit=limit)
    for _ in range(limit):
        assert hand.say("read") != "[EOS]"
        hand.say("write b", "left")
    assert [hand.say("read"), hand.say("left", "read"), hand.say("write a", "read")] == ["[EOS]"] * 3


def test_every_episode_has_a_fresh_tape():
    first = Hand("ab")
    (tool,) = first.task.built_tools
    second = tool.start(first.task.vocab, None, first.task, ["b"])
    first.say("write [_]", "left")
    assert second[first.task.vocab.ids["[tape.read]"]]() == (first.task.vocab.ids["b"],)


@pytest.mark.parametrize(("option", "written"), [("", "a b [_]"), (":a", "a"), (":ab", "a b"), (":b [_]", "b [_]")])
def test_the_option_says_what_can_be_written(option, written):
    (tool,) = Hand(tools=(f"tape{option}",)).task.built_tools
    said = [token for token in tool.tokens if token.startswith("[tape.write")]
    assert said == [f"[tape.write {symbol}]" for symbol in written.split()]


def test_programs_use_it_and_no_memory_is_kept():
    class Last(Taped):
        def answer(self, prompt):
            return ["b", prompt[0]]

        def solve(self, w):
            w.tape.left()
            w.tape.write("b")
            w.answer()
            w.output(w.tape.read())
            w.tape.right()
            w.output(w.tape.read())

    run(Last(), ["a"], sink := Recorder())
    said = Last().vocab.decode(sink.ids[2:])
    assert " ".join(said) == ("[tape.left] [tape.write b] [ANS] [tape.read] b b [tape.right] [tape.read] a a [EOS]")
    assert Workspace(Last(), ["a"], Recorder())._episode.memory is None


def test_a_program_without_it():
    task = type("Without", (Taped,), {"tools": (), "solve": lambda self, w: w.tape.read()})()
    with pytest.raises(ProgramError, match=r"the tape is not among this task's tools: none"):
        run(task, ["a"], Recorder())

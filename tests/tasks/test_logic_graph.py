"""Tests of logic graphs: answers against Python's evaluation, the nodes visited, and the limits of lookup."""

import random
import re

import pytest

from tallystick import locality, models
from tallystick.episode import Recorder
from tallystick.evaluation.verify import verify
from tallystick.locality import sequences
from tallystick.tasks import load
from tallystick.tasks.runner import run

LOCAL, PAPER = load("logic-graph"), load("logic-graph", "paper")
SMALL = "ab:1\ncd=~ab\nef=cd|ab\n?ef"


def by_python(text):
    """Evaluate the lines as Python code, which they nearly are."""
    *lines, query = text.split()
    names = {}
    for line in lines:
        label, right = re.split("[:=]", line)
        right = re.sub(r"~([a-z2-7]{2,})", r"(1 ^ _\1)", right)
        exec(f"_{label} = " + re.sub(r"(?<!_)\b([a-z2-7]{2,})", r"_\1", right), {}, names)
    return str(names[f"_{query[1:]}"])


def lines(task, prompt):
    return task.format(prompt).split("\n")[:-2]


def needed(task, prompt):
    """Return the nodes on which the last one depends, including itself."""
    parents = {line[: task.width]: re.findall("[a-z2-7]+", line)[1:] for line in lines(task, prompt)}
    found, todo = set(), [task.format(prompt).split("?")[1].strip()]
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo += parents[node]
    return found


def visited(task, prompt):
    """Return the nodes that the program asks for."""
    run(task, prompt, sink := Recorder())
    said = "".join(task.vocab.decode(sink.ids[1 + len(prompt) :]))
    return set(re.findall(rf"\[find\]([a-z2-7]{{{task.width}}})", said))


@pytest.mark.parametrize("task", [LOCAL, PAPER], ids=["local", "paper"])
def test_against_python(task):
    for i in range(200):
        prompt = task.problem("test", 0, 2 + i % 30, i)
        assert task.answer(prompt) == [by_python(task.format(prompt))]


@pytest.mark.parametrize("length", [2, 3, 4, 5, 10, 100, 1000])
def test_the_length_is_the_number_of_nodes_visited(length):
    for i in range(1 if length == 1000 else 5):
        prompt = LOCAL.problem("test", 0, length, i)
        assert len(needed(LOCAL, prompt)) == len(lines(LOCAL, prompt)) == length
        assert visited(LOCAL, prompt) == needed(LOCAL, prompt)
    assert all(len(needed(LOCAL, prompt)) == length for prompt in LOCAL.worst_cases(length))


def test_the_paper_visits_what_the_last_node_needs():
    for i in range(20):
        prompt = PAPER.problem("test", 0, 50, i)
        assert len(lines(PAPER, prompt)) == 50
        assert visited(PAPER, prompt) == needed(PAPER, prompt)


def test_parents_are_near_and_inputs_few():
    for i in range(20):
        prompt = LOCAL.problem("test", 0, 60, i)
        at = {line[:2]: number for number, line in enumerate(lines(LOCAL, prompt))}
        parents = [(number, re.findall("[a-z2-7]+", line)[1:]) for number, line in enumerate(lines(LOCAL, prompt))]
        assert all(0 < number - at[parent] <= 8 for number, two in parents for parent in two)
        assert [number for number, two in parents if not two] == [0, 1, 2]


def test_gates_are_of_all_kinds():
    text = "".join(LOCAL.format(LOCAL.problem("test", 0, 100, i)) for i in range(5))
    kinds = set(re.sub("[a-z2-7]{2}", "x", text).split())
    assert kinds == {
        "x:0",
        "x:1",
        "?x",
        "x=x",
        "x=~x",
        *(f"x={a}x{op}{b}x" for a in ("", "~") for op in "&|" for b in ("", "~")),
    }


@pytest.mark.slow
def test_a_hundred_thousand_nodes():
    prompt = PAPER.problem("test", 0, 100_000, 1)
    run(PAPER, prompt, sink := Recorder())
    assert (sink.ok, len(needed(PAPER, prompt))) == (True, 112)


def said(task, text):
    """Return everything said after the prompt, by the program and the tool."""
    prompt = task.parse(text)
    run(task, prompt, sink := Recorder())
    return "".join(task.vocab.decode(sink.ids[1 + len(prompt) :]))


def test_a_small_one():
    assert said(LOCAL, SMALL) == (
        "[find]ef=[/find][obs]ef=cd|ab[/line][/obs]ab<+|+cdef\n[find]ab:[/find][obs]ab:1[/line][/obs]1+|cd<1ef\n"
        "[find]cd:[/find][obs][/obs][find]cd=[/find][obs]cd=~ab[/line][/obs]ab<~cd\n"
        "[find]ab:[/find][obs]ab:1[/line][/obs]1~cd:0\n[find]cd<[/find][obs]cd<1ef[/line][/obs]"
        "01ef:1\n[find]ef<[/find][obs][/obs][ANS]1[EOS]"
    )


@pytest.mark.parametrize("value", "01")
@pytest.mark.parametrize(
    ("gate", "left"),
    [
        ("xy&ab", {"0": "0", "1": "+"}),
        ("~xy&ab", {"0": "0", "1": "~"}),
        ("xy&~ab", {"0": "+", "1": "0"}),
        ("~xy|ab", {"0": "~", "1": "1"}),
        ("xy|~ab", {"0": "1", "1": "+"}),
    ],
)
def test_what_is_left_of_a_gate(gate, left, value):
    assert f"xy<{left[value]}cd\n" in said(LOCAL, f"xy:1\nab:{value}\ncd={gate}\n?cd")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not the question"),
        ("ab:1", "'ab:1' is not the question"),
        ("ab:1\n?cd", "'.cd' is not the question; the last line is a . and one of the gates"),
        ("ab:1\n?ab", "'.ab' is not the question; the last line is a . and one of the gates"),
        ("ab:2\n?ab", "'ab:2' is not a new node; write ab:1, or ab=cd"),
        ("ab=cd\n?ab", "'ab=cd' is not a new node"),
        ("ab=ab\n?ab", "'ab=ab' is not a new node"),
        ("ab:1\nab:1\n?ab", "'ab:1' is not a new node"),
        ("abc:1\n?abc", "'abc:1' is not a new node"),
        ("ab:1\ncd=ab&\n?cd", "'cd=ab&' is not a new node"),
        ("ab:1\n\n?ab", "'' is not a new node"),
        ("a0:1\n?a0", "'a0:1' is not a new node"),
    ],
)  # fmt: skip
def test_a_bad_graph_is_refused_in_one_line(text, message):
    with pytest.raises(ValueError, match=f"^{message}") as error:
        LOCAL.parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", ["0", "7", "x", "2:3"])
def test_a_bad_width_is_refused(options):
    with pytest.raises(ValueError, match="the width of its labels is 1 to 6, as in logic-graph:3"):
        load(f"logic-graph:{options}")


def test_labels_have_the_width():
    for width in (1, 3, 6):
        task = load(f"logic-graph:{width}")
        text = task.format(task.problem("test", 0, 20, 0))
        assert {len(label) for label in re.findall("[a-z2-7]+", text)} == {width}
        run(task, task.parse(text), sink := Recorder())
        assert sink.ok


def test_there_are_only_so_many_labels():
    assert load("logic-graph:1").check_length(32) == 32
    with pytest.raises(ValueError, match="length 33: logic-graph:1 has lengths 2 to 32"):
        load("logic-graph:1").check_length(33)


def test_its_k_stays_but_few_states_and_contexts_are_met():
    report = locality.check(LOCAL, [10, 15, 20], 40)
    assert [row["k"] for row in report["rows"]] == [20, 20, 20]
    assert (report["local"], report["covered"]) == (None, False)
    assert "occurred in fewer than" in report["reason"]
    assert 0.3 < report["rows"][-1]["coverage"] < 0.7


def test_the_papers_is_not_local():
    report = locality.check(PAPER, [5, 10, 20], 50)
    assert not report["local"]
    assert report["rows"][-1]["k"] > 100


def test_lookup_cannot_copy_labels_that_it_has_not_seen_side_by_side():
    model = models.build("lookup", vocab_size=len(LOCAL.vocab)).fit(sequences.sample(LOCAL, "train", 0, 10, 1000))
    results = verify(model, LOCAL, [LOCAL.problem("test", 0, 10, i) for i in range(20)])
    assert not any(result.exact for result in results)
    rng = random.Random(0)
    known = [LOCAL.problem("train", 0, 10, rng.randrange(1000), up_to=True) for _ in range(20)]
    assert sum(result.exact for result in verify(model, LOCAL, known)) >= 18

"""Properties that hold for any problem, any number and any sequence of tokens, tried on generated ones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.episode import BadCommand, Recorder, Role, ToolError
from tallystick.tasks import TASKS, load
from tallystick.tasks.numbers import add, multiply
from tallystick.tasks.runner import record
from tallystick.vocab import loss_mask
from tallystick.workspace import start_episode

FEW, MANY = (settings(derandomize=True, deadline=None, max_examples=count) for count in (20, 100))
NAMES = (*TASKS, "turing:palindrome", "turing-universal:bb3", "reverse:1,addition:3", "turing:bb3:1,sort:3,shared")
TALKERS = (
    ("addition", "local"),
    ("addition", "calculator"),
    ("multiplication", "local"),
    ("logic-graph", "local"),
    ("turing", "default"),
    ("turing-universal", "default"),
    ("reverse:1,logic-graph:3", None),
)
"""Tasks that have every tool and kind of note between them."""
REMEMBERED = (Role.PROMPT, Role.THOUGHT, Role.OUTPUT)
SHOWN = 120
"""Tokens of a program that others are put between."""
NUMBERS = st.integers(0, 10**60)


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(length=st.integers(0, 30), index=st.integers(0, 2**20), up_to=st.booleans())
def test_a_problem_written_as_text_is_read_as_the_same_problem(name, length, index, up_to):
    task = load(name)
    length = min(task.min_length + (length % 6 if task.text else length), task.max_length)
    prompt = task.problem("test", 0, length, index, up_to=up_to)
    assert task.parse(task.format(prompt)) == prompt


@MANY
@given(NUMBERS, NUMBERS)
def test_sums_and_products_are_pythons(a, b):
    left, right = list(str(a)), list(str(b))
    assert "".join(add(left, right)) == str(a + b)
    assert "".join(multiply(left, right)) == str(a * b)


def say(task, prompt, tokens):
    """Push tokens up to [EOS]; return the episode's sink, its memory, and the tokens that were not refused."""
    episode = start_episode(task, prompt, sink := Recorder())
    accepted = []
    for token in tokens:
        try:
            episode.push(token)
        except (BadCommand, ToolError):
            continue
        accepted.append(token)
        if episode.done:
            break
    episode.flush()
    return sink, episode.memory, accepted


@pytest.mark.parametrize(("name", "variant"), TALKERS)
@MANY
@given(data=st.data())
def test_no_sequence_of_tokens_corrupts_an_episode(name, variant, data):
    """A refused token changes nothing, and the memory follows from the roles; random tokens interrupt a program."""
    task = load(name, variant)
    prompt = task.problem("test", 0, 3, data.draw(st.integers(0, 9)))
    program = record(task, prompt)
    tokens = program.ids[loss_mask(program.roles)].tolist()[:SHOWN]
    for place, token in data.draw(st.lists(st.tuples(st.integers(0, SHOWN), st.integers(0, len(task.vocab) - 1)))):
        tokens.insert(place, token)
    sink, memory, accepted = say(task, prompt, tokens)
    again, _, all_of_them = say(task, prompt, accepted)
    assert all_of_them == accepted
    assert again.ids.tolist() == sink.ids.tolist()
    assert again.roles.tolist() == sink.roles.tolist()
    said = [t for t, role in zip(sink.ids.tolist(), sink.roles.tolist(), strict=True) if role in REMEMBERED]
    if memory is not None:
        start = 1 + task.marks
        ends = said[-1:] == [task.vocab.ids["[EOS]"]]
        kept = said[start : 1 + len(prompt) - task.marks] + said[1 + len(prompt) : len(said) - ends]
        assert memory.tolist() == kept

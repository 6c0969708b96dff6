"""Compiled episodes against `Episode` and the Python tools, on random tokens that are allowed or not."""

import random

import numpy as np
import pytest

from tallystick import Task, tasks
from tallystick.episode import EOS, BadCommand, Recorder
from tallystick.tools import arrays
from tallystick.tools.arrays import BAD, DONE, FULL, NONE, SAID, grammar_of, start
from tallystick.tools.compiled import push
from tallystick.workspace import start_episode

pytest.importorskip("numba")
TOKENS = 4000  # more than there is room for at the start
MIXTURE = "turing:bb3:1,sort:3,reverse:1"


class Everything(Task):
    """A task with pointers, a tape that is closed in time, and declared notes."""

    symbols, notes, blank = "ab&-", ("&",), "-"
    tools = ("pointer:3", "tape:ab")

    def sample(self, length, rng):
        return rng.choices("ab", k=length)

    def tape(self, prompt):
        return prompt, len(prompt) - 1

    def tape_limit(self, prompt):
        return 200


class Endless(Everything):
    """The same, with a tape that is never closed and nothing on it."""

    def tape(self, prompt):
        return [], 0

    def tape_limit(self, prompt):
        return None


def loaded(name, variant):
    return {"everything": Everything, "endless": Endless}[name]() if variant is None else tasks.load(name, variant)


def named():
    names = [*tasks.TASKS, "turing:bb5", MIXTURE]
    pairs = [(name, variant) for name in names for variant in tasks.load(name).variants]
    return [("everything", None), ("endless", None), *pairs]


def tokens(part, rng, chances):
    """Yield random tokens; one kind of token, drawn anew now and then, is said more often, so that positions drift."""
    size = len(part.vocab)
    often = rng.randrange(size)
    while True:
        often = rng.randrange(size) if rng.random() < 0.002 else often
        token = often if rng.random() < chances else rng.randrange(size)
        if token != EOS or rng.random() < 0.01:
            yield token


def pushed(episode, token):
    try:
        return (*episode.push(token), NONE)[0]
    except BadCommand:
        return BAD


@pytest.mark.parametrize(("name", "variant"), named())
def test_every_answer_role_and_cell_is_that_of_an_episode(name, variant):
    task = loaded(name, variant)
    prompt = task.problem("test", 0, max(task.min_length, 5), 0)
    part = task.part_of(prompt)[0]
    grammar = grammar_of(part)
    if grammar is None:
        assert {spec.partition(":")[0] for spec in part.tools} - {"pointer", "tape"}
        return
    recorder, state, roles = Recorder(), start(task, prompt), []
    episode = start_episode(task, prompt, recorder)
    stream = tokens(part, random.Random(name), chances=0.5)
    for token in (next(stream) for _ in range(TOKENS)):
        answer = push(token, grammar, *state.arrays)
        if answer == FULL:
            state.grow()
            answer = push(token, grammar, *state.arrays)
        assert answer == pushed(episode, token)
        if answer != BAD:
            roles += [state.registers[SAID]] + [3] * (answer != NONE)
        assert state.registers[DONE] == episode.done
    episode.flush()
    assert recorder.roles[len(prompt) + 1 :].tolist() == roles
    assert state.remembered.tolist() == list(episode.memory or ())


def test_random_tokens_reach_every_kind_of_answer():
    """The test above is only as good as its tokens: they outgrow both arrays, close the tape and are refused."""
    for task in (Everything(), Endless()):
        state, grammar, answers = start(task, list("ab")), grammar_of(task), []
        stream = tokens(task, random.Random(1), chances=0.5)
        for token in (next(stream) for _ in range(4 * TOKENS)):
            answers.append(push(token, grammar, *state.arrays))
            if answers[-1] == FULL:
                state.grow()
        assert {BAD, FULL, NONE, *task.vocab.encode("ab")} <= {*answers}
        assert len(state.memory) > arrays.CAPACITY + 2
    assert len(state.cells) > 2 * arrays.CAPACITY + 1


def test_what_is_full_has_changed_nothing():
    task = Everything()
    state, grammar = start(task, list("ab")), grammar_of(task)
    state.memory = state.memory[:2]
    before = [array.copy() for array in state.arrays]
    for token in task.vocab.encode(["a", "[ANS]"]):
        assert push(token, grammar, *state.arrays) == FULL
    for array, old in zip(state.arrays, before, strict=True):
        assert np.array_equal(array, old)
    state.grow()
    assert push(task.vocab.ids["a"], grammar, *state.arrays) == NONE
    assert state.remembered.tolist() == task.vocab.encode("aba")


def test_other_tools_have_no_grammar():
    assert grammar_of(tasks.load("addition", "calculator")) is None
    assert grammar_of(tasks.load("turing-universal")) is None

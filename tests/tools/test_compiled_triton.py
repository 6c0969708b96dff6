"""Episodes inside a Triton kernel against `Episode` and the Python tools, on random tokens that are allowed or not.

Triton's interpreter runs them; `tests/engine/test_gpu.py` starts it.
"""

import os
import random

import numpy as np
import pytest
import torch

from tallystick import Task
from tallystick.episode import BOS, EOS, BadCommand, Recorder, Role
from tallystick.tools import arrays
from tallystick.workspace import start_episode

IN_INTERPRETER = os.environ.get("TRITON_INTERPRET") == "1"
TOKENS = 150
ROOM = 3 * TOKENS
CARRIED = (arrays.ROLE, arrays.BEFORE_NOTE, arrays.ANSWERED, arrays.SIZE, arrays.HEAD, arrays.WRITES)
"""Registers that the kernel carries along, in the order of `push`."""

if IN_INTERPRETER:
    import triton
    import triton.language as tl

    from tallystick.tools.compiled_triton import push

    @triton.jit
    def say(token_T, grammar_V3, carried, registers, memory, cells, remembers, answer_T, role_T, count):
        role, before_note, answered = tl.load(carried), tl.load(carried + 1), tl.load(carried + 2)
        size, head, writes = tl.load(carried + 3), tl.load(carried + 4), tl.load(carried + 5)
        for t in range(count):
            token = tl.load(token_T + t)
            row = grammar_V3 + 3 * token
            answer, said, role, before_note, answered, size, head, writes = push(
                token, tl.load(row), tl.load(row + 1), tl.load(row + 2), registers, memory, cells,
                remembers, role, before_note, answered, size, head, writes,
            )  # fmt: skip
            tl.store(answer_T + t, answer)
            tl.store(role_T + t, said)
        tl.store(carried + 3, size)


class Everything(Task):
    """A task with pointers, a tape that is closed in time, and declared notes."""

    symbols, notes, blank = "ab&-", ("&",), "-"
    tools = ("pointer:3", "tape:ab")

    def sample(self, length, rng):
        return rng.choices("ab", k=length)

    def tape(self, prompt):
        return prompt, len(prompt) - 1

    def tape_limit(self, prompt):
        return 6


def pushed(episode, token):
    try:
        return (*episode.push(token), arrays.NONE)[0]
    except BadCommand:
        return arrays.BAD


@pytest.mark.skipif(not IN_INTERPRETER, reason="run by tests/engine/test_gpu.py")
@pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")  # the interpreter's own
def test_interpreted_answers_roles_and_memory_are_those_of_an_episode():
    task, prompt, rng, recorder = Everything(), list("abaab"), random.Random(3), Recorder()
    episode, state, grammar = start_episode(task, prompt, recorder), arrays.start(task, prompt), arrays.grammar_of(task)
    often = task.vocab.encode(["[tape.read]", "[tape.left]", "[tape.right]", "[p1.read]", "[p1.left]", "[p1.right]"])
    tokens = rng.choices([*set(range(len(task.vocab))) - {EOS}, *often, *often], k=TOKENS)
    registers = torch.from_numpy(state.registers.astype(np.int32))
    memory, answers, roles = torch.zeros(ROOM, dtype=torch.int32), *torch.zeros(2, TOKENS, dtype=torch.int32)
    memory[: len(prompt)] = torch.from_numpy(state.remembered.astype(np.int32))
    given = torch.tensor(tokens, dtype=torch.int32), torch.from_numpy(grammar.astype(np.int32)), registers[[*CARRIED]]
    cells = torch.from_numpy(state.cells.astype(np.int32))
    say[(1,)](*given, registers, memory, cells, 1, answers, roles, TOKENS)
    want = [pushed(episode, token) for token in tokens]
    assert answers.tolist() == want
    assert {arrays.BAD, arrays.NONE, BOS, EOS, *task.vocab.encode("ab-")} <= {*want}
    episode.flush()
    taken = [pair for pair in zip(roles.tolist(), want, strict=True) if pair[1] != arrays.BAD]
    said = [[role, *[int(Role.OBSERVATION)] * (answer != arrays.NONE)] for role, answer in taken]
    assert sum(said, []) == recorder.roles[len(prompt) + 1 :].tolist()
    assert memory[: given[2][3]].tolist() == [*episode.memory]

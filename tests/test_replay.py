"""Tests that a replayed episode equals the live one and its tools, for every task and variant."""

from functools import partial

import pytest

from tallystick import tools as toolbox
from tallystick.episode import BOS, EOS, Brackets, Episode, Recorder
from tallystick.replay import Replay
from tallystick.tasks import TASKS, load, runner
from tallystick.vocab import loss_mask

OPTIONS = ("turing:multiplication", "turing:palindrome", "turing:bb3", "turing:bb5", "turing-universal:bb3")
MIXTURES = ("addition:0.33,multiplication-2:0.67", "turing:bb3:1,logic-graph:2,sort:3,reverse:1,shared")
CASES = [(name, variant) for name in (*TASKS, *OPTIONS, *MIXTURES) for variant in load(name).variants]
CUTS = 25
"""Places at which an episode is broken off: all of them take too long."""


class Watched:
    """A live episode whose tools record every command that they carry out."""

    def __init__(self, task, prompt):
        self.part, own = task.part_of(prompt)
        started = toolbox.start_all(self.part, own)
        self.tools, self.memory = started.commands, started.memory
        self.done = []  # (command's tokens, answer's tokens)
        self.sink = Recorder()
        notes = frozenset(self.part.vocab.encode(self.part.notes))
        ids = self.part.vocab.encode(prompt)
        commands = {token: self.watch(token, command) for token, command in self.tools.items()}
        self.episode = Episode(ids, commands, self.memory, self.sink, notes, task.marks)

    def watch(self, token, command):
        if isinstance(command, Brackets):
            return Brackets(command.close, partial(self.carry_out, command.call, token, command.close))
        return partial(self.carry_out, command, token)

    def carry_out(self, call, token, close=None, *arguments):
        answer = call(*arguments)
        said = [token] if close is None else [token, *arguments[0], close]
        self.done.append((said, list(answer)))
        return answer

    def cell(self, name):
        """Return the cell of a live pointer, found by walking: left of cell 0 it reads [BOS]."""
        read, left, right = (self.tools[self.part.vocab.ids[f"[{name}.{v}]"]] for v in ("read", "left", "right"))
        cell, step = (0, right) if read() == (BOS,) else (-1, left)
        while (read() == (BOS,)) == (step is right):
            step()
            cell += -1 if step is right else 1
        return cell


@pytest.mark.parametrize("index", range(2))
@pytest.mark.parametrize(("name", "variant"), CASES, ids=map("-".join, CASES))
def test_a_replay_equals_the_live_episode(name, variant, index):
    task = load(name, variant)
    prompt = task.problem("test", 0, task.min_length + 1, index)
    whole = runner.record(task, prompt)
    said = whole.ids[loss_mask(whole.roles)].tolist()
    for end in sorted({len(said), *range(0, len(said), len(said) // CUTS + 1)}):
        live = Watched(task, prompt)
        for token in said[:end]:
            live.episode.push(token)
        live.episode.flush()
        replay = Replay(task, live.sink.ids, live.sink.roles)
        assert replay.prompt == prompt
        check_memory(replay, live)
        check_commands(replay, live)
        check_pointers(replay, live)


def check_memory(replay, live):
    if live.memory is not None:
        assert replay.ids[replay.memory].tolist() == live.memory.tolist()


def check_commands(replay, live):
    ids = replay.ids.tolist()
    found = [(ids[c.start : c.end], ids[c.end : c.answered]) for c in replay.commands()]
    assert found[: len(live.done)] == live.done
    assert len(found) - len(live.done) <= 1  # the last one may still be open
    if len(found) > len(live.done):
        assert found[-1][0][0] in replay.closing_marks
        assert replay.closing_marks[found[-1][0][0]] not in found[-1][0]


def check_pointers(replay, live):
    assert set(replay.pointers) == {name for name, _ in replay.pointer_commands.values()}
    for name, cells in replay.pointers.items():
        read = live.tools[live.part.vocab.ids[f"[{name}.read]"]]
        assert (replay.read(int(cells[-1])),) == read()
        assert cells[-1] == live.cell(name)


def test_pointers_may_leave_the_memory():
    task = load("reverse")
    prompt = list("01>")
    live = Watched(task, prompt)
    for token in task.vocab.encode(["[p0.left]"] * 3 + ["[p0.read]"] + ["[p0.right]"] * 9 + ["[p0.read]"]):
        live.episode.push(token)
    live.episode.flush()
    replay = Replay(task, live.sink.ids, live.sink.roles)
    assert replay.pointers["p0"].tolist() == [0, 0, 0, 0, -1, -2, -3, -3, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 6, 6]
    assert [replay.read(cell) for cell in (-3, 6)] == [BOS, EOS]
    assert live.done[3][1] == [BOS]
    assert live.done[-1][1] == [EOS]


def test_pointers_of_other_parts_are_not_this_episodes():
    task = load(MIXTURES[1])
    names = {}
    for index in range(20):
        prompt = task.problem("test", 0, task.min_length + 1, index)
        record = runner.record(task, prompt)
        names[prompt[0]] = set(Replay(task, record.ids, record.roles).pointers)
    assert names["[turing:bb3]"] == set()
    assert names["[reverse]"] == {"p0"}

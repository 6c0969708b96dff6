"""Streams: programs take turns, nothing is lost, and whatever goes wrong in one ends all."""

import random
from collections import Counter
from decimal import getcontext, localcontext

import numpy as np
import pytest

from tallystick import models, tasks
from tallystick.episode import BLOCK, StopProgram
from tallystick.evaluation.interleave import Stream, batches
from tallystick.evaluation.verify import verify
from tallystick.tasks import guard
from tallystick.tasks.reverse import Reverse
from tallystick.workspace import ProgramError


class Marked(Stream):
    """Writes episodes, from what all share, whose tokens are their number."""

    def __init__(self, episodes, unwanted=()):
        super().__init__()
        self.episodes, self.bad, self.current, self.stopped = episodes, unwanted, None, []

    @property
    def unwanted(self):
        return self.current in self.bad

    def fill(self):
        for number, blocks in self.episodes:
            self.begin(number)
            self.current = number
            try:
                for size in blocks:
                    self.write(np.full(size, self.current, np.uint16), np.ones(size, np.uint8))
            except StopProgram:
                self.stopped.append(self.current)
                self.clear()
            finally:
                self.current = None


def rows_of(streams, length):
    """The inputs of each row, and how many rows were live in each batch."""
    inputs, live = [[] for _ in streams], []
    for batch in batches(streams, length):
        used = batch.lengths[batch.lengths > 0]
        assert {*used} == {batch.ids.shape[1] - 1}  # never ragged
        live.append(len(used))
        for row, (ids, count) in enumerate(zip(batch.ids, batch.lengths, strict=True)):
            inputs[row] += ids[:count].tolist()
    return inputs, live


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("length", "sizes"), [(7, [1, 3, 20]), (100, [2, 90]), (64, [500, 3000])])
def test_nothing_is_lost(seed, length, sizes):
    rng = random.Random(seed)
    episodes = [(i, rng.choices(sizes, k=rng.randrange(1, 6))) for i in range(40)]
    inputs, live = rows_of([Marked(shared) for shared in [iter(episodes)] for _ in range(3)], length)
    for row in inputs:
        assert row == sorted(row)  # whole, one after the other
    counts, lasts = sum((Counter(row) for row in inputs), Counter()), {row[-1] for row in inputs if row}
    for i, blocks in episodes:
        assert counts[i] in (sum(blocks), sum(blocks) - 1)  # a row's very last token is no input
        assert counts[i] == sum(blocks) or i in lasts or sum(blocks) == 1
    assert live == sorted(live, reverse=True)
    assert live[0] == 3


def test_giants_are_read_side_by_side():
    episodes = iter([(i, [BLOCK] * 4) for i in range(3)])
    _, live = rows_of([Marked(episodes) for _ in range(3)], 1000)
    assert {*live} == {3}


def test_an_unwanted_episode_ends_at_once_and_the_next_begins():
    shared = iter([(0, [50] * 99), (1, [50] * 2), (2, [50] * 99), (3, [50])])
    streams = [Marked(shared, unwanted=(0, 2)) for _ in range(2)]
    inputs, _ = rows_of(streams, 10)
    assert sorted(sum((stream.stopped for stream in streams), [])) == [0, 2]
    counts = sum((Counter(row) for row in inputs), Counter())
    assert max(counts[0], counts[2]) <= 10  # a batch has to be looked at
    assert counts[1] in (99, 100)


class Wrong(Reverse):
    """Its program says a wrong answer, or never ends, on a prompt that begins with a 1."""

    endless = False

    def solve(self, w):
        while self.endless and w.prompt[0] == "1":
            pass
        super().solve(w)

    def answer(self, prompt):
        return ["0"] if prompt[0] == "1" else super().answer(prompt)


@pytest.mark.parametrize("endless", [False, True])
def test_a_wrong_program_ends_verify(endless, monkeypatch):
    """Whatever waits for its turn; and the watch over silent programs works in a stream."""
    monkeypatch.setattr(guard, "PATIENCE", 0.2)
    monkeypatch.setattr(Wrong, "endless", endless)
    task, model = Wrong(), models.build("lstm", vocab_size=len(tasks.load("reverse").vocab))
    long, wrong = [*"0" * 30_000, ">"], [*"1" * 30, ">"]
    with pytest.raises(ProgramError, match="does not end" if endless else "the answer"):
        verify(model, task, [long, long, wrong, long])


class Precise(Marked):
    def fill(self):
        self.seen = getcontext().prec
        super().fill()


def test_programs_see_the_callers_context():
    with localcontext(prec=77):
        streams = [Precise(iter([(0, [5])])) for _ in range(2)]
        for _ in batches(streams, 10):
            pass
    assert [stream.seen for stream in streams] == [77, 77]


def test_nothing_is_kept_of_what_was_given_up():
    stream = Marked(iter([(i, [50] * 9) for i in range(100)]), unwanted=range(99))
    for _ in batches([stream], 10):
        assert len(stream.examples) <= 3


def test_programs_that_wait_are_ended():
    streams = [Marked(shared) for shared in [iter([(i, [50] * 9) for i in range(3)])] for _ in range(3)]
    stream = batches(streams, 10)
    next(stream)
    assert [stream.current for stream in streams] == [0, 1, 2]
    stream.close()
    assert [stream.current for stream in streams] == [None] * 3

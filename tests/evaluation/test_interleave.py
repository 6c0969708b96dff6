"""Tests of interleaved episodes: programs take turns, nothing is lost, and an error in one ends all."""

import random
from collections import Counter
from decimal import getcontext, localcontext

import numpy as np
import pytest

from tallystick import models, tasks
from tallystick.episode import BLOCK, StopProgram
from tallystick.evaluation.interleave import EpisodeStream, batches
from tallystick.evaluation.verify import verify
from tallystick.tasks import guard
from tallystick.tasks.reverse import Reverse
from tallystick.workspace import ProgramError


class Marked:
    """An episode whose tokens are all its number."""

    def __init__(self, number, blocks, wanted=True):
        self.number, self.blocks, self.wanted = number, blocks, wanted
        self.stopped = self.ended = False

    def play(self, sink):
        try:
            for size in self.blocks:
                sink.write(np.full(size, self.number, np.uint32), np.ones(size, np.uint8))
        except StopProgram:
            self.stopped = True
            raise
        finally:
            self.ended = True


def streams_of(episodes, count):
    shared = iter(episodes)
    return [EpisodeStream(shared) for _ in range(count)]


def rows_of(streams, length):
    """Return the inputs of each sequence, and the number of live sequences in each batch."""
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
    inputs, live = rows_of(streams_of([Marked(*each) for each in episodes], 3), length)
    for row in inputs:
        assert row == sorted(row)  # whole, one after the other
    counts, lasts = sum((Counter(row) for row in inputs), Counter()), {row[-1] for row in inputs if row}
    for i, blocks in episodes:
        assert counts[i] in (sum(blocks), sum(blocks) - 1)  # a row's very last token is no input
        assert counts[i] == sum(blocks) or i in lasts or sum(blocks) == 1
    assert live == sorted(live, reverse=True)
    assert live[0] == 3


def test_giants_are_read_side_by_side():
    _, live = rows_of(streams_of([Marked(i, [BLOCK] * 4) for i in range(3)], 3), 1000)
    assert {*live} == {3}


def test_an_unwanted_episode_ends_at_once_and_the_next_begins():
    blocks = [[50] * 99, [50] * 2, [50] * 99, [50]]
    episodes = [Marked(number, sizes, wanted=number % 2) for number, sizes in enumerate(blocks)]
    inputs, _ = rows_of(streams_of(episodes, 2), 10)
    assert [episode.stopped for episode in episodes] == [True, False, True, False]
    counts = sum((Counter(row) for row in inputs), Counter())
    assert max(counts[0], counts[2]) <= 10  # a batch has to be looked at
    assert counts[1] in (99, 100)


class Wrong(Reverse):
    """A task whose program answers wrongly, or never ends, on a prompt that begins with a 1."""

    endless = False

    def solve(self, w):
        while self.endless and w.prompt[0] == "1":
            pass
        super().solve(w)

    def answer(self, prompt):
        return ["0"] if prompt[0] == "1" else super().answer(prompt)


@pytest.mark.parametrize("endless", [False, True])
def test_a_wrong_program_ends_verify(endless, monkeypatch):
    """Other programs are waiting for their turn; the watchdog over silent programs works in a stream, too."""
    monkeypatch.setattr(guard, "PATIENCE", 0.2)
    monkeypatch.setattr(Wrong, "endless", endless)
    task, model = Wrong(), models.build("lstm", vocab_size=len(tasks.load("reverse").vocab))
    long, wrong = [*"0" * 30_000, ">"], [*"1" * 30, ">"]
    with pytest.raises(ProgramError, match="does not end" if endless else "the answer"):
        verify(model, task, [long, long, wrong, long])


class Precise(Marked):
    def play(self, sink):
        self.seen = getcontext().prec
        super().play(sink)


def test_programs_see_the_callers_context():
    episodes = [Precise(i, [5]) for i in range(2)]
    with localcontext(prec=77):
        for _ in batches(streams_of(episodes, 2), 10):
            pass
    assert [episode.seen for episode in episodes] == [77, 77]


def test_nothing_is_kept_of_what_was_given_up():
    (stream,) = streams_of([Marked(i, [50] * 9, wanted=i == 99) for i in range(100)], 1)
    for _ in batches([stream], 10):
        assert len(stream.packed.open) <= 3


def test_programs_that_wait_are_ended():
    episodes = [Marked(i, [50] * 9) for i in range(3)]
    taken = batches(streams_of(episodes, 3), 10)
    next(taken)
    assert [episode.ended for episode in episodes] == [False] * 3
    taken.close()
    assert [episode.ended for episode in episodes] == [True] * 3

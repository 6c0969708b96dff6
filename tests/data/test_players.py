"""Programs in worker processes: the same episodes, the same errors, and a worker that stays usable."""

import numpy as np
import pytest

from tallystick import tasks
from tallystick.data import players
from tallystick.data.players import Players
from tallystick.episode import Recorder, StopProgram
from tallystick.tasks import runner

TASK = tasks.load("reverse")
PROMPT = TASK.problem("test", 0, 30, 0)
TOO_LONG = TASK.problem("test", 0, 60_000, 0)


class Stopped(Recorder):
    """A sink that wants no more than its first block."""

    def write(self, ids, roles):
        super().write(ids, roles)
        raise StopProgram


@pytest.fixture
def one(monkeypatch):
    monkeypatch.setattr(players, "LONG", len(PROMPT))
    monkeypatch.setattr(players, "PATIENCE", 0.0)
    with Players(TASK, 1) as workers:
        yield workers


def played(workers, prompt, sink):
    player = workers.begin(prompt)
    assert player is not None
    try:
        player.play(sink)
    finally:
        workers.take_back(player)
    return sink


def test_a_worker_plays_stops_and_fails_as_the_program_does_here(one):
    want = runner.record(TASK, PROMPT)
    for _ in range(2):
        assert np.array_equal(played(one, PROMPT, Recorder()).ids, want.ids)
        stopped = Stopped()
        with pytest.raises(StopProgram):
            played(one, TOO_LONG, stopped)
        assert len(stopped.blocks) == 1
        with pytest.raises(ValueError, match="2"):
            played(one, ["2", *PROMPT], Recorder())


def test_short_problems_and_those_beyond_the_workers_stay_here(one):
    assert one.begin(PROMPT[1:]) is None
    assert one.begin(PROMPT) is not None
    assert one.begin(PROMPT) is None


def test_a_users_file_stays_here(tmp_path, monkeypatch):
    monkeypatch.setattr(players, "LONG", 1)
    monkeypatch.setattr(players, "PATIENCE", 0.0)
    source = tmp_path / "own.py"
    source.write_text("from tallystick.tasks.reverse import Reverse\n\nclass Own(Reverse):\n    pass\n")
    with Players(tasks.load(f"{source}:Own"), 1) as workers:
        assert workers.begin(PROMPT) is None


def test_no_process_is_started_early():
    with Players(TASK, 1) as workers:
        assert workers.begin(TASK.problem("test", 0, players.LONG, 0)) is None

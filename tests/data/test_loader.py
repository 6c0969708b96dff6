"""Training data: packed streams that lose nothing, and processes that can be stopped and resumed."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tallystick import tasks
from tallystick.data.loader import Loader, Share, produce
from tallystick.data.packing import Batch, Packer
from tallystick.data.source import Source
from tallystick.episode import BLOCK, Recorder, Role
from tallystick.problem import prompt_digest
from tallystick.tasks.runner import run
from tallystick.vocab import loss_mask
from tallystick.workspace import ProgramError

ROOT = Path(__file__).parents[2]
WILD = """
from tallystick import Task


class Wild(Task):
    '''As many thoughts as 4 to the number of leading a's: from 1 to many blocks.'''

    symbols = "abcd>"

    def sample(self, length, rng):
        heads = rng.choices([0, 1, 2, 3, length], [20, 5, 5, 5, 1])[0]
        return [*"a" * heads, *rng.choices("bc", k=29 + length), ">"]

    def sample_up_to(self, length, rng):
        return self.sample(length, rng)

    def answer(self, prompt):
        return [">"]

    def solve(self, w):
        p, thoughts = w.pointer(0), 1
        while p.read() == "a":
            thoughts *= 4
            p.right()
        w.think(*"d" * thoughts)
        w.answer()
        w.output(">")


class Wrong(Wild):
    '''Its program is wrong about one long prompt in about 16.'''

    def solve(self, w):
        p = w.pointer(0)
        if [(p.read(), p.right())[0] for _ in range(4)] == [*"bbbb"]:
            w.think("z")
        super().solve(w)
"""


@pytest.fixture(scope="module")
def wild(tmp_path_factory):
    path = tmp_path_factory.mktemp("tasks") / "wild.py"
    path.write_text(WILD)
    return str(path)


@pytest.fixture(params=["short", "long", "growing", pytest.param("giant", marks=pytest.mark.slow)])
def source(request, wild):
    """Return examples far shorter than a sequence of a batch, about as long, and one in 36 longer than two blocks."""
    name, length = {"short": (f"{wild}:Wild", 1), "giant": (f"{wild}:Wild", 9)}.get(request.param, ("addition", 8))
    return Source(task=name, variant=None, length=length, seed=3, curriculum=20 * (request.param == "growing"))


def width(source):
    """Return a sequence length with which a few batches hold many examples, or a giant one and more."""
    return 10_000 if source.length == 9 else 256


def batches(source, count):
    """So many batches, fewer of giants: 30 of a row are enough to hold one."""
    return count * 2 // 5 if source.length == 9 else count


class Enough(BaseException):
    """Raised to end `produce`."""


def take(source, rows, length, count, worker=0, workers=1, position=None):
    """Return the first batches of one worker, each with the position after it."""
    taken = []

    def emit(portion):
        taken.append((portion.batch, portion.position))
        if len(taken) == count:
            raise Enough

    with pytest.raises(Enough):
        run_share(Share(source, rows, length, worker, workers, position), emit)
    return taken


def run_share(share, emit):
    produce(tasks.load(share.source.task, share.source.variant), share, emit)


def equal(batch, other):
    return all(np.array_equiv(getattr(batch, name), getattr(other, name)) for name in vars(batch))


def inputs(batches, row):
    """Return a sequence's input ids, targets, whether they are trained, and whether an example begins."""
    parts = [(b.ids[row, :n], b.ids[row, 1 : n + 1], b.trained[row, :n], b.reset[row, :n]) for b in batches
             for n in [b.lengths[row]]]  # fmt: skip
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def examples(source, numbers):
    task = tasks.load(source.task, source.variant)
    for number in numbers:
        run(task, source.problem(task, number), sink := Recorder())
        yield number, sink.ids, loss_mask(sink.roles)


def expected_rows(source, rows, taken, worker, workers):
    """Return (ids, mask, example begins here) of each sequence, and all examples begun, by their number.

    They are whole but for those that the last position names; a whole one is found by its contents.
    """
    streams = [inputs([batch for batch, _ in taken], row)[0] for row in range(rows)]
    found, at, opened = [[] for _ in range(rows)], [0] * rows, taken[-1][1]
    used = {number: (row, tokens) for row, begun in enumerate(opened) for number, tokens in begun}
    for number, ids, mask in examples(source, range(worker, max(used) + 1, workers)):
        row, tokens = used.get(number) or (find(ids, streams, at), len(ids))
        found[row].append((ids[:tokens], mask[:tokens], np.arange(tokens) == 0))
        at[row] += tokens
    return [[np.concatenate(part) for part in zip(*row, strict=True)] for row in found]


def find(ids, streams, at):
    """Return the sequence that continues with a whole example."""
    return next(r for r, start in enumerate(at) if streams[r][start : start + len(ids)].tolist() == ids.tolist())


@pytest.mark.parametrize(("rows", "worker", "workers"), [(1, 0, 1), (4, 0, 1), (3, 1, 2)])
def test_rows_are_all_examples_whole_and_end_to_end(source, rows, worker, workers):
    taken = take(source, rows, width(source), batches(source, 75), worker, workers)
    for row, (ids, mask, begins) in enumerate(expected_rows(source, rows, taken, worker, workers)):
        got_ids, targets, trained, reset = inputs([batch for batch, _ in taken], row)
        assert got_ids.tolist() == ids.tolist()
        assert targets[:-1].tolist() == ids[1:].tolist()
        assert trained[:-1].tolist() == mask[1:].tolist()
        assert reset.tolist() == begins.tolist()


def test_a_position_names_only_examples_that_are_not_used_up(source):
    position = take(source, 3, width(source), 60)[-1][1]
    used = {number: tokens for row in position for number, tokens in row}
    assert all(used[number] < len(ids) for number, ids, _ in examples(source, used))


def test_a_batchs_shapes(source):
    for batch, position in take(source, 3, 100, 60):
        assert [x.shape for x in vars(batch).values()] == [(3, 101), (3, 100), (3, 100), (3,)]
        assert [x.dtype for x in vars(batch).values()] == [np.uint32, bool, bool, np.int64]
        assert json.loads(json.dumps(position)) == position
        unused = np.arange(100) >= batch.lengths[:, None]
        assert not (batch.trained | batch.reset)[unused].any()


def test_short_examples_fill_every_row(wild):
    for name, length in [("reverse", 6), ("addition", 5)]:
        batches = take(Source(task=name, variant=None, length=length, seed=0), 4, 64, 30)
        assert all((batch.lengths == 64).all() for batch, _ in batches)


def test_the_stream_is_a_pure_function_of_its_arguments(source):
    once, again = (take(source, 3, width(source), 20) for _ in range(2))
    assert all(equal(a, b) and p == q for (a, p), (b, q) in zip(once, again, strict=True))


def test_other_seeds_and_workers_have_other_examples():
    streams = [
        inputs([batch for batch, _ in take(source, 1, 256, 4, worker, 2)], 0)[0].tolist()
        for source in [Source(task="addition", variant=None, length=9, seed=seed) for seed in (0, 1)]
        for worker in (0, 1)
    ]
    assert len({tuple(stream) for stream in streams}) == 4


@pytest.mark.parametrize("rows", [1, 3])
def test_resumed_at_any_batch_the_stream_goes_on(source, rows):
    length, count = width(source), batches(source, 75)
    whole = take(source, rows, length, count)
    for after in (1, 2, 20, count - 3):
        position = json.loads(json.dumps(whole[after - 1][1]))
        rest = take(source, rows, length, count - after, position=position)
        assert all(equal(a, b) and p == q for (a, p), (b, q) in zip(whole[after:], rest, strict=True))


class Meter:
    """Counts the inputs of the batches that it receives."""

    def __init__(self):
        self.inputs, self.lengths = 0, []

    def __call__(self, batch: Batch, position):
        self.inputs += int(batch.lengths.sum())
        self.lengths.append(batch.lengths.tolist())


def block(size=BLOCK):
    return np.full(size, 9, np.uint32), np.full(size, Role.THOUGHT, np.uint8)


@pytest.mark.parametrize("short", [0, 1, 50, 3000])
def test_a_giant_example_is_handed_on_beside_short_rows(short):
    packer = Packer(2, 1000, meter := Meter())
    if short:
        packer.begin(0)
        packer.write(*block(short))
    packer.begin(1)
    for blocks in range(1, 12):
        packer.write(*block())
        assert blocks * BLOCK + short - meter.inputs <= 2 * BLOCK + 1000
    other = 0 if short else 1
    assert sum(lengths[other] for lengths in meter.lengths) == max(short - 1, 0)
    assert meter.inputs > 9 * BLOCK


def test_a_new_example_goes_to_the_row_with_the_fewest_tokens():
    packer = Packer(3, 100, meter := Meter())
    for size in (60, 90, 70, 50, 20, 30):  # 60 + 50, 90 + 30, 70 + 20: only the last is short of 101
        packer.begin(size)
        packer.write(*block(size))
    assert not meter.lengths
    packer.begin(7)
    packer.write(*block(11))
    assert meter.lengths == [[100, 100, 100]]


def test_a_wrong_program_is_named(wild):
    source = Source(task=f"{wild}:Wrong", variant=None, length=3, seed=5)
    task = tasks.load(source.task)
    wrong = next(i for i in range(99) if task.problem("train", 5, 3, i, up_to=True)[:4] == [*"bbbb"])
    named = rf"wild.py:Wrong: 'z' is not in the vocabulary.*, train problem {wrong} of length 3, seed 5$"
    with pytest.raises(ProgramError, match=named):
        run_share(Share(source, 2, 64), lambda portion: None)
    with pytest.raises(ProgramError, match=named), Loader(source, 2, 64) as loader:
        for _ in loader:
            pass


GIANT = {"batch_size": 4, "seq_len": 5000}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_loader_joins_its_workers_streams_and_resumes(wild, workers):
    source = Source(task=f"{wild}:Wild", variant=None, length=9, seed=3)
    parts = [take(source, 4 // workers, 5000, 12, worker, workers) for worker in range(workers)]
    with Loader(source, **GIANT, workers=workers) as loader:
        for step, batch in zip(range(5), loader, strict=False):
            assert equal(batch, joined([part[step][0] for part in parts]))
            assert loader.positions == [part[step][1] for part in parts]
    with Loader(source, **GIANT, workers=workers, positions=loader.positions) as resumed:
        for step, batch in zip(range(5, 12), resumed, strict=False):
            assert equal(batch, joined([part[step][0] for part in parts]))


def joined(parts):
    return Batch(*(np.concatenate(arrays) for arrays in zip(*(vars(part).values() for part in parts), strict=True)))


def test_a_batch_that_fails_moves_no_position(wild):
    """One worker's error arrives after the other's batch; both positions must still be at the same batch."""
    source = Source(task=f"{wild}:Wrong", variant=None, length=3, seed=5)
    positions = []

    def iterate(loader):
        for _ in loader:
            positions.append(list(loader.positions))

    with Loader(source, 2, 64, workers=2) as loader, pytest.raises(ProgramError):
        iterate(loader)
    assert loader.positions == positions[-1]


def test_the_workers_end_with_the_loader():
    before = set(multiprocessing.active_children())
    with Loader(Source(task="reverse", variant=None, length=5, seed=0), 2, 64, workers=2) as loader:
        next(iter(loader))
        assert len(set(multiprocessing.active_children()) - before) == 2
    assert set(multiprocessing.active_children()) == before


CHILD = """
import os
from tallystick.data.loader import Loader
from tallystick.data.source import Source
from tallystick.problem import prompt_digest
if __name__ == "__main__":
    loader = Loader(Source(task="reverse", variant=None, length=5, seed=0), 2, 64, workers=2)
    next(iter(loader))
    os._exit(7)
"""


def test_the_workers_end_with_their_parent(tmp_path):
    """They hold the pipe of its standard output, so `run` returns only once they have released it."""
    (tmp_path / "child.py").write_text(CHILD)
    command = [sys.executable, "-B", tmp_path / "child.py"]
    done = subprocess.run(command, capture_output=True, timeout=20, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stdout, done.stderr) == (7, b"", b"")


def test_rows_are_shared_evenly():
    with pytest.raises(ValueError, match="3 sequences cannot be divided among 2 workers"):
        Loader(Source(task="reverse", variant=None, length=5, seed=0), 3, 64, workers=2)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_state_passing(share):
    """The given share of the examples begins without a reset; the tokens are the same."""
    resets = []

    def keep(portion):
        resets.append(int(portion.batch.reset.sum()))
        if sum(resets) > 400 or len(resets) > 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_share(Share(Source(task="reverse", variant=None, length=4, seed=0, state_passing=share), 2, 256), keep)
    examples = {0.0: 400, 0.5: 400, 1.0: 0}[share]
    assert examples <= sum(resets) <= examples + 60
    assert (len(resets) > 25) == (share > 0)


def test_a_curriculum_grows_evenly_from_the_shortest_to_the_longest():
    task = tasks.load("addition")
    source = Source(task="addition", variant=None, length=5, seed=0, curriculum=10)
    assert [source.largest(task, example) for example in range(12)] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5]
    longest = [max(map(len, "".join(source.problem(task, i)[:-1]).split("+"))) for i in range(200)]
    assert max(longest[:2]) == 1
    assert max(longest[:6]) <= 3
    assert max(longest) == 5


@pytest.fixture
def impure():
    """Return the path of tasks that differ from process to process, print or hang."""
    return str(Path(__file__).parent / "impure.py")


@pytest.mark.parametrize("name", ["Hashed", "SaysASet"])
def test_a_task_that_differs_from_process_to_process_is_refused(impure, name):
    source = Source(task=f"{impure}:{name}", variant=None, length=3, seed=0)
    with Loader(source, 2, 64) as loader, pytest.raises(ValueError, match="another process draws other problems"):
        loader.check(tasks.load(source.task))


def test_checking_takes_no_batch(wild):
    source = Source(task=f"{wild}:Wild", variant=None, length=1, seed=3)
    expected = [batch for batch, _ in take(source, 2, 64, 3)]
    with Loader(source, 2, 64) as loader:
        loader.check(tasks.load(source.task))
        assert all(equal(batch, other) for batch, other in zip(loader, expected, strict=False))


def test_workers_print_nothing_on_stdout(impure, tmp_path):
    (tmp_path / "child.py").write_text(CHILD.replace('"reverse"', f'"{impure}:Prints"'))
    command = [sys.executable, "-B", tmp_path / "child.py"]
    done = subprocess.run(command, capture_output=True, timeout=20, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.stdout == b""
    assert b"printed at import\n" in done.stderr
    assert b"printed by a program\n" in done.stderr


ORPHAN = """
import os, time
from tallystick.data.loader import Loader
from tallystick.data.source import Source
from tallystick.problem import prompt_digest
if __name__ == "__main__":
    loader = Loader(Source(task="TASK", variant=None, length=5, seed=0), 2, 64)
    print(loader._workers[0][0].pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread waits for the parent")
def test_a_worker_that_sends_nothing_ends_with_a_killed_parent(impure, tmp_path):
    (tmp_path / "parent.py").write_text(ORPHAN.replace("TASK", f"{impure}:Silent"))
    hangs = tmp_path / "hangs"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HANG": str(hangs)}
    parent = subprocess.Popen([sys.executable, "-B", tmp_path / "parent.py"], stdout=subprocess.PIPE, env=environment)
    worker = Path("/proc", parent.stdout.readline().decode().strip())
    while not hangs.exists():
        time.sleep(0.02)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while worker.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not worker.exists()


def test_a_worker_that_dies_is_an_error_of_one_line(wild):
    with Loader(Source(task="reverse", variant=None, length=5, seed=0), 2, 64) as loader:
        loader._workers[0][0].kill()
        with pytest.raises(OSError, match=r"data worker 0 died \(exit code -9\)"):
            for _ in loader:
                pass


def test_held_out_problems_that_training_draws_are_reported(wild):
    source = Source(task=f"{wild}:Wild", variant=None, length=1, seed=3)
    task = tasks.load(source.task)
    drawn, other = (prompt_digest(source.problem(task, example)) for example in (5, 10**6))
    with Loader(source, 2, 64, workers=2, held_out=frozenset([drawn, other])) as loader:
        for _, _ in zip(range(100), loader, strict=False):
            if loader.overlap:
                break
    assert loader.overlap == {drawn}
    begun = max(example for rows in loader.positions for row in rows for example, _ in row)
    assert begun < 20

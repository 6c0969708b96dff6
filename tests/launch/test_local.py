"""The launcher: every outcome once, workers that are replaced, and none that outlives its parent."""

import importlib
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tallystick.launch.jobs import Job
from tallystick.launch.local import DIED, LocalLauncher, Worker, gpus

ROOT = Path(__file__).parents[2]
LINGERS = 8
"""Seconds that a grandchild outlives its parent."""
JOBS = """
import os, signal, sys, time

LINGERS = 8

def double(number, say):
    say(f"doubling {number}")
    print("to stdout")
    return 2 * number

def where(say):
    return os.getpid()

def gpu(say):
    return os.environ.get("CUDA_VISIBLE_DEVICES")

def mistaken(say):
    raise ValueError("a mistake\\nin two lines")

def broken(say):
    return 1 / 0

def leaves(say):
    sys.exit(3)

def killed(say):
    say("about to die")
    os.kill(os.getpid(), signal.SIGKILL)

def killed_with_a_child(say):
    if os.fork() == 0:
        time.sleep(LINGERS)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)

def endless(say):
    say("begun")
    while True:
        sum(range(10_000_000))
"""


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Return a module whose functions workers can import."""
    (tmp_path / "jobs_of_a_test.py").write_text(JOBS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("jobs_of_a_test")
    del sys.modules["jobs_of_a_test"]


def run(most, jobs, gpus=()):
    lines = []
    outcomes = LocalLauncher(most, gpus).run(jobs, lambda job, line: lines.append((job.name, line)))
    return {outcome.job.name: outcome.error or outcome.value for outcome in outcomes}, lines


def test_every_outcome_comes_once_and_every_line_with_its_job(jobs, capfd):
    found, lines = run(2, [Job(str(n), jobs.double, (n,)) for n in range(5)])
    assert found == {"0": 0, "1": 2, "2": 4, "3": 6, "4": 8}
    assert sorted(lines) == [(str(n), f"doubling {n}") for n in range(5)]
    assert capfd.readouterr().out == ""  # it is the parent's own


ERRORS = {
    "mistaken": "a mistake in two lines",
    "broken": "ZeroDivisionError",
    "leaves": "SystemExit: 3",
    "killed": DIED,
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_job_that_fails_is_told_in_a_line_and_its_worker_replaced(jobs, name):
    found, _ = run(1, [Job("before", jobs.where), Job("bad", getattr(jobs, name)), Job("after", jobs.where)])
    assert ERRORS[name] in found["bad"]
    assert "\n" not in found["bad"]
    assert found["before"] != found["after"]


def test_a_worker_does_job_after_job(jobs):
    found, _ = run(1, [Job("first", jobs.where), Job("second", jobs.where)])
    assert found["first"] == found["second"] != os.getpid()


@pytest.fixture
def worker():
    worker = Worker()
    yield worker
    worker.kill()


def test_lines_sent_before_a_death_arrive(jobs, worker):
    lines = []
    worker.begin(Job("bad", jobs.killed))
    worker.process.join()
    assert worker.receive(lambda job, line: lines.append(line)) is None
    assert lines == ["about to die"]
    assert worker.receive(lambda job, line: None).error == DIED


def test_an_interrupt_does_not_reach_a_job(jobs, worker):
    worker.begin(Job("busy", jobs.endless))
    assert worker.pipe.poll(10)
    assert worker.receive(lambda job, line: None) is None
    os.kill(worker.process.pid, signal.SIGINT)
    assert not worker.pipe.poll(0.3)
    assert worker.process.is_alive()


def test_a_death_is_seen_though_a_grandchild_holds_the_pipe(jobs):
    began = time.monotonic()
    found, _ = run(1, [Job("bad", jobs.killed_with_a_child)])
    assert found == {"bad": DIED}
    assert time.monotonic() - began < LINGERS


def test_a_worker_that_died_idle_is_replaced(jobs, worker):
    worker.process.kill()
    worker.process.join()
    worker.begin(Job("late", jobs.where))
    assert worker.pipe.poll(10)
    assert worker.receive(lambda job, line: None).value == worker.process.pid


def test_jobs_are_spread_over_the_gpus(jobs):
    found, _ = run(3, [Job(str(i), jobs.gpu) for i in range(3)], gpus=["4", "7"])
    assert set(found.values()) <= {"4", "7"}
    assert gpus("cpu") == []


def test_closing_the_iterator_kills_the_workers(jobs):
    begun = []
    outcomes = LocalLauncher(2).run(
        [Job("endless", jobs.endless), Job("quick", jobs.where)], lambda job, line: begun.append(line)
    )
    outcome = next(outcomes)
    outcomes.close()
    with pytest.raises(ProcessLookupError):
        os.kill(outcome.value, 0)


PARENT = """
import sys
from contextlib import closing
import jobs_of_a_test as jobs
from tallystick.launch.jobs import Job
from tallystick.launch.local import LocalLauncher

if __name__ == "__main__":
    print("started", flush=True)
    work = [Job(str(i), jobs.endless) for i in range(2)]
    try:
        with closing(LocalLauncher(2).run(work, lambda job, line: print(line, flush=True))) as outcomes:
            list(outcomes)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.fixture
def parent(tmp_path, jobs):
    """Start a process with two busy workers, in a session of its own; they hold its stdout, too."""
    (tmp_path / "parent.py").write_text(PARENT)
    process = subprocess.Popen(
        [sys.executable, "parent.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def wait_for(process, *lines):
    for line in lines:
        assert process.stdout.readline() == f"{line}\n"


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_workers_die_with_their_parent_however_it_dies(parent, sign):
    wait_for(parent, "started", "begun", "begun")
    parent.send_signal(sign)
    parent.communicate(timeout=10)  # ends when the workers, which hold its pipes, too, have ended


@pytest.mark.parametrize("delay", [None, 0.02, 0.1, 0.2])
def test_ctrl_c_is_answered_by_the_parent_alone(parent, delay):
    """The interrupt comes while workers start (after so many seconds), or while they are busy (None)."""
    wait_for(parent, "started", *([] if delay else ["begun", "begun"]))
    time.sleep(delay or 0)
    os.killpg(parent.pid, signal.SIGINT)  # as a terminal does
    printed, error = parent.communicate(timeout=10)
    assert printed.splitlines()[-1] == "interrupted"
    assert error == ""
    assert parent.returncode == 0

"""Fixtures that run commands, in this process or in a separate one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start():
    """Start a command in a process of its own; one that a failed test leaves behind is killed."""
    started = []

    def begin(*arguments, environment=None, **options):
        process = subprocess.Popen(
            [sys.executable, "-m", "tallystick", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | (environment or {}),
            **options,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        with process:
            process.kill()


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Return the run folder of a model that adds."""
    from tallystick import tasks
    from tallystick.config import configure
    from tallystick.training import loop

    path = tmp_path_factory.mktemp("runs") / "run"
    loop.train(path, configure(tasks.load("addition"), "lookup", {}))
    return path

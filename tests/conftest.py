"""Fixtures for all tests, which use one thread: with two, a busy machine is ten times slower on small tensors."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def lookup_run(tmp_path_factory):
    """Return the run folder of a finished training, to be copied before it is changed."""
    from tallystick import tasks
    from tallystick.config import configure
    from tallystick.training import loop

    path = tmp_path_factory.mktemp("runs") / "lookup"
    loop.train(path, configure(tasks.load("reverse"), "lookup", {}))
    return path

"""What all tests share: one thread, the profiles of Hypothesis, and a trained run."""

import copy
import os
import sys

import pytest
from hypothesis import settings

# Before torch is imported, and for the processes that tests start, too: with two threads, a busy machine of two cores
# takes ten times as long over small tensors.
os.environ["OMP_NUM_THREADS"] = "1"

# Both draw the same examples every time, so that a failure can be had again; HYPOTHESIS_PROFILE=many looks further.
settings.register_profile("few", max_examples=5, derandomize=True, deadline=None, database=None)
settings.register_profile("many", settings.get_profile("few"), max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "few"))


@pytest.fixture(scope="session")
def lookup_run(tmp_path_factory):
    """Return the run folder of a finished training, to be copied before it is changed."""
    from tallystick import tasks
    from tallystick.config import configure
    from tallystick.training import loop

    path = tmp_path_factory.mktemp("runs") / "lookup"
    loop.train(path, configure(tasks.load("reverse"), "lookup", {}))
    return path


@pytest.fixture(scope="session", autouse=True)
def found_once():
    """Choose held-out problems and check a task once: both are pure, and many tests train and report the same."""
    from tallystick import locality
    from tallystick.locality import held_out, hidden
    from tallystick.tasks.registry import source

    def once(function):
        results = {}

        def cached(task, *arguments, **options):
            if not (task.home.__module__.startswith("tallystick.tasks.") or ".py:" in task.name):
                return function(task, *arguments, **options)  # a class of the test itself, which no name tells apart
            key = source(task), type(task), task.name, task.variant, repr((arguments, options))
            if key not in results:
                results[key] = function(task, *arguments, **options)
            return copy.deepcopy(results[key])

        return cached

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_out, "choose", once(held_out.choose))
        patch.setattr(locality, "check", once(locality.check))
        patch.setattr(hidden, "PROBLEMS", 50)  # half of a check's time; test_hidden has the real number
        yield


@pytest.fixture
def tallystick(capsys):
    """Run a command in this process; returns what it printed on stdout and stderr."""

    from tallystick import cli

    def run(*arguments, code=0):
        before, sys.argv = sys.argv, ["tallystick", *map(str, arguments)]
        try:
            with pytest.raises(SystemExit) as exit:
                cli.main()
        finally:
            sys.argv = before
        printed = capsys.readouterr()
        assert (exit.value.code or 0) == code, printed.err
        return printed

    return run


@pytest.fixture
def says():
    """Return a maker of scripted models: each says the given tokens, whatever it is answered."""
    import torch

    from tallystick.models.base import Model

    class Says(Model):
        chunk = 64
        verify_chunk = 2**20  # what is read between two tokens is read at once: `said` counts calls

        def __init__(self, task, script):
            super().__init__(None)
            self.script, self.size = torch.tensor(task.vocab.encode(script)), len(task.vocab)
            self.register_buffer("device", torch.zeros(1))

        def init_state(self, batch):
            return {"said": torch.zeros(batch, dtype=torch.int64)}

        def forward(self, ids_BL, state=None, *, reset_BL=None, length_B=None):
            state = state or self.init_state(len(ids_BL))
            said_BL = state["said"][:, None].expand(ids_BL.shape).clamp(max=len(self.script) - 1)
            logits_BLV = torch.nn.functional.one_hot(self.script[said_BL], self.size).float()
            return logits_BLV, {"said": state["said"] + 1}

    return Says

"""Tests that training which cannot fit into memory is refused in advance, and that its estimate is good."""

import gc
import resource

import pytest
import torch

from tallystick import models, tasks
from tallystick.config import configure
from tallystick.training import loop, memory

TRAINED = [name for name in models.names() if any(True for _ in models.build(name, vocab_size=5).parameters())]


@pytest.mark.parametrize(
    "overrides",
    [{"batch_size": "1000000", "seq_len": "10000000"}, {"d_model": "65536", "n_layer": "100"}],
)
def test_too_large_a_training_is_refused(tmp_path, overrides):
    config = configure(tasks.load("reverse"), "mamba2:tiny", overrides)
    with pytest.raises(ValueError, match="would take at least .* GB of memory, and device=cpu has .* GB; choose a"):
        loop.train(tmp_path / "run", config)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", TRAINED)
def test_no_default_is_refused(name):
    config = configure(tasks.load("reverse"), f"{name}:tiny", {})
    memory.check_weights(config, 20)
    memory.check_training(models.build(config.model, vocab_size=20, **config.model_settings), config.settings)


@pytest.mark.parametrize("name", TRAINED)
def test_the_estimate_follows_the_length(name):
    """A long pass keeps at most what two short ones predict, or more where attention grows."""
    model = models.build(name, vocab_size=20)
    short, long = memory._kept_bytes(model, memory.PROBE), memory._kept_bytes(model, 2 * memory.PROBE)
    assert 0 < short < long
    expected = short + (long - short) * (160 - memory.PROBE) / memory.PROBE
    assert 0.6 < memory._kept_bytes(model, 160) / expected < 4


def test_a_limit_of_the_process_counts():
    before = resource.getrlimit(resource.RLIMIT_AS)
    unlimited = memory.machine_bytes("cpu")
    limit = unlimited - 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        assert memory.machine_bytes("cpu") == limit
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert memory.machine_bytes("cpu") == unlimited


def test_measuring_keeps_no_graph_alive():
    """Gradient nodes that outlive it would break the CUDA graph of the training step."""
    model = models.build("mamba2", vocab_size=20)
    gc.collect()
    gc.disable()
    try:
        before = sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())
        memory._kept_bytes(model, 16)
        assert sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()) == before
    finally:
        gc.enable()

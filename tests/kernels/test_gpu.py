"""The choice between Triton kernels and plain PyTorch, with kernels that are right or wrong by construction."""

import functools

import pytest
import torch

from tallystick.kernels import gpu, selfcheck

X = torch.ones(3)


def checking(factor):
    """Return a check of "kernels" that multiply by this factor; the reference doubles."""
    return lambda device: ([torch.ones(4, device=device)], lambda x: [factor * x], lambda x: [2 * x])


@pytest.fixture(autouse=True)
def _as_if_on_a_gpu(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setattr(gpu, "is_on_gpu", lambda tensor: True)
    monkeypatch.setattr(gpu, "find_spec", lambda name: object())
    monkeypatch.setitem(selfcheck.CHECKS, "rnn_loops", checking(2))
    for name in ("_problem", "_say"):  # caches of their own
        monkeypatch.setattr(gpu, name, functools.cache(getattr(gpu, name).__wrapped__))


@pytest.mark.parametrize("choice", ["auto", "triton"])
def test_kernels_that_are_right_are_used(choice, monkeypatch):
    monkeypatch.setenv("TALLYSTICK_KERNELS", choice)
    assert gpu.load("rnn_loops", X).__name__ == "tallystick.kernels.rnn_loops"


@pytest.mark.parametrize("factor", [2.01, float("nan")])
def test_kernels_that_are_wrong_are_not_used_and_it_is_said_once(factor, monkeypatch, capsys):
    monkeypatch.setitem(selfcheck.CHECKS, "rnn_loops", checking(factor))
    assert gpu.load("rnn_loops", X) is None
    assert gpu.load("rnn_loops", X) is None
    said = capsys.readouterr().err
    assert said.startswith("tallystick: the kernels of rnn_loops differ from the reference by")
    assert said.count("\n") == 1


def test_kernels_that_fail_are_not_used(monkeypatch, capsys):
    monkeypatch.setitem(selfcheck.CHECKS, "rnn_loops", lambda device: ([X], lambda x: [x.no_such_thing], lambda x: [x]))
    assert gpu.load("rnn_loops", X) is None
    assert "the kernels of rnn_loops fail on this GPU (AttributeError: " in capsys.readouterr().err


def test_kernels_that_are_wrong_and_asked_for_are_refused(monkeypatch):
    monkeypatch.setitem(selfcheck.CHECKS, "rnn_loops", checking(3))
    monkeypatch.setenv("TALLYSTICK_KERNELS", "triton")
    with pytest.raises(ValueError, match="TALLYSTICK_KERNELS=triton, but the kernels of rnn_loops differ"):
        gpu.load("rnn_loops", X)


def test_a_check_leaves_no_trace():
    """It runs within a user's first step: neither random numbers nor what that step counts may change."""
    saved, state = [], torch.get_rng_state()
    with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(saved.append, lambda _: None):
        assert gpu.load("rnn_loops", X) is not None
        assert not torch.is_grad_enabled()
    assert not saved
    torch.testing.assert_close(torch.get_rng_state(), state, rtol=0, atol=0)


def test_without_triton(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    assert gpu.load("rnn_loops", X) is None
    assert "Triton is not installed" in capsys.readouterr().err


def test_an_old_gpu(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    assert gpu.load("rnn_loops", X) is None
    assert "Tesla T4 is too old" in capsys.readouterr().err


def test_what_never_takes_kernels(monkeypatch):
    monkeypatch.setattr(gpu, "_problem", lambda name: pytest.fail("looked for kernels"))
    assert gpu.load("rnn_loops", X.double()) is None
    monkeypatch.setenv("TALLYSTICK_KERNELS", "torch")
    assert gpu.load("rnn_loops", X) is None
    monkeypatch.setenv("TALLYSTICK_KERNELS", "fast")
    with pytest.raises(ValueError, match="must be auto, triton or torch, got 'fast'"):
        gpu.load("rnn_loops", X)

"""Run a training step as a CUDA graph: launch overhead dominates small models.

Glossary: B batch, L length; ids have one token more than L, since targets are shifted by one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tallystick.models.base import State

Step = Callable[[Tensor, Tensor, Tensor, State], tuple[Tensor, State]]
"""A training step: takes ids_BL, trained_BL, reset_BL and the state; returns the detached loss and the new state. It
must not wait for the GPU, and its shapes must not depend on values."""
WARMUP_STEPS = 3
"""Number of first steps that run without the graph: one-time work, such as choosing a kernel, must not be captured."""


class GraphedStep:
    """Runs training steps of one shape: the first few as usual, all others by replaying a captured one.

    The returned tensors are overwritten by the next step.
    """

    def __init__(self) -> None:
        self._calls, self._stream = 0, torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(
        self, step: Step, ids_BL: Tensor, trained_BL: Tensor, reset_BL: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Run one step. `step` must be the same at every call; it is not stored, which would keep its Trainer alive."""
        self._calls += 1
        if self._calls <= WARMUP_STEPS:
            return self._warm_up(step, ids_BL, trained_BL, reset_BL, state)
        if self._graph is None:
            self._capture(step, ids_BL, trained_BL, reset_BL, state)
        for own, given in zip(self._inputs, (ids_BL, trained_BL, reset_BL), strict=True):
            own.copy_(given)
        for name, own in self._state.items():
            own.copy_(state[name])
        assert self._graph is not None
        self._graph.replay()
        return self._loss, self._after

    def _warm_up(
        self, step: Step, ids_BL: Tensor, trained_BL: Tensor, reset_BL: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Run the step on a side stream, as the capture will."""
        stream = torch.cuda.current_stream()
        self._stream.wait_stream(stream)
        with torch.cuda.stream(self._stream):
            outcome = step(ids_BL, trained_BL, reset_BL, state)
        stream.wait_stream(self._stream)
        return outcome

    def _capture(self, step: Step, ids_BL: Tensor, trained_BL: Tensor, reset_BL: Tensor, state: State) -> None:
        self._inputs = ids_BL.clone(), trained_BL.clone(), reset_BL.clone()
        self._state = {name: tensor.clone() for name, tensor in state.items()}
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss, self._after = step(*self._inputs, self._state)

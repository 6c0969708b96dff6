"""A training step as a single launch: what a small model computes takes a GPU less time than to be told it.

Glossary: B rows, L length; one of ids is a target further on.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tallystick.models.base import State

Step = Callable[[Tensor, Tensor, Tensor, State], tuple[Tensor, State]]
"""ids_BL, trained_BL, reset_BL and the state before -> the loss, detached, and the state behind, with no wait for the
GPU and no shape that depends on values."""
WARM = 3
"""Steps that are made as usual first: what is set up once must not be part of the graph."""


class CapturedStep:
    """Calls `step`; after the first calls by replaying what it launched (a CUDA graph).

    Every call is one step of training. All have the same shapes, and the tensors that are returned are overwritten by
    the next.
    """

    def __init__(self, step: Step):
        self._step, self._calls = step, 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, ids_BL: Tensor, trained_BL: Tensor, reset_BL: Tensor, state: State) -> tuple[Tensor, State]:
        self._calls += 1
        if self._calls <= WARM:
            return self._beside(ids_BL, trained_BL, reset_BL, state)
        if self._graph is None:
            self._capture(ids_BL, trained_BL, reset_BL, state)
        for own, given in zip(self._inputs, (ids_BL, trained_BL, reset_BL), strict=True):
            own.copy_(given)
        for name, own in self._state.items():
            own.copy_(state[name])  # its own, unless another step came between
        assert self._graph is not None
        self._graph.replay()
        return self._loss, self._after

    def _beside(self, *arguments) -> tuple[Tensor, State]:
        """On a stream of its own, as the graph will be captured."""
        stream, own = torch.cuda.current_stream(), torch.cuda.Stream()
        own.wait_stream(stream)
        with torch.cuda.stream(own):
            outcome = self._step(*arguments)
        stream.wait_stream(own)
        return outcome

    def _capture(self, ids_BL: Tensor, trained_BL: Tensor, reset_BL: Tensor, state: State) -> None:
        self._inputs = ids_BL.clone(), trained_BL.clone(), reset_BL.clone()
        self._state = {name: tensor.clone() for name, tensor in state.items()}
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss, self._after = self._step(*self._inputs, self._state)

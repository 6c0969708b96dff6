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
    """Makes steps; after the first by replaying what they launched (a CUDA graph).

    All have the same shapes, and the tensors that are returned are overwritten by the next.
    """

    def __init__(self) -> None:
        self._calls, self._stream = 0, torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(
        self, step: Step, ids_BL: Tensor, trained_BL: Tensor, reset_BL: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """One step of training; always with the same `step`, which is not kept: it keeps whom it belongs to."""
        self._calls += 1
        if self._calls <= WARM:
            return self._beside(step, ids_BL, trained_BL, reset_BL, state)
        if self._graph is None:
            self._capture(step, ids_BL, trained_BL, reset_BL, state)
        for own, given in zip(self._inputs, (ids_BL, trained_BL, reset_BL), strict=True):
            own.copy_(given)
        for name, own in self._state.items():
            own.copy_(state[name])  # its own, unless another step came between
        assert self._graph is not None
        self._graph.replay()
        return self._loss, self._after

    def _beside(self, step: Step, *arguments) -> tuple[Tensor, State]:
        """On a stream of its own, as the graph will be captured."""
        stream = torch.cuda.current_stream()
        self._stream.wait_stream(stream)
        with torch.cuda.stream(self._stream):
            outcome = step(*arguments)
        stream.wait_stream(self._stream)
        return outcome

    def _capture(self, step: Step, ids_BL: Tensor, trained_BL: Tensor, reset_BL: Tensor, state: State) -> None:
        self._inputs = ids_BL.clone(), trained_BL.clone(), reset_BL.clone()
        self._state = {name: tensor.clone() for name, tensor in state.items()}
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss, self._after = step(*self._inputs, self._state)

"""Bounds of a network's state in every context, block by block, and along paths of contexts.

All bounds are sound at every moment. What a block reads is known once the blocks before it are bounded, and its state
begins with a bound that no step leaves. A sweep replaces each context's state by what one step makes of the hull of its
predecessors' states: if every run's states lie in the boxes, they lie in the new ones, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy import ndarray as Array

from tallystick.locality.certify.blocks import Block, Coefficients, Output, ScanBlock
from tallystick.locality.certify.boxes import Box, point
from tallystick.locality.certify.contexts import Contexts
from tallystick.locality.certify.network import Network

SWEEPS = 40
"""Maximum number of sweeps over all contexts."""
SETTLED = 1e-4
"""Largest change of a bound, as a share of the first bound, from which on further sweeps would bring little."""
DEEPEST = 16
"""Maximum number of tokens by which a context is extended, unless fewer decide."""
PART = 1024
"""Number of contexts that are computed at once."""


class BlockBounds(TypedDict):
    """What is bounded of a block's scan."""

    decay: float
    """Largest share of the state that is left after a token."""
    state: float
    """Largest magnitude of the state."""
    scan_error: float
    """Largest error of an entry of the state in single precision."""


@dataclass
class Layer:
    """What is known of a block in every context."""

    mixed: Box
    """in_proj's outputs at the context's last token, [n, M]; 0 at context 0."""
    tails: list[Box]
    """The convolution's inputs 1, 2, ... tokens before, each [n, X]."""
    state: Box
    """The ideal scan's state after the last token, [n, E * S]."""
    gated: Box
    """The scan's gated output, [n, E]."""


def concatenated(boxes: list[Box]) -> Box:
    """Join boxes along the first dimension."""
    return Box(np.concatenate([box.lo for box in boxes]), np.concatenate([box.hi for box in boxes]))


class Bounds:
    """Bounds of a network in every context of a token graph."""

    def __init__(self, network: Network, contexts: Contexts):
        self.network, self.contexts = network, contexts
        self.token = contexts.tokens[:, -1]
        self.deepest = max(0, network.field - contexts.tokens.shape[1]) if network.field else DEEPEST
        self.layers: list[Layer] = []
        for number in range(len(network.blocks)):
            self.layers.append(self._layer(number))

    def _parts(self) -> list[slice]:
        return [slice(begin, begin + PART) for begin in range(0, len(self.contexts), PART)]

    def outputs(self, which: slice | Array, layers: int | None = None) -> list[Output]:
        """Return the outputs of the first blocks in some contexts."""
        blocks = self.network.blocks
        return [block.output(layer.gated[which]) for layer, block in zip(self.layers[:layers], blocks, strict=False)]

    def _layer(self, number: int) -> Layer:
        network, block = self.network, self.network.blocks[number]
        mixed = concatenated([network.mixed(number, self.token[part], self.outputs(part)) for part in self._parts()])
        mixed.lo[0], mixed.hi[0] = 0.0, 0.0  # nothing was read
        tails = [self._hulls(block.split(mixed)[1])]
        while len(tails) < len(block.taps) - 1:
            tails.append(self._hulls(tails[-1]))
        layer = Layer(mixed, tails, mixed, mixed)
        layer.state = self._states(block, layer)
        layer.gated = concatenated([self._gated(block, layer, part) for part in self._parts()])
        return layer

    def _states(self, block: Block, layer: Layer) -> Box:
        if not isinstance(block, ScanBlock):
            return point(np.zeros((len(self.contexts), 0)))
        state = self._first(block, layer)
        self._sweep(block, layer, state)
        return state

    def _hulls(self, box: Box) -> Box:
        """Return for each context the hull over its predecessors; zero for context 0."""
        over, group = self.contexts.over_groups, self.contexts.group
        return Box(over(np.minimum, box.lo)[group], over(np.maximum, box.hi)[group])

    def coefficients(self, number: int, which: slice | Array) -> Coefficients:
        """Return a block's coefficients in some contexts."""
        return self._coefficients(self.network.blocks[number], self.layers[number], which)

    def _coefficients(self, block: Block, layer: Layer, which: slice | Array) -> Coefficients:
        _, xBC, dt = block.split(layer.mixed[which])
        return block.coefficients(dt, [xBC, *(tail[which] for tail in layer.tails)])

    def _first(self, block: ScanBlock, layer: Layer) -> Box:
        """Bound the states of all contexts together, and what the scan loses in single precision."""
        most, added = np.zeros(block.inner * block.states), np.zeros((block.inner, block.states))
        least_dt, most_dt = np.full(block.heads, np.inf), np.zeros(block.heads)
        for part in self._parts():
            at = self._coefficients(block, layer, slice(max(part.start, 1), part.stop))
            most = np.maximum(most, block.bound_of_state(at))
            added = np.maximum(added, block.added(at).magnitude.max(0).reshape(added.shape))
            least_dt, most_dt = np.minimum(least_dt, at.dt.lo.min(0)), np.maximum(most_dt, at.dt.hi.max(0))
        block.set_scan_error(least_dt, most_dt, added)
        hi = np.tile(most, (len(self.contexts), 1))
        hi[0] = 0.0
        return Box(-hi, hi)

    def _sweep(self, block: ScanBlock, layer: Layer, state: Box) -> None:
        """Tighten the states, in place, until they settle."""
        over, group, scale = self.contexts.over_groups, self.contexts.group, state.hi.max()
        for _ in range(SWEEPS):
            lo, hi = over(np.minimum, state.lo), over(np.maximum, state.hi)
            change = 0.0
            for part in self._parts():
                rows = slice(max(part.start, 1), part.stop)
                before, old = group[rows], state[rows]
                new = block.advance(Box(lo[before], hi[before]), self._coefficients(block, layer, rows)) & old
                change = max(change, float((new.lo - old.lo).max()), float((old.hi - new.hi).max()))
                state.lo[rows], state.hi[rows] = new.lo, new.hi
            if change < SETTLED * scale:
                break

    def _gated(self, block: Block, layer: Layer, which: slice | Array) -> Box:
        z = block.split(layer.mixed[which])[0]
        return block.gated(layer.state[which], self._coefficients(block, layer, which), z)

    def summary(self) -> list[BlockBounds]:
        """Return what is bounded of each block that has a scan."""
        rows: list[BlockBounds] = []
        for number, (block, layer) in enumerate(zip(self.network.blocks, self.layers, strict=True)):
            if isinstance(block, ScanBlock):
                decay = block.decay(self.coefficients(number, slice(1, None)).dt)
                state, error = layer.state.magnitude.max(), block.scan_error.max()
                rows.append({"decay": float(decay.hi.max()), "state": float(state), "scan_error": float(error)})
        return rows

    def margins(self, which: Array) -> tuple[Array, Array]:
        """Return bounds of the margins in some contexts, and the closest rivals."""
        parts = [which[begin : begin + PART] for begin in range(0, len(which), PART)]
        said = self.contexts.said
        found = [self.network.margins(said[part], self.token[part], self.outputs(part)) for part in parts]
        return np.concatenate([bounds for bounds, _ in found]), np.concatenate([rivals for _, rivals in found])

    def margins_along(self, paths: Array) -> tuple[Array, Array]:
        """Return bounds as `margins` at the ends of paths, each a row of contexts that follow one another.

        What is known at a path's first context is what was known before; from there on the path alone counts.
        """
        parts = [paths[begin : begin + PART] for begin in range(0, len(paths), PART)]
        found = [self._margins_along(part) for part in parts]
        return np.concatenate([bounds for bounds, _ in found]), np.concatenate([rivals for _, rivals in found])

    def _margins_along(self, paths: Array) -> tuple[Array, Array]:
        network = self.network
        outputs: list[list[Output]] = [[] for _ in range(paths.shape[1])]
        for number, (block, layer) in enumerate(zip(network.blocks, self.layers, strict=True)):
            first = paths[:, 0]
            seen = [block.split(layer.mixed[first])[1], *(tail[first] for tail in layer.tails)]
            state = layer.state[first]
            outputs[0].append(block.output(layer.gated[first]))
            for place in range(1, paths.shape[1]):
                here = paths[:, place]
                mixed = network.mixed(number, self.token[here], outputs[place]) & layer.mixed[here]
                z, xBC, dt = block.split(mixed)
                seen = [xBC, *seen[:-1]]
                at = block.coefficients(dt, seen)
                state = block.advance(state, at)
                gated = block.gated(state, at, z) & layer.gated[here]
                outputs[place].append(block.output(gated))
        last = paths[:, -1]
        return network.margins(self.contexts.said[last], self.token[last], outputs[-1])

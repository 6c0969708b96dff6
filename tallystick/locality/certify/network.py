"""Stacks of blocks on boxes: the residual stream, and bounds of the margins, as float32 computes them.

Glossary: n contexts (or paths), V vocabulary, D model width, M outputs of in_proj.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray as Array

from tallystick.locality.certify.blocks import Block, ConvBlock, Mamba1Block, Mamba2Block, Output, after_norm, weight
from tallystick.locality.certify.boxes import (
    OWN,
    TINY,
    Box,
    inverse_rms,
    linear,
    normed,
    own,
    point,
    rate,
    square,
    widen,
)
from tallystick.models.base import Model
from tallystick.models.conv import Conv
from tallystick.models.mamba1 import Mamba1
from tallystick.models.mamba2 import Mamba2

BLOCKS: dict[type[Model], type[Any]] = {Mamba2: Mamba2Block, Mamba1: Mamba1Block, Conv: ConvBlock}
"""The bounds of each kind of model's blocks."""


class Network:
    """A stack of blocks on boxes."""

    def __init__(self, model: Any):
        self.embedding = weight(model.embedding.weight)
        self.blocks: list[Block] = [BLOCKS[type(model)](layer) for layer in model.layers]
        self.head = weight(model.head.weight) * weight(model.norm.weight)
        self.eps = float(model.norm.eps or 0.0)
        self.width = self.embedding.shape[1]
        self.field: int | None = getattr(model.config, "field", None)
        """Number of last tokens that decide what the model says, if there is one."""

    def linear_of_residual(self, matrix: Array, tokens: Array, outputs: list[Output]) -> Box:
        """Return the box of `matrix @ x`, x being the residual stream behind the given blocks' outputs."""
        rows, entries = matrix.shape[0], np.abs(self.embedding).max(0)
        read = (matrix @ self.embedding.T).T[tokens]
        box = own(point(read), np.full(rows, 1.0) * np.linalg.norm(matrix, axis=1) * np.linalg.norm(entries))
        lost = np.zeros(rows)
        for block, output in zip(self.blocks, outputs, strict=False):
            through = matrix @ block.out_proj
            box = box + output.through(through)
            entries = entries + output.largest(block.out_proj) * 1.01
            # each entry's sum of products may begin with the residual stream
            lost = lost + rate(block.inner + 1) * entries @ np.abs(matrix).T + output.lost(through)
        return widen(box, lost)

    def mixed(self, layer: int, tokens: Array, outputs: list[Output]) -> Box:
        """Return the box of in_proj's outputs of a block, [n, M]; outputs: of the blocks before it."""
        block = self.blocks[layer]
        x = self.linear_of_residual(np.eye(self.width), tokens, outputs)
        squares = square(x)
        direct = linear(block.in_proj, normed(x, squares, block.eps))
        whole = inverse_rms(squares, block.eps) * self.linear_of_residual(block.in_proj, tokens, outputs)
        return widen(direct & whole, after_norm(block.in_proj, self.width))

    def margins(self, said: Array, tokens: Array, outputs: list[Output]) -> tuple[Array, Array]:
        """Return a lower bound of each said token's margin in logits, as float32 computes it, and the closest rival.

        The bound is negative where the margin may be; how far says nothing then.
        """
        x = self.linear_of_residual(np.eye(self.width), tokens, outputs)
        scale = inverse_rms(square(x), self.eps)
        lost = after_norm(self.head, self.width)
        bounds, rivals = np.empty(len(said)), np.empty(len(said), np.int64)
        for token in np.unique(said):
            rows = np.flatnonzero(said == token)
            over = np.delete(np.arange(len(self.head)), token)
            some = [output[rows] for output in outputs]
            least = self.linear_of_residual(self.head[token] - self.head[over], tokens[rows], some).lo
            least = np.where(least > 0, least * scale.lo[rows], least * scale.hi[rows]) - (lost[token] + lost[over])
            closest = least.argmin(1)
            bounds[rows], rivals[rows] = least[np.arange(len(rows)), closest] * (1 - OWN) - TINY, over[closest]
        return bounds, rivals

"""The product of rows with a matrix in machine code: a small tile of the result stays in registers.

Numba's own loops would write each partial sum to memory, and check each time whether arrays overlap. Every sum is taken
from its first term to its last, whatever the number of rows, so that a row's result does not depend on its neighbours.

Glossary: R rows, D terms of a sum, M columns of the result.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.core.types import void
from numba.extending import intrinsic
from numpy import ndarray as Array

from tallystick.kernels.numba_jit import jit
from tallystick.kernels.vector_numba import FLOAT, LANES, VECTOR, WORD, multiply_add, spread_number

BYTE = ir.IntType(8)


def _tile(rows: int, vectors: int) -> Any:
    """Make a function that adds x @ weight to a tile of `rows` rows and `vectors * LANES` columns of out.

    fresh: whether what is in the tile counts as zero.
    """

    @intrinsic
    def tile(typing: Any, x_RD: Any, weight_DM: Any, out_RM: Any, row: Any, column: Any, fresh: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            *arrays, row, column, fresh = given
            x, weight, out = (
                context.make_array(kind)(context, builder, array)
                for kind, array in zip(signature.args[:3], arrays, strict=True)
            )
            places = [
                [_at(builder, out, builder.add(row, WORD(r)), builder.add(column, WORD(v * LANES)), VECTOR) for v in
                 range(vectors)] for r in range(rows)
            ]  # fmt: skip
            places = [place for line in places for place in line]
            sums = [cgutils.alloca_once_value(builder, ir.Constant(VECTOR, [0.0] * LANES)) for _ in places]
            with builder.if_then(builder.not_(fresh)):
                for place, kept in zip(places, sums, strict=True):
                    builder.store(builder.load(place, align=4, typ=VECTOR), kept)
            depth = builder.extract_value(weight.shape, 0)
            with cgutils.for_range(builder, depth, intp=WORD) as loop:
                d = loop.index
                columns = [builder.add(column, WORD(v * LANES)) for v in range(vectors)]
                weights = [builder.load(_at(builder, weight, d, c, VECTOR), align=4, typ=VECTOR) for c in columns]
                for r in range(rows):
                    place = _at(builder, x, builder.add(row, WORD(r)), d, FLOAT)
                    factor = spread_number(builder, builder.load(place, typ=FLOAT))
                    for v in range(vectors):
                        kept = sums[r * vectors + v]
                        builder.store(multiply_add(builder, factor, weights[v], builder.load(kept)), kept)
            for place, kept in zip(places, sums, strict=True):
                builder.store(builder.load(kept), place, align=4)
            return context.get_dummy_value()

        return void(x_RD, weight_DM, out_RM, row, column, fresh), generate

    return tile


def _at(builder: Any, array: Any, row: Any, column: Any, kind: Any) -> Any:
    """Return the address of an element of a matrix whose rows are contiguous."""
    offset = builder.add(builder.mul(row, builder.extract_value(array.strides, 0)), builder.mul(column, WORD(4)))
    begin = builder.bitcast(array.data, BYTE.as_pointer())
    return builder.bitcast(builder.gep(begin, [offset], source_etype=BYTE), kind.as_pointer())


_tile_8x3, _tile_8x1, _tile_4x2, _tile_4x1 = _tile(8, 3), _tile(8, 1), _tile(4, 2), _tile(4, 1)
_tile_1x8, _tile_1x2, _tile_1x1 = _tile(1, 8), _tile(1, 2), _tile(1, 1)


def _project(x_RD: Array, weight_DM: Array, begin: int, end: int, out_RM: Array, fresh: bool) -> None:
    """Add x @ weight to the rows from `begin` to `end` of `out_RM`; M is a multiple of LANES.

    fresh: whether what is in these rows counts as zero.
    """
    width, eights = weight_DM.shape[1], begin + (end - begin) // 8 * 8
    fours = begin + (end - begin) // 4 * 4
    m = 0
    while m + 3 * LANES <= width:  # columns of large weights are fetched once for all rows
        for r in range(begin, eights, 8):
            _tile_8x3(x_RD, weight_DM, out_RM, r, m, fresh)
        m += 3 * LANES
    while m < width:
        for r in range(begin, eights, 8):
            _tile_8x1(x_RD, weight_DM, out_RM, r, m, fresh)
        m += LANES
    if eights < fours:
        m = 0
        while m + 2 * LANES <= width:
            _tile_4x2(x_RD, weight_DM, out_RM, eights, m, fresh)
            m += 2 * LANES
        if m < width:
            _tile_4x1(x_RD, weight_DM, out_RM, eights, m, fresh)
    for r in range(fours, end):
        m = 0
        while m + 8 * LANES <= width:
            _tile_1x8(x_RD, weight_DM, out_RM, r, m, fresh)
            m += 8 * LANES
        while m + 2 * LANES <= width:
            _tile_1x2(x_RD, weight_DM, out_RM, r, m, fresh)
            m += 2 * LANES
        if m < width:
            _tile_1x1(x_RD, weight_DM, out_RM, r, m, fresh)
            m += LANES


project = jit(_project, error_model="numpy")

"""Vectors of LANES numbers as values in compiled loops: what is computed from them stays in registers.

Numba's own loops over arrays write each intermediate result to memory, and check each time whether arrays overlap.
`load` and `store` check no bounds, so that arrays need room for a whole vector.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

LANES = 16
"""Numbers of a vector: one register of AVX-512, two of AVX2."""
FLOAT, INT, WORD = ir.FloatType(), ir.IntType(32), ir.IntType(64)
VECTOR, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT, LANES)


class _Vector(types.Type):
    """Numba's type of a vector."""

    def __init__(self) -> None:
        super().__init__(name=f"vector{LANES}")


_vector = _Vector()


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    """A vector is a value of LLVM."""

    def __init__(self, manager: Any, kind: Any):
        super().__init__(manager, kind, VECTOR)


def spread_number(builder: Any, number: Any) -> Any:
    """Return a vector of a number."""
    one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), number, INT(0))
    return builder.shuffle_vector(one, one, ir.Constant(INTS, [0] * LANES))


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a b + c, in one rounding where the processor can."""
    return _call(builder, "fmuladd", a, b, c)


def _call(builder: Any, name: str, *given: Any) -> Any:
    kind = ir.FunctionType(VECTOR, [VECTOR] * len(given))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32"), given)


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any, vector: Any = VECTOR) -> Any:
    pointer = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(pointer, [at]), vector.as_pointer())


def _intrinsic(function: Any) -> Any:
    """Make a function that compiled loops call, without the first argument."""
    return intrinsic(function)


@_intrinsic
def load(typing: Any, array: Any, at: Any) -> Any:
    """Return the LANES numbers of a contiguous array of one dimension from `at` on."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load(_place(context, builder, signature.args[0], *given), align=4, typ=VECTOR)

    return _vector(array, types.intp), generate


@_intrinsic
def store(typing: Any, value: Any, array: Any, at: Any) -> Any:
    """Write a vector into a contiguous array of one dimension."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        value, *to = given
        builder.store(value, _place(context, builder, signature.args[1], *to), align=4)
        return context.get_dummy_value()

    return types.void(value, array, types.intp), generate


@_intrinsic
def copy(typing: Any, source: Any, at: Any, target: Any, to: Any) -> Any:
    """Copy LANES entries of a contiguous array, of any type, from `at` on to another of that type, from `to` on."""
    assert source.dtype == target.dtype, "the type of the entries is the same"
    size = source.dtype.bitwidth // 8

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        vector = ir.VectorType(context.get_data_type(source.dtype), LANES)
        begin, end = (
            _place(context, builder, kind, array, place, vector)
            for kind, array, place in ((source, *given[:2]), (target, *given[2:]))
        )
        builder.store(builder.load(begin, align=size, typ=vector), end, align=size)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), generate


@_intrinsic
def spread(typing: Any, array: Any, at: Any) -> Any:
    """Return a vector of the number of a contiguous array at `at`."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        pointer = context.make_array(signature.args[0])(context, builder, given[0]).data
        return spread_number(builder, builder.load(builder.gep(pointer, [given[1]])))

    return _vector(array, types.intp), generate


@_intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a b + c, in one rounding where the processor can."""
    return _vector(a, b, c), lambda context, builder, signature, given: multiply_add(builder, *given)


@_intrinsic
def product(typing: Any, a: Any, b: Any) -> Any:
    """Return a b."""
    return _vector(a, b), lambda context, builder, signature, given: builder.fmul(*given)


@_intrinsic
def larger(typing: Any, a: Any, b: Any) -> Any:
    """Return the larger number of each two, NaN where one of them is NaN."""
    return _vector(a, b), lambda context, builder, signature, given: _larger(builder, *given)


@_intrinsic
def largest(typing: Any, x: Any) -> Any:
    """Return the largest number of a vector, NaN where one of them is NaN."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        x, reach = given[0], LANES // 2
        while reach:
            moved = builder.shuffle_vector(x, x, ir.Constant(INTS, [(i + reach) % LANES for i in range(LANES)]))
            x, reach = _larger(builder, x, moved), reach // 2
        return builder.extract_element(x, INT(0))

    return types.float32(x), generate


@_intrinsic
def plus(typing: Any, a: Any, b: Any) -> Any:
    """Return a + b."""
    return _vector(a, b), lambda context, builder, signature, given: builder.fadd(*given)


@_intrinsic
def sigmoid(typing: Any, x: Any) -> Any:
    """Return 1 / (1 + exp(-x)), to 3e-7, with Cephes' expf between exp(-87) and exp(87)."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        one = _constant(1.0)
        return builder.fdiv(one, builder.fadd(one, _exp(builder, builder.fneg(given[0]))))

    return _vector(x), generate


@_intrinsic
def exp(typing: Any, x: Any) -> Any:
    """Return exp(x), as `decode_numba._exp`."""
    return _vector(x), lambda context, builder, signature, given: _exp(builder, *given)


@_intrinsic
def softplus(typing: Any, x: Any) -> Any:
    """Return log(1 + exp(x)), as `decode_numba._softplus`."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        x, two, zero = given[0], _constant(2.0), _constant(0.0)
        u = _exp(builder, builder.fneg(_call(builder, "fabs", x)))
        s = builder.fdiv(u, builder.fadd(two, u))
        square, series = builder.fmul(s, s), _constant(1 / 17)
        for c in (1 / 15, 1 / 13, 1 / 11, 1 / 9, 1 / 7, 1 / 5, 1 / 3, 1.0):
            series = multiply_add(builder, series, square, _constant(c))
        positive = builder.select(builder.fcmp_ordered("<", x, zero), zero, x)
        return multiply_add(builder, builder.fmul(two, s), series, positive)

    return _vector(x), generate


def _larger(builder: Any, a: Any, b: Any) -> Any:
    """Return the larger of each two numbers; llvm.maximum would do it, but LLVM before 17 does not compile it."""
    more = builder.select(builder.fcmp_ordered(">", a, b), a, b)
    return builder.select(builder.fcmp_unordered("uno", a, a), a, more)


def _constant(number: float) -> Any:
    return ir.Constant(VECTOR, [ir.Constant(FLOAT, float(np.float32(number)))] * LANES)


def _exp(builder: Any, x: Any) -> Any:
    """Return exp(x), as `decode_numba._exp`."""
    for order, bound in (("<", -87.0), (">", 87.0)):  # llvm.minnum and maxnum would hide a NaN
        x = builder.select(builder.fcmp_ordered(order, x, _constant(bound)), _constant(bound), x)
    whole = _call(builder, "floor", multiply_add(builder, x, _constant(1.44269504), _constant(0.5)))
    rest = multiply_add(builder, builder.fneg(whole), _constant(0.693359375), x)
    rest = multiply_add(builder, whole, _constant(2.12194440e-4), rest)
    power = _constant(1.9875691500e-4)
    for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1.0, 1.0):
        power = multiply_add(builder, power, rest, _constant(c))
    exponent = builder.add(builder.fptosi(whole, INTS), ir.Constant(INTS, [127] * LANES))
    return builder.fmul(power, builder.bitcast(builder.shl(exponent, ir.Constant(INTS, [23] * LANES)), VECTOR))

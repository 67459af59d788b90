"""Sums of products of 16-bit numbers, two at a time: what no plain loop compiles to.

A processor with AVX2 has `vpmaddwd`, which multiplies sixteen pairs of 16-bit numbers and adds
neighbours to eight sums of 32 bits: four times the products of a `vfmadd231pd`, twice those of a
`vfmadd231ps`, of numbers a quarter and half as large. LLVM uses it for some dot products only; so
here is its own language, written out.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic, overload

from fastgrad.kernels.registers import (
    INT32,
    INT64,
    arrays,
    everywhere,
    load,
    loop,
    registers,
    store,
)

REGISTERS = 4
UNITS = 8 * REGISTERS
"""Units at a time: their sums stay in registers over all pairs."""

_SUMS, _NUMBERS = ir.VectorType(INT32, 8), ir.VectorType(ir.IntType(16), 16)


def multiply_pairs(columns, pairs, W, first, out):
    """Write the sums of `UNITS` units from `first` on to `out`, of int32.

    That of unit j is the sum of ``x[2k] W[c, 2j] + x[2k + 1] W[c, 2j + 1]``, c = columns[k], over
    all k. `W` holds int16, and so does x, of which `pairs` is the view as int32.
    """
    x = pairs.view(np.int16).reshape(-1, 1, 2).astype(np.int32)
    w = W[columns, 2 * first : 2 * (first + UNITS)].reshape(-1, UNITS, 2)
    out[first : first + UNITS] = np.sum(x * w, axis=(0, 2))


@overload(multiply_pairs)
def _compiled(columns, pairs, W, first, out):
    return lambda columns, pairs, W, first, out: _multiply_pairs(columns, pairs, W, first, out)


@intrinsic
def _multiply_pairs(_, columns, pairs, W, first, out):
    def emit(context, builder, signature, values):
        chosen, x, weights, sums = arrays(context, builder, signature, values, 0, 1, 2, 4)
        count = builder.extract_value(chosen.shape, 0)
        stride = builder.extract_value(weights.strides, 0)
        four_bytes = builder.mul(values[3], INT64(4))  # two numbers, or a sum, of each unit
        avx2 = "+avx2" in context.codegen().magic_tuple()[2]

        def add(k, sums):
            column = builder.zext(builder.load(builder.gep(chosen.data, [k])), INT64)
            pair = builder.load(builder.gep(x.data, [k]))
            pair = builder.bitcast(everywhere(builder, pair, 8), _NUMBERS)
            offset = builder.add(builder.mul(column, stride), four_bytes)
            row = registers(builder, weights.data, offset, _NUMBERS)
            rows = [load(builder, row, r, 2) for r in range(REGISTERS)]
            return [
                builder.add(old, _sums_of_pairs(builder, pair, w, avx2))
                for old, w in zip(sums, rows, strict=True)
            ]

        nothing = [ir.Constant(_SUMS, None)] * REGISTERS
        results = loop(builder, INT64(0), count, nothing, add)
        store(builder, results, registers(builder, sums.data, four_bytes, _SUMS), 4)
        return context.get_dummy_value()

    return types.void(columns, pairs, W, first, out), emit


def _sums_of_pairs(builder, x, w, avx2):
    """Return the eight sums of two products: one instruction, or what is the same elsewhere."""
    if avx2:
        kind = ir.FunctionType(_SUMS, [_NUMBERS, _NUMBERS])
        instruction = get_or_insert_function(builder.module, kind, "llvm.x86.avx2.pmadd.wd")
        return builder.call(instruction, [x, w])

    def half(numbers, start):
        lanes = ir.Constant(ir.VectorType(INT32, 8), [INT32(k) for k in range(start, 16, 2)])
        nothing = ir.Constant(_NUMBERS, ir.Undefined)
        return builder.sext(builder.shuffle_vector(numbers, nothing, lanes), _SUMS)

    first, second = (builder.mul(half(x, k), half(w, k)) for k in (0, 1))
    return builder.add(first, second)

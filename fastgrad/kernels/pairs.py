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

REGISTERS = 4
UNITS = 8 * REGISTERS
"""Columns at a time: their sums stay in registers over all pairs."""

_BYTE, _INT32, _INT64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_SUMS, _NUMBERS = ir.VectorType(_INT32, 8), ir.VectorType(ir.IntType(16), 16)


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
    signature = types.void(columns, pairs, W, first, out)

    def emit(context, builder, signature, values):
        arrays = [
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args, values, strict=True)
            if isinstance(kind, types.Array)
        ]
        chosen, x, weights, sums = (array.data for array in arrays)
        count = builder.extract_value(arrays[0].shape, 0)
        stride = builder.extract_value(arrays[2].strides, 0)
        avx2 = "+avx2" in context.codegen().magic_tuple()[2]

        before = builder.basic_block
        loop, after = (builder.append_basic_block(name) for name in ("pairs", "sums"))
        zero = ir.Constant(_SUMS, None)
        builder.cbranch(builder.icmp_signed(">", count, _INT64(0)), loop, after)

        builder.position_at_end(loop)
        k = builder.phi(_INT64)
        totals = [builder.phi(_SUMS) for _ in range(REGISTERS)]
        column = builder.zext(builder.load(builder.gep(chosen, [k])), _INT64)
        pair = _everywhere(builder, builder.load(builder.gep(x, [k])))
        # A unit has two numbers of two bytes in a row.
        place = builder.add(builder.mul(column, stride), builder.mul(values[3], _INT64(4)))
        row = builder.bitcast(
            builder.gep(builder.bitcast(weights, _BYTE.as_pointer()), [place]),
            _NUMBERS.as_pointer(),
        )
        added = []
        for r, total in enumerate(totals):
            w = builder.load(builder.gep(row, [_INT64(r)]), align=2)
            added.append(builder.add(total, _sums_of_pairs(builder, pair, w, avx2)))
        following = builder.add(k, _INT64(1))
        for phi, start, value in zip(
            (k, *totals), (_INT64(0), *[zero] * REGISTERS), (following, *added), strict=True
        ):
            phi.add_incoming(start, before)
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, after)

        builder.position_at_end(after)
        results = [builder.phi(_SUMS) for _ in range(REGISTERS)]
        target = builder.bitcast(builder.gep(sums, [values[3]]), _SUMS.as_pointer())
        for r, result in enumerate(results):
            result.add_incoming(zero, before)
            result.add_incoming(added[r], loop)
            builder.store(result, builder.gep(target, [_INT64(r)]), align=4)
        return context.get_dummy_value()

    return signature, emit


def _everywhere(builder, pair):
    """Return a register with eight copies of a pair, as sixteen numbers."""
    nothing = ir.Constant(_SUMS, ir.Undefined)
    one = builder.insert_element(nothing, pair, _INT32(0))
    lanes = ir.Constant(ir.VectorType(_INT32, 8), [_INT32(0)] * 8)
    return builder.bitcast(builder.shuffle_vector(one, nothing, lanes), _NUMBERS)


def _sums_of_pairs(builder, x, w, avx2):
    """Return the eight sums of two products: one instruction, or what is the same elsewhere."""
    if avx2:
        kind = ir.FunctionType(_SUMS, [_NUMBERS, _NUMBERS])
        instruction = get_or_insert_function(builder.module, kind, "llvm.x86.avx2.pmadd.wd")
        return builder.call(instruction, [x, w])

    def half(numbers, start):
        lanes = ir.Constant(ir.VectorType(_INT32, 8), [_INT32(k) for k in range(start, 16, 2)])
        nothing = ir.Constant(_NUMBERS, ir.Undefined)
        return builder.sext(builder.shuffle_vector(numbers, nothing, lanes), _SUMS)

    first, second = (builder.mul(half(x, k), half(w, k)) for k in (0, 1))
    return builder.add(first, second)

"""Products with compressed rows, for a few units at a time.

What belongs to the units of a panel lies together, and stays in a core's own cache while the
samples pass. What is used again and again for one sample stays in registers, where a plain loop
would load and store it for every input.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic, overload

from fastgrad._jit import jit
from fastgrad.kernels.registers import DOUBLE, INT64, everywhere, load, loop, registers, store

REGISTERS = 5
WIDTH = 4 * REGISTERS
"""Units of a panel."""

MAGNITUDE = np.int64(2**63 - 1)
"""The bits of a float64 but its sign."""

_REGISTER = ir.VectorType(DOUBLE, 4)


@jit
def largest_kernel(bits):
    """Return the largest of numbers without their sign, given and returned as their bits.

    Bits are in the order of the numbers, NaN above all, and compilers vectorise the largest
    integer.
    """
    largest = np.int64(0)
    for i in range(bits.size):
        size = bits[i] & MAGNITUDE
        largest = size if size > largest else largest
    return largest


@jit
def pack(W, b, number, panel):
    """Write the columns of ``[W; b]`` (D+1, H) that panel `number` holds to `panel` (D+1, WIDTH).

    Zeros stand for units that the last one lacks.
    """
    D, H = W.shape
    first = number * WIDTH
    units = min(WIDTH, H - first)
    for i in range(D):
        for j in range(units):
            panel[i, j] = W[i, first + j]
        for j in range(units, WIDTH):
            panel[i, j] = 0.0
    for j in range(WIDTH):
        panel[D, j] = b[first + j] if j < units else 0.0


def multiply_panel(columns, values, panel, out):
    """Write ``sum_k values[k] panel[columns[k]]`` to `out` (WIDTH)."""
    out[:] = values @ panel[columns]


@overload(multiply_panel)
def _compiled(columns, values, panel, out):
    return lambda columns, values, panel, out: _multiply_panel(columns, values, panel, out)


@intrinsic
def _multiply_panel(_, columns, values, panel, out):
    def emit(context, builder, signature, arguments):
        chosen, x, rows, sums = (
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args, arguments, strict=True)
        )

        def add(k, sums):
            value = everywhere(builder, builder.load(builder.gep(x.data, [k])), 4)
            row = _row(builder, rows.data, builder.load(builder.gep(chosen.data, [k])))
            return [
                _fma(builder, value, load(builder, row, r, 8), old) for r, old in enumerate(sums)
            ]

        nothing = [ir.Constant(_REGISTER, None)] * REGISTERS
        results = loop(builder, builder.extract_value(chosen.shape, 0), nothing, add)
        store(builder, results, _row(builder, sums.data, INT64(0)), 8)
        return context.get_dummy_value()

    return types.void(columns, values, panel, out), emit


def spread_curves(columns, values, curves, factor, scale, panel):
    """Add ``factor x (c0 + (x scale)² c1)`` to ``panel[columns[k]]``, x = values[k], for all k.

    `curves` is c0 (WIDTH) and c1 (WIDTH); no column stands there twice.
    """
    x = values[:, np.newaxis]
    panel[columns] += factor * x * (curves[:WIDTH] + (x * scale) ** 2 * curves[WIDTH:])


@overload(spread_curves)
def _compiled_spread(columns, values, curves, factor, scale, panel):
    return lambda columns, values, curves, factor, scale, panel: _spread_curves(
        columns, values, curves, factor, scale, panel
    )


@intrinsic
def _spread_curves(_, columns, values, curves, factor, scale, panel):
    def emit(context, builder, signature, arguments):
        chosen, x, c, rows = (
            context.make_array(signature.args[k])(context, builder, arguments[k])
            for k in (0, 1, 2, 5)
        )
        factor, scale = arguments[3:5]
        factors = everywhere(builder, factor, 4)
        c0, c1 = (
            [
                builder.fmul(factors, load(builder, _row(builder, c.data, INT64(part)), r, 8))
                for r in range(REGISTERS)
            ]
            for part in (0, 1)
        )

        def add(k, _):
            value = builder.load(builder.gep(x.data, [k]))
            scaled = builder.fmul(value, scale)
            cube = builder.fmul(value, builder.fmul(scaled, scaled))
            value, cube = (everywhere(builder, number, 4) for number in (value, cube))
            row = _row(builder, rows.data, builder.load(builder.gep(chosen.data, [k])))
            old = [load(builder, row, r, 8) for r in range(REGISTERS)]
            old = [_fma(builder, value, *terms) for terms in zip(c0, old, strict=True)]
            store(
                builder,
                [_fma(builder, cube, *terms) for terms in zip(c1, old, strict=True)],
                row,
                8,
            )
            return []

        loop(builder, builder.extract_value(chosen.shape, 0), [], add)
        return context.get_dummy_value()

    return types.void(columns, values, curves, factor, scale, panel), emit


def _row(builder, data, number):
    """Return a pointer to the registers of a row of WIDTH numbers."""
    return registers(builder, data, builder.mul(number, INT64(8 * WIDTH)), _REGISTER)


def _fma(builder, x, y, z):
    """Return ``x * y + z``, in one instruction where there is one."""
    kind = ir.FunctionType(_REGISTER, [_REGISTER] * 3)
    return builder.call(
        get_or_insert_function(builder.module, kind, "llvm.fmuladd.v4f64"), [x, y, z]
    )

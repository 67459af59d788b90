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
from fastgrad.kernels.registers import (
    DOUBLE,
    INT64,
    arrays,
    everywhere,
    load,
    loop,
    registers,
    store,
)

REGISTERS = 5
WIDTH = 4 * REGISTERS
"""Units of a panel."""

MAGNITUDE = np.int64(2**63 - 1)
"""The bits of a float64 but its sign."""

ROWS = 1600
"""Inputs of a panel: 256 kB, half of a usual second-level cache."""

TOP = np.int64(0)
"""The first row; numba compiles a function once more for the literal 0."""

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
def place(columns, low, high, column):
    """Return where `column` is or would be in a part of `columns` that is in order."""
    while low < high:  # np.searchsorted takes a second to compile
        middle = (low + high) // 2
        if columns[middle] < column:
            low = middle + 1
        else:
            high = middle
    return low


@jit
def places(columns, starts, low, high, row, before, out):
    """Write where `row` is or would be in samples `low` to `high`; what `out` was, to `before`."""
    for n in range(low, high):
        before[n - low] = out[n - low]  # numba takes seconds to compile before[:] = out
        out[n - low] = place(columns, starts[n], starts[n + 1], row)


@jit
def pack(W, b, number, start, stop, panel):
    """Write rows `start` to `stop` of ``[W; b]`` (D+1, H), of the units of panel `number`.

    Zeros stand for units that the last one lacks.
    """
    first = number * WIDTH
    units = min(WIDTH, W.shape[1] - first)
    for i in range(start, min(stop, W.shape[0])):
        for j in range(units):
            panel[i - start, j] = W[i, first + j]
        for j in range(units, WIDTH):
            panel[i - start, j] = 0.0
    if start <= W.shape[0] < stop:
        for j in range(WIDTH):
            panel[W.shape[0] - start, j] = b[first + j] if j < units else 0.0


def multiply_panel(columns, values, start, panel, out):
    """Add ``sum_k values[k] panel[columns[k] - start]`` to `out` (WIDTH)."""
    out += values @ panel[columns - start]


@overload(multiply_panel)
def _compiled(columns, values, start, panel, out):
    return lambda columns, values, start, panel, out: _multiply_panel(
        columns, values, start, panel, out
    )


@intrinsic
def _multiply_panel(_, columns, values, start, panel, out):
    def emit(context, builder, signature, arguments):
        chosen, x, rows, sums = arrays(context, builder, signature, arguments, 0, 1, 3, 4)

        def add(k, sums):
            value = everywhere(builder, builder.load(builder.gep(x.data, [k])), 4)
            number = builder.sub(builder.load(builder.gep(chosen.data, [k])), arguments[2])
            row = _row(builder, rows.data, number)
            return [
                _fma(builder, value, load(builder, row, r, 8), old) for r, old in enumerate(sums)
            ]

        place = _row(builder, sums.data, INT64(0))
        before = [load(builder, place, r, 8) for r in range(REGISTERS)]
        results = loop(builder, builder.extract_value(chosen.shape, 0), before, add)
        store(builder, results, place, 8)
        return context.get_dummy_value()

    return types.void(columns, values, start, panel, out), emit


def spread_curves(columns, values, curves, factor, scale, start, panel):
    """Add ``factor x (c0 + (x scale)² c1)`` to ``panel[columns[k] - start]``, x = values[k].

    `curves` is c0 (WIDTH) and c1 (WIDTH); no column stands there twice.
    """
    x = values[:, np.newaxis]
    panel[columns - start] += factor * x * (curves[:WIDTH] + (x * scale) ** 2 * curves[WIDTH:])


@overload(spread_curves)
def _compiled_spread(columns, values, curves, factor, scale, start, panel):
    return lambda columns, values, curves, factor, scale, start, panel: _spread_curves(
        columns, values, curves, factor, scale, start, panel
    )


@intrinsic
def _spread_curves(_, columns, values, curves, factor, scale, start, panel):
    def emit(context, builder, signature, arguments):
        chosen, x, c, rows = arrays(context, builder, signature, arguments, 0, 1, 2, 6)
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
            number = builder.sub(builder.load(builder.gep(chosen.data, [k])), arguments[5])
            row = _row(builder, rows.data, number)
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

    return types.void(columns, values, curves, factor, scale, start, panel), emit


def _row(builder, data, number):
    """Return a pointer to the registers of a row of WIDTH numbers."""
    return registers(builder, data, builder.mul(number, INT64(8 * WIDTH)), _REGISTER)


def _fma(builder, x, y, z):
    """Return ``x * y + z``, in one instruction where there is one."""
    kind = ir.FunctionType(_REGISTER, [_REGISTER] * 3)
    return builder.call(
        get_or_insert_function(builder.module, kind, "llvm.fmuladd.v4f64"), [x, y, z]
    )

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

from fastgrad._jit import inner
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

ROWS = 800
"""Inputs of a panel, 128 kB. Panels of 256 kB take longer where a core's cache has 512 kB."""

TOP = np.int64(0)
"""The first row; numba compiles a function once more for the literal 0."""

_REGISTER = ir.VectorType(DOUBLE, 4)


@inner
def place(columns, low, high, column):
    """Return where `column` is or would be in a part of `columns` that is in order, not empty."""
    if columns[low] >= column:  # Mostly all of it is wanted.
        return low
    if columns[high - 1] < column:
        return high
    while low < high:  # np.searchsorted takes a second to compile
        middle = (low + high) // 2
        if columns[middle] < column:
            low = middle + 1
        else:
            high = middle
    return low


@inner
def places(columns, starts, low, high, row, before, out):
    """Write where `row` is or would be in samples `low` to `high`; what `out` was, to `before`."""
    for n in range(low, high):
        before[n - low] = out[n - low]  # numba takes seconds to compile before[:] = out
        out[n - low] = place(columns, starts[n], starts[n + 1], row)


@inner
def pack(W, b, number, start, stop, panel, sizes):
    """Write rows `start` to `stop` of ``[W; b]`` (D+1, H), of the units of panel `number`.

    Zeros stand for units that the last one lacks. ``sizes[j]`` is raised to the largest of a unit,
    without its sign.
    """
    first = number * WIDTH
    units = min(WIDTH, W.shape[1] - first)
    for i in range(start, min(stop, W.shape[0])):
        if units == WIDTH:  # A loop of known length is twice as fast.
            for j in range(WIDTH):
                entry = W[i, first + j]
                panel[i - start, j] = entry
                sizes[j] = max(sizes[j], abs(entry))
        else:
            for j in range(WIDTH):
                entry = W[i, first + j] if j < units else 0.0
                panel[i - start, j] = entry
                sizes[j] = max(sizes[j], abs(entry))
    if start <= W.shape[0] < stop:
        for j in range(WIDTH):
            entry = b[first + j] if j < units else 0.0
            panel[W.shape[0] - start, j] = entry
            sizes[j] = max(sizes[j], abs(entry))


def multiply_panel(columns, values, begin, end, start, panel, out, at):
    """Add ``sum_k values[k] panel[columns[k] - start]``, k from `begin` to `end`, to `out`.

    There, from entry `at` on, stand the WIDTH sums. Slices in the kernels would take as long to
    compile as all the rest.
    """
    mine = slice(begin, end)
    out.reshape(-1)[at : at + WIDTH] += values[mine] @ panel[columns[mine] - start]


@overload(multiply_panel)
def _compiled(columns, values, begin, end, start, panel, out, at):
    return lambda columns, values, begin, end, start, panel, out, at: _multiply_panel(
        columns, values, begin, end, start, panel, out, at
    )


@intrinsic
def _multiply_panel(_, columns, values, begin, end, start, panel, out, at):
    def emit(context, builder, signature, arguments):
        chosen, x, rows, sums = arrays(context, builder, signature, arguments, 0, 1, 5, 6)
        first, last, top = arguments[2:5]

        def add(k, sums):
            value = everywhere(builder, builder.load(builder.gep(x.data, [k])), 4)
            number = builder.sub(builder.load(builder.gep(chosen.data, [k])), top)
            row = _row(builder, rows.data, number)
            return [
                _fma(builder, value, load(builder, row, r, 8), old) for r, old in enumerate(sums)
            ]

        place = registers(builder, sums.data, builder.mul(arguments[7], INT64(8)), _REGISTER)
        before = [load(builder, place, r, 8) for r in range(REGISTERS)]
        results = loop(builder, first, last, before, add)
        store(builder, results, place, 8)
        return context.get_dummy_value()

    return types.void(columns, values, begin, end, start, panel, out, at), emit


def spread_curves(columns, values, begin, end, curves, at, factor, scale, start, panel):
    """Add ``factor x (c0 + (x scale)² c1)`` to ``panel[columns[k] - start]``, x = values[k].

    That for k from `begin` to `end`; no column stands there twice. From entry `at` on stand in
    `curves` c0 (WIDTH) and c1 (WIDTH).
    """
    mine = slice(begin, end)
    x = values[mine, np.newaxis]
    c0, c1 = curves.reshape(-1)[at : at + 2 * WIDTH].reshape(2, WIDTH)
    panel[columns[mine] - start] += factor * x * (c0 + (x * scale) ** 2 * c1)


@overload(spread_curves)
def _compiled_spread(columns, values, begin, end, curves, at, factor, scale, start, panel):
    def call(columns, values, begin, end, curves, at, factor, scale, start, panel):
        _spread_curves(columns, values, begin, end, curves, at, factor, scale, start, panel)

    return call


@intrinsic
def _spread_curves(_, columns, values, begin, end, curves, at, factor, scale, start, panel):
    def emit(context, builder, signature, arguments):
        chosen, x, c, rows = arrays(context, builder, signature, arguments, 0, 1, 4, 9)
        first, last = arguments[2:4]
        factor, scale, top = arguments[6:9]
        place = builder.gep(c.data, [arguments[5]])
        factors = everywhere(builder, factor, 4)
        c0, c1 = (
            [
                builder.fmul(factors, load(builder, _row(builder, place, INT64(part)), r, 8))
                for r in range(REGISTERS)
            ]
            for part in (0, 1)
        )

        def add(k, _):
            value = builder.load(builder.gep(x.data, [k]))
            scaled = builder.fmul(value, scale)
            cube = builder.fmul(value, builder.fmul(scaled, scaled))
            value, cube = (everywhere(builder, number, 4) for number in (value, cube))
            number = builder.sub(builder.load(builder.gep(chosen.data, [k])), top)
            row = _row(builder, rows.data, number)
            # One register after the other: there are none for all of a row beside c0 and c1.
            for r in range(REGISTERS):
                sums = _fma(builder, value, c0[r], load(builder, row, r, 8))
                sums = _fma(builder, cube, c1[r], sums)
                builder.store(sums, builder.gep(row, [INT64(r)]), align=8)
            return []

        loop(builder, first, last, [], add)
        return context.get_dummy_value()

    return types.void(columns, values, begin, end, curves, at, factor, scale, start, panel), emit


def _row(builder, data, number):
    """Return a pointer to the registers of a row of WIDTH numbers."""
    return registers(builder, data, builder.mul(number, INT64(8 * WIDTH)), _REGISTER)


def _fma(builder, x, y, z):
    """Return ``x * y + z``, in one instruction where there is one."""
    kind = ir.FunctionType(_REGISTER, [_REGISTER] * 3)
    return builder.call(
        get_or_insert_function(builder.module, kind, "llvm.fmuladd.v4f64"), [x, y, z]
    )

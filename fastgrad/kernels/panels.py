"""The product of one compressed row with a matrix, a few columns at a time.

The columns lie together in a panel, which stays in a core's own cache while the samples pass, and
their sums in registers: a plain loop would load and store them for every input.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic, overload

from fastgrad._jit import jit
from fastgrad.kernels.registers import DOUBLE, INT64, everywhere, load, loop, registers, store

REGISTERS = 4
WIDTH = 4 * REGISTERS
"""Columns of a panel."""

ROWS = 16

_SUMS = ir.VectorType(DOUBLE, 4)


@jit
def panels_kernel(W, b, panels):
    """Write ``[W; b]`` (D+1, H) to `panels` (H / WIDTH, D+1, WIDTH), zeros for what is missing."""
    D, H = W.shape
    # Some rows at a time: neither what is read nor what is written is scattered much.
    for start in range(0, D, ROWS):
        for p in range(panels.shape[0]):
            units = min(WIDTH, H - p * WIDTH)
            for i in range(start, min(start + ROWS, D)):
                for j in range(units):
                    panels[p, i, j] = W[i, p * WIDTH + j]
                for j in range(units, WIDTH):
                    panels[p, i, j] = 0.0
    for p in range(panels.shape[0]):
        panels[p, D] = 0.0
        for j in range(min(WIDTH, H - p * WIDTH)):
            panels[p, D, j] = b[p * WIDTH + j]


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
        count = builder.extract_value(chosen.shape, 0)
        kind = ir.FunctionType(_SUMS, [_SUMS] * 3)
        fma = get_or_insert_function(builder.module, kind, "llvm.fma.v4f64")

        def add(k, sums):
            column = builder.load(builder.gep(chosen.data, [k]))
            value = everywhere(builder, builder.load(builder.gep(x.data, [k])), 4)
            row = registers(builder, rows.data, builder.mul(column, INT64(8 * WIDTH)), _SUMS)
            return [
                builder.call(fma, [value, load(builder, row, r, 8), old])
                for r, old in enumerate(sums)
            ]

        nothing = [ir.Constant(_SUMS, None)] * REGISTERS
        results = loop(builder, count, nothing, add)
        store(builder, results, registers(builder, sums.data, INT64(0), _SUMS), 8)
        return context.get_dummy_value()

    return types.void(columns, values, panel, out), emit

"""Where a row is not zero, eight numbers at a time.

Without a branch, which would be mispredicted at every edge of a stroke: eight comparisons make
eight bits, a table says where they are set, and all eight places are written. The place to write
to moves on only past those that count.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic, overload

from fastgrad._jit import inner
from fastgrad.kernels.registers import BYTE, INT64, arrays, everywhere, registers

TOGETHER = 8

_BITS = (np.arange(256)[:, np.newaxis] >> np.arange(TOGETHER)) & 1
PLACES = np.argsort(1 - _BITS, axis=1, kind="stable").astype(np.uint8)
"""In row m the places of the bits that are set in m, and then those of the others."""


@inner
def nonzero(row, columns, k):
    """Write which entries of `row` are not zero to `columns` from k on; return the next k.

    There has to be room for `TOGETHER` more.
    """
    even = row.size // TOGETHER * TOGETHER
    for i in range(0, even, TOGETHER):
        k = eight(row, i, columns, k, PLACES)
    for i in range(even, row.size):
        columns[k] = i
        k += row[i] != 0
    return k


def eight(row, start, columns, k, places):
    """Do that for eight entries from `start` on."""
    found = start + np.flatnonzero(row[start : start + TOGETHER])
    columns[k : k + len(found)] = found
    return k + len(found)


@overload(eight)
def _compiled(row, start, columns, k, places):
    return lambda row, start, columns, k, places: _eight(row, start, columns, k, places)


@intrinsic
def _eight(_, row, start, columns, k, places):
    def emit(context, builder, signature, arguments):
        found_in = arrays(context, builder, signature, arguments, 0, 2, 4)
        numbers, out, table = (array.data for array in found_in)
        first, at = arguments[1], arguments[3]
        kind = ir.VectorType(numbers.type.pointee, TOGETHER)
        place = builder.bitcast(builder.gep(numbers, [first]), kind.as_pointer())
        compare = (
            builder.fcmp_unordered  # NaN is not zero
            if isinstance(signature.args[0].dtype, types.Float)
            else builder.icmp_unsigned
        )
        found = compare("!=", builder.load(place, align=1), ir.Constant(kind, None))
        bits = builder.zext(builder.bitcast(found, BYTE), INT64)
        bytes_ = ir.VectorType(BYTE, TOGETHER)
        row = registers(builder, table, builder.mul(bits, INT64(TOGETHER)), bytes_)
        whole = ir.VectorType(out.type.pointee, TOGETHER)
        wide = builder.zext(builder.load(row, align=1), whole)
        offset = builder.trunc(first, whole.element) if whole.element != INT64 else first
        written = builder.add(wide, everywhere(builder, offset, TOGETHER))
        builder.store(written, builder.bitcast(builder.gep(out, [at]), whole.as_pointer()), align=1)
        count = get_or_insert_function(
            builder.module, ir.FunctionType(INT64, [INT64]), "llvm.ctpop.i64"
        )
        return builder.add(at, builder.call(count, [bits]))

    return types.int64(row, start, columns, k, places), emit

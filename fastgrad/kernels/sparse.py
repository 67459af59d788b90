"""A batch without its zeros: most pixels of a digit are empty, and cost nothing here."""

from __future__ import annotations

import numpy as np

from fastgrad._jit import inner, jit
from fastgrad.kernels.nonzero import nonzero

MAGNITUDE = np.int64(2**63 - 1)
"""The bits of a float64 that are not its sign; larger for larger numbers, and most for NaN."""

ONE = np.float64(1.0).view(np.int64)


@jit
def compress_kernel(X, starts, columns, values):
    """Write the nonzero entries of ``[X, 1]``, row by row, and where each row starts.

    Return the largest absolute value; NaN if there is one. The last entry of each row is the 1
    that the biases are weights of. There has to be room for all entries, and for what
    `fastgrad.kernels.nonzero` needs.
    """
    samples, features = X.shape
    most = ONE
    starts[0] = 0
    for n in range(samples):
        row = X[n]
        stop = nonzero(row, columns, starts[n])
        for k in range(np.uint64(starts[n]), np.uint64(stop)):
            # Signed, it might count from the end.
            value = np.float64(row[np.uint64(columns[k])])
            values[k] = value
            bits = value.view(np.int64) & MAGNITUDE
            most = bits if bits > most else most
        columns[stop] = features
        values[stop] = 1.0
        starts[n + 1] = stop + 1
    return np.int64(most).view(np.float64)


@inner
def layer(columns, values, A, out):
    """Write the product of one compressed row with `A` to `out`.

    Four inputs at a time: `out` is loaded and stored once for four fused multiplications, each
    on a whole vector register (a `vmulpd` and three `vfmadd231pd` on ymm, two registers a turn,
    where the processor has AVX2).
    """
    out[:] = 0.0
    k = 0
    while k + 4 <= values.size:
        x0, x1, x2, x3 = values[k], values[k + 1], values[k + 2], values[k + 3]
        r0, r1, r2, r3 = A[columns[k]], A[columns[k + 1]], A[columns[k + 2]], A[columns[k + 3]]
        for j in range(out.size):
            out[j] += x0 * r0[j] + x1 * r1[j] + x2 * r2[j] + x3 * r3[j]
        k += 4
    while k < values.size:
        row = A[columns[k]]
        for j in range(out.size):
            out[j] += values[k] * row[j]
        k += 1

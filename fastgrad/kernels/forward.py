"""The whole forward pass and loss, once for every perturbed parameter."""

from __future__ import annotations

import numpy as np

from fastgrad._jit import jit

TINY = 1e-7


@jit
def compress_kernel(X):
    """Return the nonzero entries of `X`: where each row starts, their columns, their values."""
    starts = np.zeros(X.shape[0] + 1, np.int64)
    for n in range(X.shape[0]):
        starts[n + 1] = starts[n] + np.count_nonzero(X[n])
    columns = np.empty(starts[-1], np.int64)
    values = np.empty(starts[-1])
    k = 0
    for n in range(X.shape[0]):
        for i in range(X.shape[1]):
            if X[n, i] != 0.0:
                columns[k] = i
                values[k] = X[n, i]
                k += 1
    return starts, columns, values


@jit
def layer(columns, values, first, last, A, out):
    """Write the product of one compressed row with `A` to `out`.

    Four inputs at a time: `out` is loaded and stored once for four fused multiplications, each
    on a whole vector register.
    """
    out[:] = 0.0
    k = first
    while k + 4 <= last:
        x0, x1, x2, x3 = values[k], values[k + 1], values[k + 2], values[k + 3]
        r0, r1, r2, r3 = A[columns[k]], A[columns[k + 1]], A[columns[k + 2]], A[columns[k + 3]]
        for j in range(out.size):
            out[j] += x0 * r0[j] + x1 * r1[j] + x2 * r2[j] + x3 * r3[j]
        k += 4
    while k < last:
        row = A[columns[k]]
        for j in range(out.size):
            out[j] += values[k] * row[j]
        k += 1


@jit
def loss_kernel(A1, A2, starts, columns, values, t, scratch):
    """Return the batch's mean cross entropy, of inputs from `compress_kernel`.

    `scratch` is the (hidden, scores, range(H + 1)) of one sample; ``hidden[H]`` has to be 1.
    """
    hidden, scores, every = scratch
    units = A1.shape[1]
    total = 0.0
    for n in range(t.size):
        layer(columns, values, starts[n], starts[n + 1], A1, hidden[:units])
        for j in range(units):
            hidden[j] = 1.0 / (1.0 + np.exp(-hidden[j]))
        layer(every, hidden, 0, every.size, A2, scores)
        highest = scores.max()
        mass = 0.0
        for c in range(scores.size):
            mass += np.exp(scores[c] - highest)
        total -= np.log(np.exp(scores[t[n]] - highest) / mass + TINY)
    return total / t.size


@jit
def full_kernel(A1, A2, starts, columns, values, t, h, offsets, weights, start, stop, out):
    """Write the partials of rows `start` to `stop` of the stacked matrix ``[A1; A2]``.

    `A1` and `A2` must be private to the caller: each entry is moved, and put back from its saved
    value.
    """
    scratch = (np.ones(A2.shape[0]), np.empty(A2.shape[1]), np.arange(A2.shape[0]))
    position = 0
    for row in range(start, stop):
        A, i = (A1, row) if row < A1.shape[0] else (A2, row - A1.shape[0])
        for j in range(A.shape[1]):
            saved = A[i, j]
            difference = 0.0
            for k in range(offsets.size):
                A[i, j] = saved + offsets[k] * h
                loss = loss_kernel(A1, A2, starts, columns, values, t, scratch)
                difference += weights[k] * loss
            A[i, j] = saved
            out[position] = difference / h
            position += 1

"""The whole forward pass and loss, once for every perturbed parameter."""

from __future__ import annotations

import numpy as np

from fastgrad._jit import inner, jit
from fastgrad.kernels.sparse import layer

TINY = 1e-7


@inner
def mean_loss(A1, A2, starts, columns, values, t, scratch):
    """Return the batch's mean cross entropy, of inputs from `compress_kernel`.

    `scratch` is the (hidden, scores, range(H + 1)) of one sample; ``hidden[H]`` has to be 1.
    """
    hidden, scores, every = scratch
    units = A1.shape[1]
    total = 0.0
    for n in range(t.size):
        mine = slice(starts[n], starts[n + 1])
        layer(columns[mine], values[mine], A1, hidden[:units])
        for j in range(units):
            hidden[j] = 1.0 / (1.0 + np.exp(-hidden[j]))
        layer(every, hidden, A2, scores)
        highest = scores[0]
        for c in range(1, scores.size):  # scores.max() takes a second to compile
            highest = max(highest, scores[c])
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
                loss = mean_loss(A1, A2, starts, columns, values, t, scratch)
                difference += weights[k] * loss
            A[i, j] = saved
            out[position] = difference / h
            position += 1

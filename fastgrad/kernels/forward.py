"""The whole forward pass and loss, once for every perturbed parameter."""

from __future__ import annotations

import numpy as np

from fastgrad._jit import jit

TINY = 1e-7


@jit
def layer_kernel(X, n, A, out):
    """Write ``X[n] @ A`` to `out`. Inputs that are zero, most pixels of a digit, cost nothing."""
    out[:] = 0.0
    for i in range(A.shape[0]):
        x = X[n, i]
        if x != 0.0:
            for j in range(A.shape[1]):
                out[j] += x * A[i, j]


@jit
def loss_kernel(A1, A2, X, t, hidden, scores):
    """Return the mean cross entropy of the batch. `hidden` (1, H+1) and `scores` (C,) are scratch."""
    units = A1.shape[1]
    total = 0.0
    for n in range(X.shape[0]):
        layer_kernel(X, n, A1, hidden[0, :units])
        for j in range(units):
            hidden[0, j] = 1.0 / (1.0 + np.exp(-hidden[0, j]))
        hidden[0, units] = 1.0
        layer_kernel(hidden, 0, A2, scores)
        highest = scores.max()
        mass = 0.0
        for c in range(scores.size):
            mass += np.exp(scores[c] - highest)
        total -= np.log(np.exp(scores[t[n]] - highest) / mass + TINY)
    return total / X.shape[0]


@jit
def full_kernel(A1, A2, X, t, h, offsets, weights, start, stop, out):
    """Write the partials of rows `start` to `stop` of the stacked matrix ``[A1; A2]``.

    `A1` and `A2` must be private to the caller: each entry is moved, and put back from its saved
    value.
    """
    hidden = np.empty((1, A2.shape[0]))
    scores = np.empty(A2.shape[1])
    position = 0
    for row in range(start, stop):
        A, i = (A1, row) if row < A1.shape[0] else (A2, row - A1.shape[0])
        for j in range(A.shape[1]):
            saved = A[i, j]
            difference = 0.0
            for k in range(offsets.size):
                A[i, j] = saved + offsets[k] * h
                difference += weights[k] * loss_kernel(A1, A2, X, t, hidden, scores)
            A[i, j] = saved
            out[position] = difference / h
            position += 1

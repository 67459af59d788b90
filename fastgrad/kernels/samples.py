"""What all perturbed losses of one sample share: its forward pass, and from it the curves.

A sample's row of `state` holds, in this order (H hidden units, C classes):

    c0, c1 (2H)  curves of the hidden units, see `fastgrad.kernels.curves`
    c0, c1 (2C)  curves of the scores
    z (H+1)      outputs of the hidden units, and the 1 of the bias
"""

from __future__ import annotations

import math

import numpy as np

from fastgrad._jit import jit
from fastgrad.kernels.curves import curves, score_moments, unit_moments
from fastgrad.kernels.forward import TINY
from fastgrad.kernels.sparse import layer


@jit
def hidden_units(a, z, slope):
    """Write the sigmoid of `a` and its slope; exp(-|a|) keeps z (1 - z) right where z rounds to 1.

    One call of libm's exp for a unit; the rest is vectorised.
    """
    for j in range(a.size):
        slope[j] = math.exp(-abs(a[j]))
    for j in range(a.size):
        small = slope[j]
        large = 1.0 / (1.0 + small)
        z[j] = large if a[j] >= 0.0 else small * large
        slope[j] = small * large * large


@jit
def softmax(scores, p):
    """Write the softmax of one sample's scores to `p`."""
    highest = scores[0]
    for c in range(1, scores.size):  # scores.max() takes a second to compile
        highest = max(highest, scores[c])
    mass = 0.0
    for c in range(scores.size):
        p[c] = math.exp(scores[c] - highest)
        mass += p[c]
    for c in range(scores.size):
        p[c] /= mass


@jit
def samples_kernel(starts, columns, values, A1, A2, V, t, reach, start, stop, state):
    """Write the rows of samples `start` to `stop` to `state` (stop - start, 3H + 2C + 1).

    ``reach`` holds the largest shift of a pre-activation and of a score; the curves of a layer
    are left out where it is 0. `V` is ``A2[:-1]`` transposed.
    """
    H, C = A1.shape[1], A2.shape[1]
    every = np.arange(H + 1)
    a, slope = np.empty(H), np.empty(H)
    scores, p = np.empty(C), np.empty(C)
    M = np.empty((4, max(H, C)))
    for n in range(start, stop):
        row = state[n - start]
        z = row[2 * H + 2 * C :]
        mine = slice(starts[n], starts[n + 1])
        layer(columns[mine], values[mine], A1, a)
        hidden_units(a, z, slope)
        z[H] = 1.0
        layer(every, z, A2, scores)
        softmax(scores, p)
        label = t[n]
        r = p[label] / (p[label] + TINY)
        if reach[0] > 0.0:
            unit_moments(p, label, V, M)
            curves(True, z, slope, r, M, reach[0], row[: 2 * H])
        if reach[1] > 0.0:
            score_moments(p, label, M)
            curves(False, p, p, r, M, reach[1], row[2 * H : 2 * H + 2 * C])

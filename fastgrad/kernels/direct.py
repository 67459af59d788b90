"""Central differences of one layer for steps of any size: each perturbed loss through libm.

The same layer and notation as in `fastgrad.kernels.curves`, which is the fast path for small
steps. Here nothing is approximated, and nothing overflows.
"""

from __future__ import annotations

import math

from fastgrad._jit import inner, jit
from fastgrad.kernels.forward import TINY


@inner
def unit_change(d, sigmoidal, a, z, slope):
    """Return how far a unit's output moves when its pre-activation `a` moves by `d`."""
    if not sigmoidal:
        return d
    if abs(d) > 1.0:
        return 1.0 / (1.0 + math.exp(-(a + d))) - z
    e = math.expm1(d)
    return slope * e / (1.0 + z * e)


@inner
def rise(change, n, j, V, scores, p, label, r):
    """Return by how much sample n's loss rises when unit j's output moves by `change`."""
    T = 0.0
    steepest = 0.0
    for c in range(V.shape[0]):
        u = change * (V[c, j] - V[label, j])
        steepest = max(steepest, abs(u))
        T += p[n, c] * math.expm1(u)
    if steepest <= 1.0:
        return -math.log1p(-r * T / (1.0 + T))
    # A large move: 1 + T may cancel or overflow, while the softmax itself does not.
    mass = 0.0
    for c in range(V.shape[0]):
        u = change * (V[c, j] - V[label, j])
        mass += math.exp(scores[n, c] - scores[n, label] + u)
    return math.log((p[n, label] + TINY) / (1.0 / mass + TINY))


@jit
def direct_kernel(X, h, sigmoidal, a, z, slope, V, scores, p, t, r, start, stop, out):
    """Write the central differences of rows `start` to `stop` to `out` (stop - start, units)."""
    samples = X.shape[0]
    out[:] = 0.0
    for i in range(start, stop):
        for n in range(samples):
            d = h * X[n, i]
            if d != 0.0:
                for j in range(out.shape[1]):
                    up = unit_change(d, sigmoidal, a[n, j], z[n, j], slope[n, j])
                    down = unit_change(-d, sigmoidal, a[n, j], z[n, j], slope[n, j])
                    above = rise(up, n, j, V, scores, p, t[n], r[n])
                    below = rise(down, n, j, V, scores, p, t[n], r[n])
                    out[i - start, j] += (above - below) / (2.0 * h * samples)

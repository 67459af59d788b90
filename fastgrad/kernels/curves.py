"""Central differences of one layer by curves: every perturbed loss, without a forward pass.

All weights into one unit move the same pre-activation. So sample `n` has one loss curve for each
unit `j`, ``l(d)``, and moving ``W[i, j]`` by ±h reads it at ``d = ±h x[n, i]``. Its central
quotient ``q(d) = (l(d) - l(-d)) / 2d`` is even and smooth. The kernels evaluate the perturbed
losses at two shifts, lay ``q(d) = c0 + c1 d²`` through the two quotients, and read that line for
every row `i`. How far this may be trusted is proven in `fastgrad.series`.

A unit acts on the scores through `V` (C, units): moving its output by `m` moves score `c` by
``m V[c, j]``. For the hidden layer V is W2 transposed; a unit of the last layer is a score
itself, so there V is the identity.
"""

from __future__ import annotations

import numpy as np

from fastgrad._jit import jit

# Chebyshev nodes for d² in units of its largest value: the smallest worst-case error of a line.
LOW = 0.5 - 0.25 * np.sqrt(2.0)
HIGH = 0.5 + 0.25 * np.sqrt(2.0)


@jit
def moments_kernel(p, t, V, out):
    """Write ``out[k-1, n, j] = sum_c p[n, c] (V[c, j] - V[t[n], j])^k / k!`` for k = 1 to 4.

    These are the coefficients of T, the relative change of the softmax denominator, as a power
    series in the unit's change. They are shared by all rows of the layer.
    """
    out[:] = 0.0
    for n in range(p.shape[0]):
        label = t[n]
        for c in range(p.shape[1]):
            if c != label:
                for j in range(V.shape[1]):
                    lead = V[c, j] - V[label, j]
                    term = p[n, c] * lead
                    out[0, n, j] += term
                    term *= lead * (1.0 / 2.0)
                    out[1, n, j] += term
                    term *= lead * (1.0 / 3.0)
                    out[2, n, j] += term
                    term *= lead * (1.0 / 4.0)
                    out[3, n, j] += term


@jit
def rise(d, sigmoidal, z, slope, r, m1, m2, m3, m4):
    """Return ``l(d) - l(0)`` for a small shift `d` of a pre-activation, by short series."""
    change = d
    if sigmoidal:
        e = d * (1.0 + d * (1 / 2 + d * (1 / 6 + d * (1 / 24))))  # expm1(d)
        change = slope * e / (1.0 + z * e)
    T = change * (m1 + change * (m2 + change * (m3 + change * m4)))
    q = r * T / (1.0 + T)
    return q * (1.0 + q * (1 / 2 + q * (1 / 3 + q * (1 / 4 + q * (1 / 5)))))  # -log1p(-q)


@jit
def quotient(d, sigmoidal, z, slope, r, m1, m2, m3, m4):
    """Return the central quotient ``(l(d) - l(-d)) / 2d`` of one curve."""
    above = rise(d, sigmoidal, z, slope, r, m1, m2, m3, m4)
    below = rise(-d, sigmoidal, z, slope, r, m1, m2, m3, m4)
    return (above - below) / (2.0 * d)


@jit
def curves_kernel(sigmoidal, z, slope, r, M, reach, out):
    """Write c0 and c1, for d² in units of ``reach²``, to ``out[0]`` and ``out[1]`` (N, units).

    Parameters: the unit's output `z` and its ``slope = z (1 - z)`` (N, units), not read where
    `sigmoidal` is false; ``r = p_t / (p_t + 1e-7)`` (N,); the moments `M` (4, N, units).
    """
    near = reach * np.sqrt(LOW)
    far = reach * np.sqrt(HIGH)
    for n in range(out.shape[1]):
        for j in range(out.shape[2]):
            m1, m2, m3, m4 = M[0, n, j], M[1, n, j], M[2, n, j], M[3, n, j]
            first = quotient(near, sigmoidal, z[n, j], slope[n, j], r[n], m1, m2, m3, m4)
            second = quotient(far, sigmoidal, z[n, j], slope[n, j], r[n], m1, m2, m3, m4)
            rate = (second - first) / (HIGH - LOW)
            out[0, n, j] = first - rate * LOW
            out[1, n, j] = rate


@jit
def rows_kernel(X, largest, curves, start, stop, out):
    """Write ``out[i - start, j] = mean_n x (c0[n, j] + c1[n, j] (x / largest)²)``, x = X[n, i].

    Sixteen rows at a time: one cache line of X and the rows' sums stay in the first-level cache
    while the samples pass by. Each row adds its samples in the same order whatever the block.
    """
    samples = X.shape[0]
    c0 = curves[0]
    c1 = curves[1]
    out[:] = 0.0
    for first in range(start, stop, 16):
        for n in range(samples):
            for i in range(first, min(first + 16, stop)):
                x = X[n, i]
                if x != 0.0:
                    w0 = x / samples
                    w1 = w0 * (x / largest) ** 2
                    for j in range(out.shape[1]):
                        out[i - start, j] += w0 * c0[n, j] + w1 * c1[n, j]

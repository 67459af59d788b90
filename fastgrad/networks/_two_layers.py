"""The numerical gradient of two layers and mostly zero inputs, all of a block in one compiled loop.

The curves are those of `fastgrad.networks._curves`, of polynomials of degree 1. It takes 0.9 ms
where the steps there take 1.7 for 100 digits and 50 units, and threads do not wait for each other.
"""

from __future__ import annotations

import numpy as np

from fastgrad._jit import inner, jit
from fastgrad._typing import Array, Floats, Integers
from fastgrad.functions import TINY
from fastgrad.networks._curves import allowed, largest_of
from fastgrad.networks._kernels import SMALL, activate, quotients

DENSEST = 0.3
"""Up to such a share of inputs that are not 0, the loop beats BLAS."""


def largest_input(weights: list[Floats], gain: float, x: Array, h: float) -> float:
    """Return the largest input of a layer whose gradient the loop takes, 0 if it does not pay."""
    most = max(1.0, largest_of(x))
    sparse = np.count_nonzero(x[:25]) <= DENSEST * x[:25].size
    if len(weights) != 2 or not gain or not sparse or not np.isfinite(weights[0].sum()):
        return 0.0  # 0 * NaN is NaN.
    return most if h * most * max(1.0, np.ptp(weights[1])) <= SMALL else 0.0


def two_layer_gradient(
    weights: list[Floats], gain: float, x: Array, t: Integers, h: float, most: float
) -> list[Floats] | None:
    """Return the central differences for W and b of both layers, summed over the samples.

    None if curves bend too much.
    """
    grads = [np.zeros_like(W) for W in weights]
    x = np.ascontiguousarray(x, float)
    found = two_layers_kernel(gain, x, t, *weights, h, most, *grads)
    layers = zip((most, 1.0), found, strict=True)
    bent = any(last > allowed(1, h, reach, largest, last) for reach, (largest, last) in layers)
    return None if bent else grads


@jit
def two_layers_kernel(gain, x, t, W1, W2, h, most, grad1, grad2):
    """Add the central differences of all samples; return the largest quotient and ``c_1``, a layer.

    Zero inputs are left out.
    """
    (inputs, units), classes = W1.shape, W2.shape[1]
    V, same, largest = np.ascontiguousarray(W2[:units].T), np.eye(classes), np.zeros((2, 2))
    at, room, room_p = np.empty(inputs, np.int64), np.empty((5, units)), np.empty((5, classes))
    a, s, slope, z = np.empty(units), np.empty(units), np.empty(units), np.empty(units)
    c_0, c_1, d_0, d_1 = np.empty(units), np.empty(units), np.empty(classes), np.empty(classes)
    for n in range(x.shape[0]):
        count = find(x[n], at)
        a[:] = W1[inputs - 1]
        for i in at[:count]:
            for j in range(units):
                a[j] += x[n, i] * W1[i, j]
        activate(gain, a, s, slope, z)
        p = probabilities(z, W2)
        r = p[t[n]] / (p[t[n]] + TINY)
        d_0[:] = r * p
        d_0[t[n]] -= r
        c_0[:] = 0.0
        for k in range(classes):
            for j in range(units):
                c_0[j] += gain * gain * slope[j] * (d_0[k] * V[k, j])
        quotients(gain, a, s, slope, V, t[n], p, r, h * most, room, c_1)
        fit(h * most, c_0, c_1, largest[0])
        quotients(0.0, p, p, p, same, t[n], p, r, h, room_p, d_1)
        fit(h, d_0, d_1, largest[1])
        read(1.0, c_0, c_1, h, grad1[inputs - 1])
        for i in at[:count]:
            read(x[n, i], c_0, c_1, h, grad1[i])
        read(1.0, d_0, d_1, h, grad2[units])
        for j in range(units):
            read(z[j], d_0, d_1, h, grad2[j])
    return largest


@inner
def find(x, at):
    """Write where x is not 0; return at how many places."""
    count = 0
    for i in range(x.size):  # A branch for each input would take twice as long.
        at[count] = i
        count += x[i] != 0
    return count


@inner
def probabilities(z, W):
    """Return those of the classes, of outputs z of units."""
    p = W[z.size].copy()
    for j in range(z.size):
        for c in range(p.size):
            p[c] += z[j] * W[j, c]
    p[:] = np.exp(p - p.max())
    return p / p.sum()


@inner
def fit(reach, c_0, c_1, largest):
    """Make c_1 of the quotients at `reach`, c_0 are those at 0; keep the largest."""
    for j in range(c_0.size):
        largest[0] = max(largest[0], abs(c_0[j]), abs(c_1[j]))
        c_1[j] = (c_1[j] - c_0[j]) / (reach * reach)
        largest[1] = max(largest[1], abs(c_1[j]))


@inner
def read(z, c_0, c_1, h, row):
    """Add what weights read that meet the input z: ``z c_0 + h^2 z^3 c_1``."""
    z_3 = h * h * z**3
    for j in range(row.size):
        row[j] += z * c_0[j] + z_3 * c_1[j]

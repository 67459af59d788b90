"""Compiled loops: how units and losses move, and products that leave zero inputs out.

A shift moves numbers by little, so the kernels compute by how much each number moves, never two
values to subtract. An activation is told by its `gain`: ``act(a) = g s(g a) - (g - 1)`` of the
sigmoid `s`, with g = 1 for the sigmoid itself and g = 2 for tanh; g = 0 stands for no activation.
"""

from __future__ import annotations

import math

import numpy as np

from fastgrad._jit import inner, jit
from fastgrad.functions import TINY

SMALL = 2.0**-6  # Up to here short series hold to rounding, and their loops are vectorised.

LARGE = 1.0  # From here on there is nothing to cancel.


@inner
def expm1_small(d):
    """Return ``exp(d) - 1`` for ``|d| <= SMALL``."""
    return d * (
        1 + d * (1 / 2 + d * (1 / 6 + d * (1 / 24 + d * (1 / 120 + d * (1 / 720 + d / 5040)))))
    )


@inner
def unit_move(gain, a, s, slope, d):
    """Return by how much a unit's output moves with its pre-activation, which moves by d."""
    if abs(gain * d) <= LARGE:
        e = math.expm1(gain * d)
        return gain * (slope * e / (1 + s * e))
    small = math.exp(-abs(gain * (a + d)))
    return gain * ((1.0 if a + d >= 0 else small) / (1 + small) - s)


@inner
def activate(gain, a, s, slope, z):
    """Write ``sigmoid(gain * a)`` and its derivative, and the outputs ``act(a)`` of units."""
    for j in range(a.size):
        small = math.exp(-abs(gain * a[j]))
        large = 1 / (1 + small)
        s[j] = large if a[j] >= 0 else small * large
        slope[j] = small * large * large
        z[j] = gain * s[j] - (gain - 1)  # Right where s rounds to 1.


@jit
def smooth_moves_kernel(gain, a, s, slope, moves):
    """Turn moves of the pre-activations (rows, units) of one sample into those of the outputs."""
    for row in range(moves.shape[0]):
        d = moves[row]
        large = 0
        for j in range(d.size):
            large += abs(gain * d[j]) > SMALL
        if large:
            for j in range(d.size):
                d[j] = unit_move(gain, a[j], s[j], slope[j], d[j])
        else:
            for j in range(d.size):
                e = expm1_small(gain * d[j])
                d[j] = gain * (slope[j] * e / (1 + s[j] * e))


@inner
def outputs_moved(gain, s, slope, d, m):
    """Write by how much outputs move when all pre-activations move by d, ``|gain d| <= LARGE``."""
    e = math.expm1(gain * d)
    for j in range(m.size):
        m[j] = gain * (slope[j] * e / (1 + s[j] * e)) if gain else d


@inner
def rise(T, r):
    """Return by how much a loss rises when the mass of the softmax grows by the share T."""
    w = r * T / (2 + (2 - r) * T)  # -log1p(-x) = 2 atanh(x / (2 - x))
    return 2 * w * (1 + w * w * (1 / 3 + w * w * (1 / 5 + w * w / 7)))


@inner
def quotients(gain, s, slope, V, label, p, r, d, room, q):
    """Write ``(l(d) - l(-d)) / 2d`` of one sample, for each unit whose pre-activation moves by d.

    When the output of unit j moves by m, score c moves by ``m V[c, j]``, by SMALL at most.
    """
    above, below, T_above, T_below = room[0], room[1], room[2], room[3]
    outputs_moved(gain, s, slope, d, above)
    outputs_moved(gain, s, slope, -d, below)
    T_above[:] = T_below[:] = 0.0
    V_t = V[label]
    for c in range(p.size):
        p_c, V_c = p[c], V[c]
        for j in range(q.size):
            T_above[j] += p_c * expm1_small(above[j] * (V_c[j] - V_t[j]))
            T_below[j] += p_c * expm1_small(below[j] * (V_c[j] - V_t[j]))
    for j in range(q.size):
        q[j] = (rise(T_above[j], r) - rise(T_below[j], r)) / (2 * d)


@jit
def quotients_kernel(gain, s, slope, V, p, r, t, shifts, q):
    """Write ``q[k, n]``, the quotients of sample n at shifts[k]; V may have one n for all."""
    room = np.empty((4, s.shape[1]))
    for n in range(s.shape[0]):
        for k in range(shifts.size):
            unit, V_n, d = (gain, s[n], slope[n]), V[n % V.shape[0]], shifts[k]
            quotients(*unit, V_n, t[n], p[n], r[n], d, room, q[k, n])


@jit
def two_layers_kernel(gain, x, t, W1, b1, W2, b2, h, most, grad1, grad2):
    """Add the central differences of all samples to both; zero inputs are left out."""
    (inputs, units), classes = W1.shape, b2.size
    V, same = np.ascontiguousarray(W2.T), np.eye(classes)
    at, room, room_p = np.empty(inputs + 1, np.int64), np.empty((4, units)), np.empty((4, classes))
    a, s, slope, z = np.empty(units), np.empty(units), np.empty(units), np.empty(units)
    c_0, c_1, d_0, d_1 = np.empty(units), np.empty(units), np.empty(classes), np.empty(classes)
    for n in range(x.shape[0]):
        count = find(x[n], at)
        a[:] = b1
        for i in at[:count]:
            for j in range(units):
                a[j] += x[n, i] * W1[i, j]
        activate(gain, a, s, slope, z)
        p = probabilities(z, W2, b2)
        r = p[t[n]] / (p[t[n]] + TINY)
        d_0[:] = r * p
        d_0[t[n]] -= r
        c_0[:] = 0.0
        for k in range(classes):
            for j in range(units):
                c_0[j] += gain * gain * slope[j] * (d_0[k] * V[k, j])
        quotients(gain, s, slope, V, t[n], p, r, h * most, room, c_1)
        c_1[:] = (c_1 - c_0) / (h * most) ** 2
        quotients(0.0, p, p, same, t[n], p, r, h, room_p, d_1)
        d_1[:] = (d_1 - d_0) / h**2
        read(1.0, c_0, c_1, h, grad1[inputs])
        for i in at[:count]:
            read(x[n, i], c_0, c_1, h, grad1[i])
        read(1.0, d_0, d_1, h, grad2[units])
        for j in range(units):
            read(z[j], d_0, d_1, h, grad2[j])


@inner
def find(x, at):
    """Write where x is not 0; return at how many places."""
    count = 0
    for i in range(x.size):  # A branch for each input would take twice as long.
        at[count] = i
        count += x[i] != 0
    return count


@inner
def probabilities(z, W, b):
    """Return those of the classes, of outputs z of units."""
    p = b.copy()
    for j in range(z.size):
        for c in range(p.size):
            p[c] += z[j] * W[j, c]
    p[:] = np.exp(p - p.max())
    return p / p.sum()


@inner
def read(z, c_0, c_1, h, row):
    """Add what weights read that meet the input z: ``z c_0 + h^2 z^3 c_1``."""
    z_3 = h * h * z**3
    for j in range(row.size):
        row[j] += z * c_0[j] + z_3 * c_1[j]

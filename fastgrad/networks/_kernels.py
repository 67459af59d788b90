"""Compiled loops: how units and losses move, and products that leave zero inputs out.

A shift moves numbers by little, so the kernels compute by how much each number moves, never two
values to subtract. An activation is told by its `gain`: ``act(a) = g s(g a) - (g - 1)`` of the
sigmoid `s`, with g = 1 for the sigmoid itself and g = 2 for tanh; g = 0 stands for no activation.
"""

from __future__ import annotations

import math

import numpy as np

from fastgrad._jit import inner, jit

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
def outputs_moved(gain, a, s, slope, d, m):
    """Write by how much the outputs of units move when all pre-activations move by d."""
    e = math.expm1(gain * d)
    if gain == 0:
        m[:] = d
    elif abs(gain * d) <= LARGE:
        for j in range(m.size):
            m[j] = gain * (slope[j] * e / (1 + s[j] * e))
    else:
        for j in range(m.size):
            m[j] = unit_move(gain, a[j], s[j], slope[j], d)


@inner
def rise(T, r):
    """Return by how much a loss rises when the mass of the softmax grows by the share T."""
    w = r * T / (2 + (2 - r) * T)  # -log1p(-x) = 2 atanh(x / (2 - x))
    return 2 * w * (1 + w * w * (1 / 3 + w * w * (1 / 5 + w * w / 7)))


@jit
def quotients_kernel(gain, a, s, slope, V, p, r, t, shifts, q):
    """Write ``q[k, n, j] = (l(d) - l(-d)) / 2d``, d = shifts[k], of the loss of sample n.

    By d moves the pre-activation of unit j. When its output moves by m, score c moves by
    ``m V[n, c, j]``, by SMALL at most; V may have one n for all.
    """
    m, T = np.empty((2, a.shape[1])), np.empty((2, a.shape[1]))
    above, below, T_above, T_below = m[0], m[1], T[0], T[1]
    for n in range(a.shape[0]):
        V_n, p_n, r_n = V[n % V.shape[0]], p[n], r[n]
        V_t = V_n[t[n]]
        for k in range(shifts.size):
            outputs_moved(gain, a[n], s[n], slope[n], shifts[k], above)
            outputs_moved(gain, a[n], s[n], slope[n], -shifts[k], below)
            T[:] = 0.0
            for c in range(p_n.size):
                p_c, V_c = p_n[c], V_n[c]
                for j in range(above.size):
                    V_cj = V_c[j] - V_t[j]
                    T_above[j] += p_c * expm1_small(above[j] * V_cj)
                    T_below[j] += p_c * expm1_small(below[j] * V_cj)
            for j in range(above.size):
                q[k, n, j] = (rise(T_above[j], r_n) - rise(T_below[j], r_n)) / (2 * shifts[k])


@jit
def read_kernel(z, c_0, c_1, h, out):
    """Write ``z.T @ c_0 + h^2 (z^3).T @ c_1``, without the products of zeros."""
    at = np.empty(z.shape[1] + 1, np.int64)
    out[:] = 0.0
    for n in range(z.shape[0]):
        count = 0
        for i in range(z.shape[1]):  # A branch for each input would take twice as long.
            at[count] = i
            count += z[n, i] != 0
        c0, c1 = c_0[n], c_1[n]
        for i in at[:count]:
            row, z1 = out[i], z[n, i]
            z3 = h * h * z1**3
            for j in range(row.size):
                row[j] += z1 * c0[j] + z3 * c1[j]

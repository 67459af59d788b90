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


@inner
def unit_moves(gain, a, s, slope, d, out):
    """Write what `unit_move` returns for each unit, vectorised where all moves are small."""
    large = 0
    for j in range(d.size):
        large += abs(gain * d[j]) > SMALL
    if gain == 0:
        out[:] = d
    elif large:
        for j in range(d.size):
            out[j] = unit_move(gain, a[j], s[j], slope[j], d[j])
    else:
        for j in range(d.size):
            e = expm1_small(gain * d[j])
            out[j] = gain * (slope[j] * e / (1 + s[j] * e))


@jit
def smooth_moves_kernel(gain, a, s, slope, moves):
    """Turn moves of the pre-activations (rows, units) of one sample into those of the outputs."""
    for row in range(moves.shape[0]):
        unit_moves(gain, a, s, slope, moves[row], moves[row])


@inner
def moments(p, label, V, term, M):
    """Write ``M[k, j] = sum_c p[c] (V[c, j] - V[label, j])^(k+1) / (k+1)!``.

    `term` is room for a number a unit.
    """
    M[:] = 0.0
    for c in range(p.size):
        term[:] = p[c]
        for k in range(M.shape[0]):
            share = 1 / (k + 1)
            for j in range(term.size):
                term[j] *= (V[c, j] - V[label, j]) * share
                M[k, j] += term[j]


@inner
def rises_along(M, r, m, out):
    """Write by how much one sample's loss rises where the output of unit j moves by m[j].

    The mass of the softmax then grows by the share ``T = m M[0] + m^2 M[1] + ...``.
    """
    out[:] = 0.0
    for k in range(M.shape[0] - 1, -1, -1):
        for j in range(m.size):
            out[j] = m[j] * (M[k, j] + out[j])
    for j in range(m.size):
        w = r * out[j] / (2 + (2 - r) * out[j])  # -log1p(-q) = 2 atanh(q / (2 - q))
        out[j] = 2 * w * (1 + w * w * (1 / 3 + w * w * (1 / 5 + w * w / 7)))


@jit
def quotients_kernel(gain, a, s, slope, V, terms, p, r, t, shifts, q):
    """Write ``q[k, n, j] = (l(d) - l(-d)) / 2d``, d = shifts[k], of the loss of sample n.

    By d moves the pre-activation of unit j. When its output moves by m, score c moves by
    ``m V[n, c, j]``, by SMALL at most; V may have one n for all.
    """
    units = a.shape[1]
    d, m, out, M = np.empty(units), np.empty(units), np.empty(units), np.empty((terms, units))
    for n in range(a.shape[0]):
        moments(p[n], t[n], V[n % V.shape[0]], out, M)
        for k in range(shifts.size):
            q[k, n] = 0.0
            for side in (1.0, -1.0):
                d[:] = side * shifts[k]
                unit_moves(gain, a[n], s[n], slope[n], d, m)
                rises_along(M, r[n], m, out)
                share = 0.5 / (side * shifts[k])
                for j in range(units):
                    q[k, n, j] += share * out[j]


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

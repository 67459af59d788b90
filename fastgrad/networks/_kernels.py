"""Compiled loops: how units and losses move, and products that leave zero inputs out.

A shift moves numbers by little, so the kernels compute by how much each number moves, never two
values to subtract. An activation is told by its `gain`: ``act(a) = g s(g a) - (g - 1)`` of the
sigmoid `s`, with g = 1 for the sigmoid itself and g = 2 for tanh; g = 0 stands for no activation.
"""

from __future__ import annotations

import math

import numpy as np

from fastgrad._jit import inner, jit

EPS = 2.0**-52

TINY = 1e-7  # What the loss adds to a probability.

SMALL = 2.0**-6  # Up to here short series hold to rounding, and their loops are vectorised.

LARGE = 1.0  # From here on there is nothing to cancel.


@inner
def expm1_small(d):
    """Return ``exp(d) - 1`` for ``|d| <= SMALL``."""
    return d * (
        1 + d * (1 / 2 + d * (1 / 6 + d * (1 / 24 + d * (1 / 120 + d * (1 / 720 + d / 5040)))))
    )


@inner
def sigmoid(a):
    """Return the sigmoid of `a`, however large."""
    small = math.exp(-abs(a))
    return 1 / (1 + small) if a >= 0 else small / (1 + small)


@inner
def unit_move(gain, a, s, slope, d):
    """Return by how much a unit's output moves with its pre-activation, which moves by d."""
    if abs(gain * d) > LARGE:
        return gain * (sigmoid(gain * (a + d)) - s)
    e = math.expm1(gain * d)
    return gain * (slope * e / (1 + s * e))


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
def activate_kernel(gain, a, s, slope, z):
    """Write the sigmoid of ``gain * a``, its slope, right where s rounds to 1, and the output."""
    for n in range(a.shape[0]):
        for j in range(a.shape[1]):
            small = math.exp(-abs(gain * a[n, j]))
            large = 1 / (1 + small)
            s[n, j] = large if a[n, j] >= 0 else small * large
            slope[n, j] = small * large * large
            z[n, j] = gain * s[n, j] - (gain - 1)


@jit
def softmax_kernel(scores, t, p, r, derivative):
    """Write the probabilities, the label's ``r = p / (p + 1e-7)``, and the loss's derivative."""
    for n in range(t.size):  # Loops: array expressions take seconds to compile.
        highest, mass = scores[n, 0], 0.0
        for c in range(p.shape[1]):
            highest = max(highest, scores[n, c])
        for c in range(p.shape[1]):
            p[n, c] = math.exp(scores[n, c] - highest)
            mass += p[n, c]
        for c in range(p.shape[1]):
            p[n, c] /= mass
        r[n] = p[n, t[n]] / (p[n, t[n]] + TINY)
        for c in range(p.shape[1]):
            derivative[n, c] = r[n] * (p[n, c] - (c == t[n]))


@jit
def smooth_moves_kernel(gain, a, s, slope, samples, moves):
    """Turn the moves of pre-activations, a row each, into those of the units' outputs."""
    for row in range(samples.size):
        n = samples[row]
        unit_moves(gain, a[n], s[n], slope[n], moves[row], moves[row])


@jit
def relu_moves_kernel(a, samples, moves):
    """Write the same for ReLU."""
    for row in range(samples.size):
        n = samples[row]
        for j in range(moves.shape[1]):
            d, at = moves[row, j], a[n, j]
            moves[row, j] = max(d, -at) if at > 0 else max(at + d, 0.0)


@jit
def relu_slopes_kernel(a, reach, samples, slopes, crossed):
    """Turn the slopes of pre-activations, a row each, into those of the units' outputs.

    Mark the rows in which a unit crosses 0 within shifts of up to ``±reach``.
    """
    for row in range(samples.size):
        n, crossings = samples[row], 0
        for j in range(slopes.shape[1]):
            slope = slopes[row, j]
            crossings += abs(slope) * reach >= abs(a[n, j]) and slope != 0
            slopes[row, j] = slope if a[n, j] > 0 else 0.0
        crossed[row] |= crossings > 0


@inner
def rise(scores, p, label, r, moves):
    """Return by how much one sample's loss rises when its scores move."""
    most = 0.0
    for c in range(p.size):
        most = max(most, abs(moves[c] - moves[label]))
    if most > LARGE:  # The mass may overflow, while the softmax itself does not.
        highest, mass = scores[0] + moves[0], 0.0
        for c in range(p.size):
            highest = max(highest, scores[c] + moves[c])
        for c in range(p.size):
            mass += math.exp(scores[c] + moves[c] - highest)
        moved = math.exp(scores[label] + moves[label] - highest) / mass
        return math.log((p[label] + TINY) / (moved + TINY))
    T = 0.0
    for c in range(p.size):
        T += p[c] * math.expm1(moves[c] - moves[label])
    return -math.log1p(-r * T / (1 + T))


@jit
def rises_kernel(scores, p, r, t, samples, moves, out):
    """Write what `rise` returns for each row of moves."""
    for row in range(samples.size):
        n = samples[row]
        out[row] = rise(scores[n], p[n], t[n], r[n], moves[row])


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
def quotients_kernel(gain, a, s, slope, V, spread, scores, p, r, t, shifts, q):
    """Write ``q[k, n, j] = (l(d) - l(-d)) / 2d``, d = shifts[k], of the loss of sample n.

    By d moves the pre-activation of unit j. When its output moves by m, score c moves by
    ``m V[n, c, j]``, in which `spread` is the largest difference; V may have one n for all.
    """
    units = a.shape[1]
    d, m, out, moves = np.empty(units), np.empty(units), np.empty(units), np.empty(p.shape[1])
    reach = shifts.max() * spread  # No activation is steeper than 1.
    M = np.empty((4 if reach <= 2.0**-11 else 7, units))  # Terms that hold to rounding.
    for n in range(a.shape[0]):
        v = V[n % V.shape[0]]
        if reach <= SMALL:
            moments(p[n], t[n], v, out, M)
        for k in range(shifts.size):
            q[k, n] = 0.0
            for side in (1.0, -1.0):
                d[:] = side * shifts[k]
                unit_moves(gain, a[n], s[n], slope[n], d, m)
                if reach <= SMALL:
                    rises_along(M, r[n], m, out)
                else:
                    for j in range(units):
                        for c in range(moves.size):
                            moves[c] = m[j] * v[c, j]
                        out[j] = rise(scores[n], p[n], t[n], r[n], moves)
                share = 0.5 / (side * shifts[k])
                for j in range(units):
                    q[k, n, j] += share * out[j]


@jit
def fit_kernel(q, to_chebyshev, to_powers, most, h, direct, bent, c):
    """Write the coefficients `c` of polynomials with the values `q`, both (terms, N, units).

    They are 0 where there is no polynomial: where `direct` is true, or the last coefficient is not
    below the rounding of the difference, which `bent` marks. Return how many are bent, how many are
    no polynomials, and how many terms count.
    """
    largest, sizes, found, others = 0.0, np.zeros(q.shape[0]), 0, 0
    for k in range(q.shape[0]):
        for n in range(q.shape[1]):
            for j in range(q.shape[2]):
                largest = max(largest, abs(q[k, n, j]))
    rounding = (1 / (8 * h) + 4 * most * largest) * EPS
    for n in range(direct.shape[0]):
        for j in range(direct.shape[1]):
            last = 0.0
            for k in range(q.shape[0]):
                last += to_chebyshev[k] * q[k, n, j]
            bent[n, j] = most * abs(last) > rounding and not direct[n, j]
            found += bent[n, j]
            others += bent[n, j] or direct[n, j]
            for i in range(q.shape[0]):
                c[i, n, j] = 0.0
                if not (bent[n, j] or direct[n, j]):
                    for k in range(q.shape[0]):
                        c[i, n, j] += to_powers[i, k] * q[k, n, j]
                    sizes[i] = max(sizes[i], most * abs(c[i, n, j]))
    terms = q.shape[0]
    while terms > 2 and sizes[terms - 1] <= rounding:
        terms -= 1
    return found, others, terms


@inner
def nonzero(line, at, values):
    """Write where a line is not 0, its values there, and a 0 at the end; return how many."""
    k = 0
    for i in range(line.size):
        at[k], values[k] = i, line[i]
        k += line[i] != 0
    at[k], values[k] = 0, 0.0
    return k


# Two inputs at a time halve the loads: a third of the kernel's time.


@jit
def multiply_kernel(x, W, b, out):
    """Write ``x @ W + b``, without the products of zeros."""
    at, v = np.empty(x.shape[1] + 1, np.int64), np.empty(x.shape[1] + 1)
    for n in range(x.shape[0]):
        row = out[n]
        row[:] = b
        for k in range(0, nonzero(x[n], at, v), 2):
            first, second, v0, v1 = W[at[k]], W[at[k + 1]], v[k], v[k + 1]
            for j in range(row.size):
                row[j] += v0 * first[j] + v1 * second[j]


@jit
def read_kernel(z, c0, c1, h, out):
    """Write ``z.T @ c0 + h^2 (z^3).T @ c1``, without the products of zeros."""
    at, v = np.empty(z.shape[0] + 1, np.int64), np.empty(z.shape[0] + 1)
    for i in range(z.shape[1]):
        row = out[i]
        row[:] = 0.0
        for k in range(0, nonzero(z[:, i], at, v), 2):
            m, n, v0, v1 = at[k], at[k + 1], v[k], v[k + 1]
            u0, u1 = h * h * v0**3, h * h * v1**3
            a0, a1, b0, b1 = c0[m], c1[m], c0[n], c1[n]
            for j in range(row.size):
                row[j] += (v0 * a0[j] + u0 * a1[j]) + (v1 * b0[j] + u1 * b1[j])


@jit
def pooled_moves_kernel(a, inputs, d, features, out):
    """Write how much the pooled outputs of one channel move where `a` moves by ``d * inputs``.

    a, inputs (N, rows, columns); the pooled `features` before, and `out`, (N, windows of 2x2).
    """
    for n in range(a.shape[0]):
        k = 0
        for i in range(0, a.shape[1] // 2 * 2, 2):
            for j in range(0, a.shape[2] // 2 * 2, 2):
                upper = max(
                    a[n, i, j] + d * inputs[n, i, j], a[n, i, j + 1] + d * inputs[n, i, j + 1]
                )
                lower = max(
                    a[n, i + 1, j] + d * inputs[n, i + 1, j],
                    a[n, i + 1, j + 1] + d * inputs[n, i + 1, j + 1],
                )
                out[n, k] = max(max(upper, lower), 0.0) - features[n, k]
                k += 1

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

from fastgrad._jit import inner, jit
from fastgrad.kernels.panels import ROWS, TOP, WIDTH, places, spread_curves
from fastgrad.kernels.tickets import FIRST, finish, take, wait

# Chebyshev nodes for d² in units of its largest value: the smallest worst-case error of a line.
LOW = 0.5 - 0.25 * np.sqrt(2.0)
HIGH = 0.5 + 0.25 * np.sqrt(2.0)

LAST = 64
"""Rows of the last layer that are done at a time."""


@inner
def unit_moments(p, label, V, out):
    """Write ``out[k-1, j] = sum_c p[c] (V[c, j] - V[label, j])^k / k!`` of one sample, k = 1 to 4.

    These are the coefficients of T, the relative change of the softmax denominator, as a power
    series in the unit's change. They are shared by all rows of the layer.
    """
    out[:] = 0.0
    m1, m2, m3, m4 = out[0], out[1], out[2], out[3]
    base = V[label]
    for c in range(p.size):
        if c != label:
            v = V[c]
            weight = p[c]
            for j in range(base.size):
                lead = v[j] - base[j]
                term = weight * lead
                m1[j] += term
                term *= lead * (1.0 / 2.0)
                m2[j] += term
                term *= lead * (1.0 / 3.0)
                m3[j] += term
                term *= lead * (1.0 / 4.0)
                m4[j] += term


@inner
def score_moments(p, label, out):
    """Write what `unit_moments` does for the scores themselves, whose V is the identity."""
    others = 0.0
    for c in range(p.size):
        if c != label:
            others += p[c]
    for c in range(p.size):
        # Raising the label's score lowers all the others against it.
        even, odd = (others, -others) if c == label else (p[c], p[c])
        out[0, c] = odd
        out[1, c] = even * (1.0 / 2.0)
        out[2, c] = odd * (1.0 / 6.0)
        out[3, c] = even * (1.0 / 24.0)


@inner
def rise(d, sigmoidal, z, slope, r, m1, m2, m3, m4):
    """Return ``l(d) - l(0)`` for a small shift `d` of a pre-activation, by short series."""
    change = d
    if sigmoidal:
        e = d * (1.0 + d * (1 / 2 + d * (1 / 6 + d * (1 / 24))))  # expm1(d)
        change = slope * e / (1.0 + z * e)
    T = change * (m1 + change * (m2 + change * (m3 + change * m4)))
    q = r * T / (1.0 + T)
    return q * (1.0 + q * (1 / 2 + q * (1 / 3 + q * (1 / 4 + q * (1 / 5)))))  # -log1p(-q)


@inner
def quotient(d, sigmoidal, z, slope, r, m1, m2, m3, m4):
    """Return the central quotient ``(l(d) - l(-d)) / 2d`` of one curve."""
    above = rise(d, sigmoidal, z, slope, r, m1, m2, m3, m4)
    below = rise(-d, sigmoidal, z, slope, r, m1, m2, m3, m4)
    return (above - below) / (2.0 * d)


@inner
def curves(sigmoidal, z, slope, r, M, reach, out):
    """Write the c0 of one sample's units, then their c1 for d² in units of ``reach²``, to `out`.

    Parameters: the units' outputs `z` and their ``slope = z (1 - z)``, not read where `sigmoidal`
    is false; ``r = p_t / (p_t + 1e-7)``; the moments `M` (4, units or more).
    """
    units = out.size // 2
    c0, c1 = out[:units], out[units:]
    m1, m2, m3, m4 = M[0], M[1], M[2], M[3]
    near = reach * np.sqrt(LOW)
    far = reach * np.sqrt(HIGH)
    for j in range(units):
        first = quotient(near, sigmoidal, z[j], slope[j], r, m1[j], m2[j], m3[j], m4[j])
        second = quotient(far, sigmoidal, z[j], slope[j], r, m1[j], m2[j], m3[j], m4[j])
        rate = (second - first) * (1.0 / (HIGH - LOW))
        c0[j] = first - rate * LOW
        c1[j] = rate


@jit
def curves_size(units):
    """Return how many numbers the c0 and c1 of so many units take, a panel at a time."""
    return 2 * WIDTH * (-(-units // WIDTH))


@inner
def panel_rows(
    k, columns, values, factor, scale, state, first, last, start, stop, top, add, panel, out
):
    """Write what `rows_kernel` does, for the units of panel `k`, `out` being rows from `top` on.

    `first` and `last` say where the entries of each sample begin and end that are of these rows,
    of which `panel` has room for all. With `add`, sums over earlier samples stand in `out`.
    """
    units = min(WIDTH, out.shape[1] - WIDTH * k)
    panel[:] = 0.0
    if add:
        for i in range(start, stop):
            for j in range(units):
                panel[i - start, j] = out[i - top, WIDTH * k + j]
    for n in range(first.size):
        at = n * state.shape[1] + 2 * WIDTH * k
        mine = first[n], last[n]
        spread_curves(columns, values, *mine, state, at, factor, scale, start, panel)
    for i in range(start, stop):
        for j in range(units):
            out[i - top, WIDTH * k + j] = panel[i - start, j]


@inner
def last_rows(at, state, batch, start, stop, top, add, sums, out):
    """Write what `last_rows_kernel` does, `out` being rows from `top` on.

    `sums` is room for `LAST` numbers of each class, `batch` the number of all samples. With `add`,
    sums over those before the ones in `state` stand in `out`.
    """
    classes = out.shape[1]
    sums[:] = 0.0
    if add:
        for c in range(classes):
            for j in range(stop - start):
                sums[c, j] = out[start - top + j, c]
    for n in range(state.shape[0]):
        c0 = state[n, at : at + classes]
        c1 = state[n, at + classes : at + 2 * classes]
        z = state[n, at + 2 * classes + start : at + 2 * classes + stop]
        for c in range(classes):
            w0 = c0[c] / batch
            w1 = c1[c] / batch
            row = sums[c]
            for j in range(z.size):
                row[j] += z[j] * (w0 + w1 * (z[j] * z[j]))
    for c in range(classes):
        for j in range(stop - start):
            out[start - top + j, c] = sums[c, j]


@jit
def rows_kernel(starts, columns, values, largest, state, start, stop, out):
    """Write ``out[i - start, j] = mean_n x (c0[n, j] + c1[n, j] (x / largest)²)``, x = X[n, i].

    X is compressed; `state` is that of `fastgrad.kernels.samples`. Each row of the layer adds its
    samples in the same order whatever the block.
    """
    samples = starts.size - 1
    factor, scale = 1.0 / samples, 1.0 / largest
    begin, end = np.empty(samples, np.int64), np.empty(samples, np.int64)
    panel = np.empty((min(ROWS, stop - start), WIDTH))
    places(columns, starts, TOP, samples, start, begin, end)
    for low in range(start, stop, ROWS):
        high = min(low + ROWS, stop)
        places(columns, starts, TOP, samples, high, begin, end)
        rows = begin, end, low, high, start, False
        for k in range(-(-out.shape[1] // WIDTH)):
            panel_rows(k, columns, values, factor, scale, state, *rows, panel, out)


@jit
def last_rows_kernel(units, state, start, stop, out):
    """Write the same for the last layer, whose inputs are the hidden units and the bias's 1.

    Vectorised over the rows of the block, since the classes are few; `largest` is 1.
    """
    at, samples = curves_size(units), state.shape[0]
    sums = np.empty((out.shape[1], LAST))
    for low in range(start, stop, LAST):
        last_rows(at, state, samples, low, min(low + LAST, stop), start, False, sums, out)


@jit
def both_layers_kernel(
    tickets, starts, columns, values, state, largest, batch, add, parts, start, stop, first, last
):
    """Write all rows of the layers `first` (D+1, H) and `last` (H+1, C), as the two kernels do.

    For some of `batch` samples; with `add`, to the sums over those before them. Threads share the
    work, see `fastgrad.kernels.tickets`: items `start` to `stop`, of which there are `parts`,
    each of `ROWS` rows at most, for each panel of the first layer, and then one for each `LAST`
    rows of the last.
    """
    inputs, units = first.shape
    samples = starts.size - 1
    factor, scale = 1.0 / batch, 1.0 / largest
    begin, end = np.empty(samples, np.int64), np.empty(samples, np.int64)
    panel = np.empty((min(ROWS, inputs), WIDTH))
    sums = np.empty((last.shape[1], LAST))
    panels = -(-units // WIDTH)
    known = -1
    item = start + take(tickets, FIRST)
    while item < stop:
        part, k = item // panels, item % panels
        if part < parts:
            low, high = inputs * part // parts, inputs * (part + 1) // parts
            if part != known:
                known = part
                places(columns, starts, TOP, samples, low, begin, end)
                places(columns, starts, TOP, samples, high, begin, end)
            rows = begin, end, low, high, TOP, add
            panel_rows(k, columns, values, factor, scale, state, *rows, panel, first)
        else:
            low = LAST * (item - panels * parts)
            high = min(low + LAST, units + 1)
            last_rows(curves_size(units), state, batch, low, high, TOP, add, sums, last)
        finish(tickets, FIRST)
        item = start + take(tickets, FIRST)
    return wait(tickets, FIRST, stop - start)

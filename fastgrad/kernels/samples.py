"""What all perturbed losses of one sample share: its forward pass, and from it the curves.

A sample's row of `state` holds, in this order (H hidden units, C classes):

    c0, c1       curves of the hidden units, see `fastgrad.kernels.curves`: both of the units of
                 one panel, see `fastgrad.kernels.panels`, then of the next, with gaps in the last
    c0, c1 (2C)  curves of the scores
    z (H+1)      outputs of the hidden units, and the 1 of the bias
    p            the probability of the label

and nothing more of use, up to the end of a cache line.
"""

from __future__ import annotations

import math

import numpy as np

from fastgrad._jit import inner, jit
from fastgrad.kernels.curves import curves, curves_size, score_moments, unit_moments
from fastgrad.kernels.exponential import decay
from fastgrad.kernels.forward import TINY
from fastgrad.kernels.panels import ROWS, TOP, WIDTH, multiply_panel, pack, places
from fastgrad.kernels.tickets import FIRST, finish, take, wait

TOGETHER = 8
"""Samples that a thread takes at a time."""

SIGMOIDAL, LINEAR = np.True_, np.False_
"""Kinds of units; numba compiles a function once for the literal True, and once for False."""


@inner
def hidden_units(a, z, slope):
    """Write the sigmoid of `a` and its slope; exp(-|a|) keeps z (1 - z) right where z rounds to 1.

    Vectorised, four units at a time with AVX2.
    """
    decay(a, slope)
    for j in range(a.size):
        small = slope[j]
        large = 1.0 / (1.0 + small)
        z[j] = large if a[j] >= 0.0 else small * large
        slope[j] = small * large * large


@inner
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


@inner
def in_panels(c, out):
    """Write c0 and c1 one panel after the other."""
    H = c.size // 2
    for first in range(0, H, WIDTH):
        for j in range(min(WIDTH, H - first)):
            out[2 * first + j] = c[first + j]
            out[2 * first + WIDTH + j] = c[H + first + j]


@jit
def turn(W, V):
    """Write `W` transposed to `V`; return how far the entries of a row of `W` lie apart, at most.

    That is NaN if one is NaN or infinite.
    """
    spread = 0.0
    for j in range(W.shape[0]):
        low = high = W[j, 0]
        for c in range(W.shape[1]):
            V[c, j] = entry = W[j, c]
            low = entry if entry < low else low
            high = entry if entry > high else high
            spread += 0.0 * entry
        spread = high - low if high - low > spread else spread
    return spread


@jit
def samples_kernel(tickets, starts, columns, values, W1, b1, W2, b2, V, t, reach, a, sizes, state):
    """Write the rows of some samples, with labels `t`, to `state`.

    Threads share the work, see `fastgrad.kernels.tickets`, in stages: panels of the first layer, in
    ``len(sizes)`` items each of some samples, a stage for each `ROWS` inputs, into the room `a` for
    pre-activations; then samples. `V` is W2 transposed. ``reach`` holds the largest shift of a
    pre-activation and of a score; the curves of a layer are left out where it is 0. A row of
    `sizes` (items, WIDTH), zeros, gets the largest parameters of the first layer in that item.
    """
    H, C = W2.shape
    samples = t.size
    panels = a.shape[1] // WIDTH
    begin, end = np.empty(samples, np.int64), np.empty(samples, np.int64)
    panel = np.empty((min(ROWS, W1.shape[0] + 1), WIDTH))
    every = np.empty(H + 1, np.int64)
    for j in range(every.size):  # np.arange takes half a second to compile
        every[j] = j
    last = np.empty((-(-C // WIDTH), H + 1, WIDTH))
    unasked = np.empty(WIDTH)
    for k in range(last.shape[0]):
        pack(W2, b2, k, TOP, H + 1, last[k], unasked)
    slope, p = np.empty(H), np.empty(C)
    scores = np.empty(last.shape[0] * WIDTH)
    M, c = np.empty((4, max(H, C))), np.empty(2 * H)
    at = curves_size(H)
    items = sizes.shape[0]
    parts = items // panels
    stage = FIRST
    for above in range(0, W1.shape[0] + 1, ROWS):
        below = min(above + ROWS, W1.shape[0] + 1)
        known = -1
        item = take(tickets, stage)
        while item < items:
            part, k = item // panels, item % panels
            first, beyond = samples * part // parts, samples * (part + 1) // parts
            if part != known:
                known = part
                places(columns, starts, first, beyond, above, begin, end)
                places(columns, starts, first, beyond, below, begin, end)
            pack(W1, b1, k, above, below, panel, sizes[item])
            for n in range(first, beyond):
                if above == 0:
                    for j in range(k * WIDTH, (k + 1) * WIDTH):
                        a[n, j] = 0.0
                mine = begin[n - first], end[n - first]
                to = n * a.shape[1] + k * WIDTH
                multiply_panel(columns, values, *mine, above, panel, a, to)
            finish(tickets, stage)
            item = take(tickets, stage)
        if not wait(tickets, stage, items):
            return False
        stage += 1
    groups = -(-samples // TOGETHER)
    k = take(tickets, stage)
    while k < groups:
        for n in range(k * TOGETHER, min((k + 1) * TOGETHER, samples)):
            row = state[n]
            z = row[at + 2 * C : at + 2 * C + H + 1]
            hidden_units(a[n, :H], z, slope)
            z[H] = 1.0
            scores[:] = 0.0
            for part in range(last.shape[0]):
                multiply_panel(every, z, TOP, H + 1, TOP, last[part], scores, part * WIDTH)
            softmax(scores[:C], p)
            label = t[n]
            row[at + 2 * C + H + 1] = p[label]
            r = p[label] / (p[label] + TINY)
            if reach[0] > 0.0:
                unit_moments(p, label, V, M)
                curves(SIGMOIDAL, z, slope, r, M, reach[0], c)
                in_panels(c, row)
            if reach[1] > 0.0:
                score_moments(p, label, M)
                curves(LINEAR, p, p, r, M, reach[1], row[at : at + 2 * C])
        finish(tickets, stage)
        k = take(tickets, stage)
    return wait(tickets, stage, groups)

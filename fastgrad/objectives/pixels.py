r"""The hidden units of a sample of pixels, computed in integers, and by how much the scores err.

Inputs are taken as ``q / s`` with whole numbers q, the weights of unit j as ``v_j / m_j``. The
products and their sums are exact. What is left, with u = 2^-24 and g as in
`fastgrad.objectives.singles`:

    input            \|x - q / s\| <= 2^-12 sqrt(D) / s
    pre-activation   da_j <= \|x - q / s\| \|w_j\|
                             + \|q / s\| (\|w_j - v_j / m_j\| + g(4) \|v_j / m_j\|) + g(4) \|b1_j\|
    hidden unit      dz_j <= da_j / 4 + 2^-15
    score            ds <= sum_j dz_j max_c \|W2[j, c]\|

The first, as the kernel sees to 2^-13, in float32, which may miss 255 by 2^-16 twice; the second by
Cauchy and Schwarz, with the four roundings of ``sums * factor + b``; the third, as a sigmoid's
slope is 1/4 at most, and by `fastgrad.kernels.pixels.logistic`.
"""

from __future__ import annotations

import numpy as np

from fastgrad._typing import Array, Floats
from fastgrad.kernels.pairs import UNITS
from fastgrad.kernels.pixels import (
    MOST,
    SIGMOID_OFF,
    compressed_kernel,
    pixels_kernel,
)
from fastgrad.objectives.images import Part, plain, room_for_one
from fastgrad.objectives.singles import g

HIGHEST_WEIGHT = 2**15 - 1


class Pixels:
    """The first layer in whole numbers, for inputs that are, but for a scale.

    Parameters
    ----------
    W1, b1 : ndarray of float
        The first layer.
    reach : ndarray of float64, shape (H,)
        How far a unit moves the scores: ``max_c |W2[j, c]|``.
    scale : float32
        What makes whole numbers of the inputs.
    """

    def __init__(self, W1: Floats, b1: Floats, reach: Floats, scale: np.float32) -> None:
        W1 = W1.astype(float, copy=False)
        D, H = W1.shape
        self._units, self._scale = H, scale
        sizes = np.sqrt(np.sum(np.square(W1), axis=0))
        # No sum, of inputs up to MOST and rounded weights, leaves 32 bits.
        room = (2.0**31 - MOST * D) / (MOST * np.sqrt(D))
        m = np.minimum(HIGHEST_WEIGHT / np.abs(W1).max(axis=0), room / sizes)
        m[sizes == 0] = 1.0
        v = np.rint(m * W1)
        rounding = np.sqrt(np.sum(np.square(W1 - v / m), axis=0))
        rounding += g(4) * np.sqrt(np.sum(np.square(v / m), axis=0))
        off = 2.0**-12 * np.sqrt(D) / float(scale)
        # The 1e-30 is far more than what is lost to float32's underflow.
        rest = (off * sizes + g(4) * np.abs(b1) + 1e-30) / 4 + SIGMOID_OFF
        # A pair has two numbers, none of them more than MOST.
        self._slope = MOST / float(scale) * np.sqrt(2.0) * np.sum(reach * rounding) / 4
        self._rest = np.sum(reach * rest)
        columns = -(-H // UNITS) * UNITS
        pairs = np.zeros((-(-D // 2), 2, columns), np.int16)
        pairs.reshape(-1, columns)[:D, :H] = v
        W = np.ascontiguousarray(pairs.transpose(0, 2, 1)).reshape(len(pairs), -1)
        factors, minus_b = np.zeros((2, columns), np.float32)
        factors[:H], minus_b[:H] = -1 / (float(scale) * m), -b1
        self._layer = W, factors, minus_b

    def hidden(self, x: Array, part: Part | None = None) -> tuple[Array, Array]:
        """Return z (N, H) and by how much the scores err for it; infinity where x is no pixels.

        Quicker where `part` is what `x` has been made into.
        """
        z = np.empty((len(x), self._units), np.float32)
        if part is None:
            counts = np.empty(len(x), np.int64)
            one = room_for_one(x.shape[1])
            pixels_kernel(plain(x), self._scale, *one, *self._layer, z, counts)
        else:
            counts = part.counts
            compressed_kernel(part.columns, part.pairs, part.starts, *self._layer, z)
        error = self._slope * np.sqrt(np.maximum(counts, 0)) + self._rest
        return z, np.where(counts < 0, np.inf, error)

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
from fastgrad.kernels.pixels import MOST, SIGMOID_OFF, pixels_kernel
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
    largest : float
        About the largest input: pixels up to 1 are multiples of 1/255.
    """

    def __init__(self, W1: Floats, b1: Floats, reach: Floats, largest: float) -> None:
        W1 = W1.astype(float, copy=False)
        D, H = W1.shape
        self._units = H
        self._scale = MOST if largest <= 1 else 1
        sizes = np.sqrt(np.sum(np.square(W1), axis=0))
        # No sum, of inputs up to MOST and rounded weights, leaves 32 bits.
        room = (2.0**31 - MOST * D) / (MOST * np.sqrt(D))
        m = np.minimum(HIGHEST_WEIGHT / np.abs(W1).max(axis=0), room / sizes)
        m[sizes == 0] = 1.0
        v = np.rint(m * W1)
        rounding = np.sqrt(np.sum(np.square(W1 - v / m), axis=0))
        rounding += g(4) * np.sqrt(np.sum(np.square(v / m), axis=0))
        off = 2.0**-12 * np.sqrt(D) / self._scale
        # The 1e-30 is far more than what is lost to float32's underflow.
        rest = (off * sizes + g(4) * np.abs(b1) + 1e-30) / 4 + SIGMOID_OFF
        self._slope, self._rest = np.sum(reach * rounding) / 4, np.sum(reach * rest)
        columns = -(-H // UNITS) * UNITS
        pairs = np.zeros((-(-D // 2), 2, columns), np.int16)
        pairs.reshape(-1, columns)[:D, :H] = v
        self._W = np.ascontiguousarray(pairs.transpose(0, 2, 1)).reshape(len(pairs), -1)
        self._factors, self._minus_b = np.zeros((2, columns), np.float32)
        self._factors[:H] = -1 / (self._scale * m)
        self._minus_b[:H] = -b1

    def hidden(self, x: Array) -> tuple[Array, Array]:
        """Return z (N, H) and by how much the scores err for it; infinity where x is no pixels."""
        z, counts = np.zeros((len(x), self._units), np.float32), np.empty(len(x), np.float32)
        pixels = np.require(x, np.float32, ("C", "W"))
        scale = np.float32(self._scale)
        pixels_kernel(pixels, scale, self._W, self._factors, self._minus_b, z, counts)
        # A pair has two numbers, none of them more than MOST.
        return z, self._slope * (MOST / self._scale) * np.sqrt(2 * counts) + self._rest

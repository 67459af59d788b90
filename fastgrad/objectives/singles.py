r"""The hidden units of any sample in float32, and by how much the scores err.

Let u = 2^-24 and ``g(k) = k u / (1 - k u)``. A sum of k products errs by at most g(k) times the
sum of their absolute values, in whatever order it is taken (Higham, *Accuracy and Stability of
Numerical Algorithms*, section 3.1). So, by Cauchy and Schwarz, and with the rounding of `x` and of
the weights to float32 counted in:

    pre-activation   da <= g(D + 4) (max_j \|w_j\| \|x\| + max \|b1\|)
    hidden unit      dz <= da / 4 + 8 u
    score            ds <= dz sum_j max_c \|W2[j, c]\|

the second, since a sigmoid's slope is 1/4 at most.
"""

from __future__ import annotations

import numpy as np

from fastgrad._typing import Array, Floats

_PART = 200
"""Samples whose inputs stay in the second-level cache, between the two passes over them."""


def g(k: int) -> float:
    """Return by how much a sum of `k` products in float32 errs, relative to their sizes."""
    return k * 2.0**-24 / (1 - k * 2.0**-24)


class Singles:
    """The first layer in float32; takes what `fastgrad.objectives.pixels.Pixels` does."""

    def __init__(self, W1: Floats, b1: Floats, reach: Floats) -> None:
        self._W1, self._minus_b1 = W1.astype(np.float32), -b1.astype(np.float32)
        rounding, v = g(len(W1) + 4) / 4, np.sum(reach)
        self._slope = v * rounding * np.sqrt(np.sum(np.square(W1), axis=0, dtype=float).max())
        # The 1e-30 is far more than what is lost to float32's underflow.
        self._rest = v * (rounding * np.abs(b1).max() + 8 * g(1) + 1e-30)

    def hidden(self, x: Array) -> tuple[Array, Array]:
        """Return z (N, H), and by how much the scores err for it."""
        norms, z = np.empty(len(x), np.float32), np.empty((len(x), len(self._minus_b1)), np.float32)
        for start in range(0, len(x), _PART):
            here = slice(start, start + _PART)
            part = np.ascontiguousarray(x[here], np.float32)
            norms[here] = np.vecdot(part, part)
            np.dot(part, self._W1, out=z[here])
        np.exp(np.subtract(self._minus_b1, z, out=z), out=z)
        z += 1
        np.reciprocal(z, out=z)
        return z, self._slope * np.sqrt(norms) + self._rest

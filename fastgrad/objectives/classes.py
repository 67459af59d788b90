r"""The likeliest class of each sample, in float32 where that is sure to be the answer of float64.

Let u = 2^-24 and ``g(k) = k u / (1 - k u)``. A sum of k products errs by at most g(k) times the
sum of their absolute values, in whatever order it is taken (Higham, *Accuracy and Stability of
Numerical Algorithms*, section 3.1). So, by Cauchy and Schwarz, and with the rounding of `x` and of
the weights to float32 counted in:

    pre-activation   da <= g(D + 4) (max_j \|w_j\| \|x\| + max \|b1\|)
    hidden unit      dz <= da / 4 + 8 u
    score            ds <= (dz + g(H + 4)) sum_j max_c \|W2[j, c]\| + g(H + 4) max \|b2\|

the second, since a sigmoid's slope is 1/4 at most. Two scores that are further apart than 2 ds
stand in the right order. The code asks for a hundredth more, which covers float64's own rounding
and that of the estimate, each a thousand times smaller still; and for 1e-12 more, since a softmax
in float64 may make one of two closer scores.
"""

from __future__ import annotations

import numpy as np

from fastgrad._typing import Array, Floats
from fastgrad.objectives.base import Cost, OneEach, PlainArrays

BLOCK = 1000
"""Samples at a time: what is computed for them stays in the second-level cache."""

PART = 200
"""Samples whose inputs stay there, between the two passes over them."""

UNSURE = -1.0


def _g(k: int) -> float:
    return k * 2.0**-24 / (1 - k * 2.0**-24)


class Classes(OneEach, PlainArrays):
    """The class numbers of all samples as floats, `UNSURE` where float32 cannot tell.

    One work item a sample. A sample whose values or scores are not finite is unsure.

    Parameters
    ----------
    params : dict of ndarray
        W1, b1, W2, b2.
    x : ndarray, shape (N, D)
        Copied to float32 block by block where it is not float32 already.
    """

    def __init__(self, params: dict[str, Array], x: Array) -> None:
        self.items = self.size = len(x)
        self._x = x
        with np.errstate(over="ignore"):
            W1, b1, W2, b2 = (params[name].astype(np.float32) for name in ("W1", "b1", "W2", "b2"))
        self._layers = (W1, -b1, np.ascontiguousarray(W2.T), b2[:, np.newaxis])
        D, H = W1.shape
        v = np.abs(params["W2"]).max(axis=1).sum()
        highest1, highest2 = np.abs(params["b1"]).max(), np.abs(params["b2"]).max()
        w = np.sqrt(np.sum(np.square(params["W1"]), axis=0, dtype=float).max())
        # A score errs by at most rest + slope |x|. The 1e-30 is far more than what is lost to
        # float32's underflow.
        self._slope = v / 4 * _g(D + 4) * w
        self._rest = (
            v / 4 * (_g(D + 4) * highest1 + 1e-30)
            + (8 * _g(1) + _g(H + 4)) * v
            + _g(H + 4) * highest2
            + 1e-30
        )

    def cost(self) -> Cost:
        """Return an estimate: 0.04 ns for each multiplication."""
        seconds = 4e-11 * self.items * self._layers[0].size
        return Cost(seconds, seconds)

    def partials(self, block: range, out: Floats) -> None:
        """Write the block's class numbers."""
        for start in range(block.start, block.stop, BLOCK):
            stop = min(start + BLOCK, block.stop)
            out[start - block.start : stop - block.start] = self._classes(self._x[start:stop])

    def _classes(self, x: Array) -> Array:
        W1, minus_b1, W2, b2 = self._layers
        norms, z = np.empty(len(x), np.float32), np.empty((len(x), len(minus_b1)), np.float32)
        # What overflows is not finite, and so never sure.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for start in range(0, len(x), PART):
                here = slice(start, start + PART)
                part = np.ascontiguousarray(x[here], np.float32)
                norms[here] = np.vecdot(part, part)
                np.dot(part, W1, out=z[here])
            np.exp(np.subtract(minus_b1, z, out=z), out=z)
            z += 1
            np.reciprocal(z, out=z)
            scores = np.dot(W2, z.T)  # (C, N): to compare a few long rows is quick
            scores += b2
            likeliest = scores.argmax(axis=0)
            every = np.arange(len(x))
            highest = scores[likeliest, every]
            scores[likeliest, every] = -np.inf
            margin = highest - scores.max(axis=0)
            sure = margin > 2.02 * (self._slope * np.sqrt(norms) + self._rest) + 1e-12
        return np.where(sure, likeliest, UNSURE)

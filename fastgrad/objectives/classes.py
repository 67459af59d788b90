r"""The likeliest class of each sample, by numbers as short as are sure to give float64's answer.

Integers of 16 bits where the inputs are pixels, float32 for other inputs and for samples of which
integers are not sure; who asks has to predict the rest. Each tells by how much its hidden units
mislead the scores, and their product with W2 in float32 adds

    ds <= g(H + 4) (sum_j max_c \|W2[j, c]\| + max \|b2\|),    g of `fastgrad.objectives.singles`.

Two scores that are further apart than 2 ds stand in the right order. The code asks for a hundredth
more, which covers float64's own rounding and that of the estimate, each a thousand times smaller
still; and for 1e-12 more, since a softmax in float64 may make one of two closer scores.
"""

from __future__ import annotations

import numpy as np

from fastgrad._typing import Array, Floats
from fastgrad.objectives.base import Cost, PlainArrays
from fastgrad.objectives.images import PART, Images, scale_of
from fastgrad.objectives.pixels import Pixels
from fastgrad.objectives.singles import Singles, g

UNSURE = -1.0


class Classes(PlainArrays):
    """The class numbers of all samples as floats, `UNSURE` where float32 cannot tell.

    One work item for `PART` samples. A sample whose values or scores are not finite is unsure.

    Parameters
    ----------
    params : dict of ndarray
        W1, b1, W2, b2.
    x : ndarray, shape (N, D)
        Copied to float32 part by part where it is not float32 already.
    images : Images, optional
        The same samples.
    """

    def __init__(self, params: dict[str, Array], x: Array, images: Images | None = None) -> None:
        self.items, self.size = -(-len(x) // PART), len(x)
        self._x, self._images, self._scale = x, images, scale_of(x)
        W1, b1, W2, b2 = (params[name] for name in ("W1", "b1", "W2", "b2"))
        reach = np.abs(W2).max(axis=1)
        # What overflows is not finite, and so never sure.
        with np.errstate(all="ignore"):
            self._pixels = Pixels(W1, b1, reach, self._scale)
            self._singles = Singles(W1, b1, reach)
            self._W2 = np.ascontiguousarray(W2.T, np.float32)
            self._b2 = b2.astype(np.float32)[:, np.newaxis]
        self._rest = g(len(W2) + 4) * (np.sum(reach) + np.abs(b2).max()) + 1e-30

    def span(self, block: range) -> slice:
        """Return where the samples of the block's parts are."""
        return slice(PART * block.start, min(PART * block.stop, self.size))

    def weights(self) -> None:
        """Return None: one part is as much work as another."""

    def cost(self) -> Cost:
        """Return an estimate: 0.02 ns for each multiplication."""
        seconds = 2e-11 * self._x.size * self._W2.shape[1]
        return Cost(seconds, seconds)

    def partials(self, block: range, out: Floats) -> None:
        """Write the class numbers of the block's samples."""
        images = self._images
        with np.errstate(all="ignore"):
            for number in block:
                x = self._x[PART * number :][:PART]
                part = images.part(number, self._scale) if images else None
                classes = out[PART * (number - block.start) :][:PART]
                classes[:] = self._likeliest(*self._pixels.hidden(x, part))
                unsure = classes == UNSURE
                if unsure.any():
                    classes[unsure] = self._likeliest(*self._singles.hidden(x[unsure]))

    def _likeliest(self, z: Array, error: Array) -> Array:
        """Return the classes by the hidden units z (N, H), which mislead a score by `error`."""
        scores = np.dot(self._W2, z.T)  # (C, N): to compare a few long rows is quick
        scores += self._b2
        likeliest = scores.argmax(axis=0)
        every = np.arange(len(z))
        highest = scores[likeliest, every]
        scores[likeliest, every] = -np.inf
        margin = highest - scores.max(axis=0)
        sure = margin > 2.02 * (error + self._rest) + 1e-12
        return np.where(sure, likeliest, UNSURE)

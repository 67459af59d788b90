"""A callable that takes many points at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastgrad._evaluation.callable import Calls, EvaluationError, Values
from fastgrad._evaluation.values import COMPLEX, as_array, numbers
from fastgrad._formulas.points import Points
from fastgrad._typing import Array

BATCH_BYTES = 2**26
"""Memory for the points of one batch, 64 MiB."""

LEAST_POINTS, BATCHES = 64, 32
"""A batch has at least so many points, and there are about so many batches to share."""


class Batches(Calls):
    """``f(points)``, one number or one array for each point.

    The batches do not depend on the workers: what f makes of a point may depend, by rounding, on
    how many stand beside it. x is one array.
    """

    total = 1

    @property
    def unit(self) -> int:
        """How many points stand in a batch, where there are `total` in all."""
        return min(max(LEAST_POINTS, self.total // BATCHES), self.most)

    @property
    def most(self) -> int:
        """How many points a batch holds at most."""
        outputs = 8 * math.prod(self.reader.shape or ())
        return max(1, BATCH_BYTES // max(1, self.x.nbytes, outputs))

    def at(self, index: Any, value: Any) -> Any:
        """Return what f returns for one point."""
        start = np.array([0, np.size(index)])
        return self._values(Points(np.atleast_1d(index), np.atleast_1d(value), start))[0]

    def __call__(self, points: Points) -> Values:
        """Return f at all points."""
        try:
            values = self._values(points)
            if not self.reader.numbers:
                self.reader.settle(values.shape[1:])
                values = values.reshape(len(values), -1)
            return Values(values.astype(np.result_type(values.dtype, float)), [])
        except self.caught as error:
            failures = [(k, error) for k in range(points.count)]
            return Values(self.reader.stack([None] * points.count), failures)  # type: ignore[arg-type]
        except Exception as error:
            raise EvaluationError(0, error, points.count - 1) from error

    def _values(self, points: Points) -> Array:
        rows = np.repeat(self.x[np.newaxis], points.count, axis=0)
        bounds = points.bounds()
        rows[np.repeat(np.arange(points.count), np.diff(bounds)), points.index] = points.value
        like = self.parameters.leaves[0]
        dtype = rows.dtype if rows.dtype.kind == "c" else like.dtype.newbyteorder("=")
        batch = rows.astype(dtype, copy=False).reshape(-1, *like.shape)
        return self._checked(as_array(self.f(batch, *self.args)), len(batch))

    def _checked(self, values: Array, count: int) -> Array:
        kinds, known = self.reader.kinds, self.reader.shape
        if kinds == COMPLEX:
            numbers(values, COMPLEX)  # says what may have dropped the imaginary part
        shape = values.shape[1:] if known is None else known
        if values.shape != (count, *shape) or values.dtype.kind not in kinds:
            kind = "complex" if kinds == COMPLEX else "real"
            one = f"an array of shape {shape}" if shape else f"one {kind} number"
            raise TypeError(
                f"f must return {one} for each of the {count} points, shape {(count, *shape)}, got "
                f"{values.dtype} of shape {values.shape}"
            )
        return values

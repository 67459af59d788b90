"""First derivatives along the coordinates: of a gradient, a Jacobian, a complex step."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastgrad._formulas.formula import Formula
from fastgrad._formulas.points import Points, joined, unmoved
from fastgrad._formulas.steps import Plan, Steps, blocks
from fastgrad._typing import Array, Integers

NONE = np.empty(0, np.int64)


class Coordinates(Formula):
    """The formula of each coordinate at its own points, one coordinate after the other.

    Parameters
    ----------
    steps : Steps
        Which points, and which weights.
    with_value : bool
        Whether f(x) is wanted in any case. It then is the first point.
    """

    def __init__(self, steps: Steps, with_value: bool) -> None:
        items = steps.parameters.size
        value_first = with_value or bool(items and steps.centers.any())
        self._width = 0
        if steps.bounds is None:
            # All alike: to note where each of a million starts takes as much memory as x.
            self.steps, self.value_first, self.items = steps, value_first, items
            self._width = int(steps.counts[0])
            self.total = self.first(items)
        else:
            which = [steps.plan(block).which for block in blocks(items)]
            super().__init__(steps, steps.counts[np.concatenate([NONE, *which])], value_first)

    def first(self, item: int) -> int:
        """Return the place of the first point of a coordinate."""
        return item * self._width + self.value_first if self._width else super().first(item)

    def complete(self, points: int) -> int:
        """Return how many coordinates have all their points among so many first points."""
        if self._width:
            return max(points - self.value_first, 0) // self._width
        return super().complete(points)

    def points(self, block: range) -> Points:
        """Return some of the points."""
        parts = []
        if self.value_first and block.start == 0:
            parts.append(unmoved(self.steps.x.dtype))
            block = range(1, block.stop)
        if block:
            items = range(self.complete(block.start), self.complete(block.stop - 1) + 1)
            plan = self.steps.plan(items)
            first = block.start - self.first(items.start)
            row, value = self._all(plan)
            mine = slice(first, first + len(block))
            parts.append(Points(items.start + row[mine], value[mine]))
        return joined(parts)

    def _all(self, plan: Plan) -> tuple[Integers, Array]:
        """Return for each evaluation of a plan its coordinate's row and what that is changed to."""
        if self._width:
            return np.arange(len(plan.value)).repeat(self._width), plan.value.reshape(-1)
        used = np.arange(plan.value.shape[1]) < self.steps.counts[plan.which][:, np.newaxis]
        return np.nonzero(used)[0], plan.value[used]

    def allocate(self, outputs: tuple[int, ...], dtype: Any) -> Array:
        """Return an array for all derivatives, one row a coordinate."""
        return np.empty((self.items, *outputs), dtype)

    def combine(self, out: Array, items: range, values: Array, value: Any) -> None:
        """Write the derivatives of some coordinates.

        Parameters
        ----------
        out : ndarray
            From `allocate`.
        items : range
            The coordinates.
        values : ndarray, shape (points, *outputs)
            f at their points.
        value : float or ndarray
            f(x), where it is known.
        """
        plan = self.steps.plan(items)
        out[items.start : items.stop] = weighted_sums(
            self.steps, plan.which, plan.divisor, values, value
        )


def weighted_sums(
    steps: Steps, which: Integers, divisor: Array, values: Array, value: Any
) -> Array:
    """Return the derivative of each row: weights times values, summed and divided.

    Term by term, as the formula is written: a matrix product would round differently.
    """
    beside = (slice(None),) + (np.newaxis,) * (values.ndim - 1)
    width = steps.weights.shape[1]
    if values.dtype.kind == "c":
        values = values.imag  # of the complex step
    if len(steps.formulas) == 1:
        columns = values.reshape(len(which), width, *values.shape[1:])
    else:
        columns = np.zeros((len(which), width, *values.shape[1:]), values.dtype)
        columns[np.arange(width) < steps.counts[which][:, np.newaxis]] = values
    weights, centers = steps.weights[which].T, steps.centers[which]
    totals = weights[0][beside] * columns[:, 0]
    for k in range(1, width):
        totals += weights[k][beside] * columns[:, k]
    if centers.any():
        totals += np.where(centers[beside], centers[beside] * value, 0.0)
    derivatives: Array = totals / divisor[beside]
    return derivatives

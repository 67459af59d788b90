"""First derivatives along the coordinates: of a gradient, a Jacobian, a complex step."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastgrad._formulas.formula import Formula
from fastgrad._formulas.points import Points, joined, unmoved
from fastgrad._formulas.steps import Steps
from fastgrad._typing import Array, Integers


class Coordinates(Formula):
    """The formula of each coordinate at its own points, one coordinate after the other."""

    def __init__(self, steps: Steps, with_value: bool) -> None:
        items, width = steps.parameters.size, steps.weights.shape[1]
        starts: Any = range(0, items * width + 1, width)
        if steps.bounds is not None:
            counts = steps.counts[steps.plan(range(items)).which]
            starts = [0, *counts.cumsum().tolist()]
        super().__init__(steps, starts, with_value or (items > 0 and any(steps.centers.tolist())))

    def points(self, block: range) -> Points:
        """Return some of the points, of many coordinates at once."""
        parts = [unmoved(self.x.dtype)] if block.start < self.value_first else []
        start, stop = max(block.start, self.value_first), block.stop
        if start < stop:
            items = range(self.complete(start), self.complete(stop - 1) + 1)
            plan = self.steps.plan(items)
            value, counts = plan.value, plan.value.shape[1]
            if self.steps.bounds is not None:
                counts = self.steps.counts[plan.which]
                value = value[np.arange(value.shape[1]) < counts[:, np.newaxis]]
            index = np.arange(items.start, items.stop).repeat(counts)
            begin = self.first(items.start)
            mine = slice(start - begin, stop - begin)
            parts.append(Points(index[mine], value.reshape(-1)[mine]))
        return joined(parts)

    def allocate(self, outputs: tuple[int, ...], dtype: Any) -> Array:
        """Return an array for all derivatives, one row a coordinate."""
        return np.empty((self.items, *outputs), dtype)

    def combine(self, out: Array, items: range, values: Array, value: Any) -> None:
        """Write the derivatives of some coordinates, from f at their points and f(x)."""
        plan = self.steps.plan(items)
        out[items.start : items.stop] = weighted_sums(
            self.steps, plan.which, plan.divisor, values, value
        )


def weighted_sums(steps: Any, which: Integers, divisor: Array, values: Array, value: Any) -> Array:
    """Return the derivative of each row: weights times values, summed and divided.

    `steps` have ``formulas, counts, weights, centers``. Term by term, as the formula is written: a
    matrix product would round differently.
    """
    beside = (slice(None),) + (np.newaxis,) * (values.ndim - 1)
    width = steps.weights.shape[1]
    if values.dtype.kind == "c":
        values = values.imag  # of the complex step
    if len(steps.formulas) == 1:
        weights, centers = steps.weights, steps.centers
        columns = values.reshape(len(divisor), width, *values.shape[1:])
    else:
        weights, centers = steps.weights[which], steps.centers[which]
        columns = np.zeros((len(which), width, *values.shape[1:]), values.dtype)
        columns[np.arange(width) < steps.counts[which][:, np.newaxis]] = values
    weights = weights.T
    totals = weights[0][beside] * columns[:, 0]
    for k in range(1, width):
        totals += weights[k][beside] * columns[:, k]
    if value is not None and centers.any():
        totals += np.where(centers[beside], centers[beside] * value, 0.0)
    derivatives: Array = totals / divisor[beside]
    return derivatives

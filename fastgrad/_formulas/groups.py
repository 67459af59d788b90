"""First derivatives of a sparse Jacobian: columns that share no row move together."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np

from fastgrad._formulas.coordinates import weighted_sums
from fastgrad._formulas.formula import Formula
from fastgrad._formulas.points import Points, joined
from fastgrad._formulas.sparsity import Pattern
from fastgrad._formulas.steps import Steps
from fastgrad._typing import Array, Integers


class Groups(Formula):
    """One item is a group of the columns of a pattern; all its coordinates move at once."""

    def __init__(self, steps: Steps, pattern: Pattern, with_value: bool) -> None:
        self.pattern, self.plan = pattern, steps.plan(range(steps.parameters.size))
        self._lengths = steps.counts[self.plan.which]
        groups = range(len(pattern.starts) - 1)
        counts = [int(self._lengths[self._columns(group)].max()) for group in groups]
        value_first = with_value or bool(counts and steps.centers.any())
        super().__init__(steps, [0, *accumulate(counts)], value_first)

    def _columns(self, item: int) -> Integers:
        """Return the coordinates of a group."""
        first, last = self.pattern.starts[item : item + 2]
        return self.pattern.order[first:last]

    def of_item(self, item: int, some: range) -> Points:
        """Return some of the points of a group."""
        parts = []
        for move in some:
            columns = self._columns(item)
            columns = columns[move < self._lengths[columns]]
            value = self.plan.value[columns, move]
            parts.append(Points(columns, value, np.array([0, len(columns)])))
        return joined(parts)

    def told_apart(self, point: Points, output: int) -> Points:
        """Return a point with the coordinate that an output depends on before the others."""
        pattern = self.pattern
        column = np.repeat(pattern.order, np.diff(pattern.ends))
        mine = np.isin(point.index, column[pattern.rows == output])
        first = np.argsort(~mine, kind="stable")
        return Points(point.index[first], point.value[first], point.start)

    def allocate(self, outputs: tuple[int, ...], dtype: Any) -> Array:
        """Return an array for all derivatives that may differ from 0."""
        rows = self.pattern.shape[0]
        if outputs not in ((), (rows,)):
            raise ValueError(
                f"f returns {outputs[0]} numbers, but sparsity has the shape {self.pattern.shape}: "
                "it must have a row for each"
            )
        return np.empty(len(self.pattern.rows), dtype)

    def combine_item(self, out: Array, item: int, values: Array, value: Any) -> None:
        """Write the derivatives of a group: of the outputs `rows` by the coordinates `column`."""
        first, last = self.pattern.starts[item : item + 2]
        ends = self.pattern.ends[first : last + 1]
        rows = self.pattern.rows[ends[0] : ends[-1]]
        column = np.repeat(self._columns(item), np.diff(ends))
        used = np.arange(len(values)) < self._lengths[column][:, np.newaxis]
        out[ends[0] : ends[-1]] = weighted_sums(
            self.steps, self.plan.which[column], self.plan.divisor[column],
            values.T[rows][used], value[rows] if self.value_first else value,
        )  # fmt: skip

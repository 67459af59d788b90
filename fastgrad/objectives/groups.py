"""Callables with a sparse Jacobian: many coordinates are moved for one evaluation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastgrad._typing import Array, Integers
from fastgrad.objectives.outputs import Outputs
from fastgrad.objectives.values import all_finite
from fastgrad.sparsity import Pattern
from fastgrad.steps import Plan, Steps
from fastgrad.structures import Parameters


class Groups(Outputs):
    """``f(x)``, an array, as an objective; one work item is one group of the columns of a pattern.

    All coordinates of a group are moved at once, each by its own step.

    Parameters
    ----------
    f, parameters, steps, keep
        As for `Outputs`; x is one array. f(x) itself is not evaluated unless a formula needs it.
    pattern : Pattern
        One row for each number that f returns, one column for each coordinate.
    """

    shape_first = False

    def __init__(
        self,
        f: Callable[[Any], Any],
        parameters: Parameters,
        steps: Steps,
        keep: bool,
        pattern: Pattern,
    ) -> None:
        self.pattern = pattern
        self.all = steps.plan(parameters, 0, range(parameters.size))
        super().__init__(f, parameters, steps, keep)

    @property
    def items(self) -> int:
        """Number of groups."""
        return len(self.pattern.starts) - 1

    @property
    def size(self) -> int:
        """Number of derivatives."""
        return len(self.pattern.rows)

    def span(self, block: range) -> slice:
        """Return where the derivatives of the block's groups stand."""
        starts, ends = self.pattern.starts, self.pattern.ends
        return slice(int(ends[starts[block.start]]), int(ends[starts[block.stop]]))

    def total(self) -> int:
        """Return how often f is evaluated for all groups."""
        return sum(self._count(self.all.of(self._columns(k))) for k in range(self.items))

    def assemble(self, vector: Array) -> Any:
        """Return the sparse Jacobian."""
        return self.pattern.assemble(vector.astype(self.parameters.dtypes[0], copy=False))

    def _settle(self, shape: tuple[int, ...]) -> None:
        super()._settle(shape)
        if self.outputs != self.pattern.shape[0]:
            raise ValueError(
                f"sparsity must have a row for each output of f: f returns {self.outputs} numbers, "
                f"shape {shape}, and sparsity has the shape {self.pattern.shape}"
            )

    def _columns(self, item: int) -> Integers:
        """Return the coordinates of a group."""
        first, last = self.pattern.starts[item : item + 2]
        return self.pattern.order[first:last]

    def _count(self, plan: Plan) -> int:
        """Return how many evaluations a group needs: as many as its longest formula."""
        return int(self.steps.counts[plan.which].max())

    def partials(self, block: range, out: Array) -> None:
        """Write the block's partial derivatives. x is restored whatever happens."""
        first = self.span(block).start
        for item in block:
            span = self.span(range(item, item + 1))
            self._group(item, out[span.start - first : span.stop - first])

    def _group(self, item: int, out: Array) -> None:
        columns = self._columns(item)
        first, last = self.pattern.starts[item : item + 2]
        ends = self.pattern.ends[first : last + 1]
        rows, which = self.pattern.rows[ends[0] : ends[-1]], np.repeat(columns, np.diff(ends))

        def place(k: int, output: int | None = None) -> str:
            reached = which[rows == output] if output is not None else which[:0]
            return self._moved(reached[0] if len(reached) else columns[0], k, len(columns) - 1)

        plan = self.all.of(columns)
        values = np.array([
            self._together(columns, plan.moves[:, k], partial(place, k))
            for k in range(self._count(plan))
        ])  # fmt: skip
        if not (self.keep or all_finite(values)):
            raise self._not_finite(values, place)
        # From here on it is one derivative a row: of the output `rows` by the coordinate `which`.
        plan = self.all.of(which)
        used = self.steps.evaluated(plan, len(rows))[:, : len(values)]
        value = self.value[rows] if self.steps.needs_value else self.value
        self.steps.combine(plan, values.T[rows][used], out, value)

    def _moved(self, i: int, k: int, others: int) -> str:
        """Return words for the place where coordinate `i` and others have been moved."""
        original = self.parameters.leaves[0].flat[i]
        point = original + self.all.move(i, k)
        text = self.parameters.moved(0, int(i), original.item(), point.item())
        return f"{text}, moved together with {others} others" if others else text

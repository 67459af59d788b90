"""A callable that takes many points at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fastgrad._typing import Array, Floats
from fastgrad.objectives.base import Cost
from fastgrad.objectives.black_box import BlackBox
from fastgrad.objectives.values import explain, not_finite
from fastgrad.steps import Plan, Steps
from fastgrad.structures import Parameters

BATCH_BYTES = 2**26
"""Memory for the points of one batch, 64 MiB."""

LEAST_POINTS, BATCHES = 64, 8
"""A batch has at least so many points, and there are about so many batches to share."""


class Batched(BlackBox):
    """``f(points)`` as an objective; one work item is the batch of points of some coordinates.

    The batches do not depend on the workers: what f makes of a point may depend, by rounding, on
    how many stand beside it.

    Parameters
    ----------
    f : callable
        Takes an array (k, *x.shape), returns one number for each of the k points. The array is
        read-only: its memory serves the next batch.
    parameters : Parameters
        x: one array. While it is moved for a trial it is restored like that of `BlackBox`.
    steps, keep
        As for `BlackBox`.
    """

    def __init__(
        self, f: Callable[[Any], Any], parameters: Parameters, steps: Steps, keep: bool
    ) -> None:
        (x,) = parameters.leaves
        width = max(len(formula.moves) for formula in steps.formulas)
        share = parameters.size * width // BATCHES
        points = min(max(LEAST_POINTS, share), BATCH_BYTES // max(1, x.nbytes))
        self.length = max(1, points // width)  # coordinates in a batch
        super().__init__(f, parameters, steps, keep)
        self.items = -(-self.size // self.length)

    def span(self, block: range) -> slice:
        """Return where the block's partial derivatives stand."""
        return slice(block.start * self.length, min(block.stop * self.length, self.size))

    def _now(self) -> float:
        return float(self._values(self.parameters.leaves[0][None])[0])

    def cost(self) -> Cost:
        """Return about what all batches cost, judged by batches of one and of eight points."""
        total = self.steps.evaluations(self.parameters)
        with self._all_moved():
            self._trial()
            one = self._trial()
            start = time.perf_counter()
            self._values(np.stack([self.parameters.leaves[0]] * 8))
            eight = time.perf_counter() - start
        self.evaluations += 8
        wall = self.items * one.wall + total * max(eight - one.wall, 0.0) / 7
        return Cost(wall, wall * one.cpu / one.wall)

    def partials(self, block: range, out: Array) -> None:
        """Write the block's partial derivatives."""
        (x,) = self.parameters.leaves
        # All rows are x; each batch moves one entry of each row, and moves it back.
        rows = np.empty((self.length * self.steps.counts.max(), x.size), x.dtype)
        rows[:] = x.reshape(-1)
        for item in block:
            span = self.span(range(item, item + 1))
            start = span.start - block.start * self.length
            out[start : start + span.stop - span.start] = self._batch(
                range(span.start, span.stop), rows
            )

    def _batch(self, indices: range, rows: Array) -> Floats:
        (x,) = self.parameters.leaves
        plan = self.steps.plan(self.parameters, 0, indices)
        counts = self.steps.counts[plan.which]
        # One row for each evaluation: which coordinate it moves, and which of its moves it is.
        coordinates = np.repeat(np.arange(len(indices)), counts)
        moves = np.arange(len(coordinates)) - np.repeat(np.cumsum(counts) - counts, counts)
        moved = np.arange(len(coordinates)), indices.start + coordinates
        rows[moved] = plan.points[coordinates, moves]
        points = rows[: len(coordinates)].reshape(-1, *x.shape)
        points.flags.writeable = False
        values = self._checked(points, plan, indices, coordinates, moves)
        rows[moved] = x.flat[indices.start : indices.stop][coordinates]
        totals = self.steps.shared(self.value)[plan.which]
        np.add.at(totals, coordinates, self.steps.weights[plan.which[coordinates], moves] * values)
        return totals / plan.h

    def _checked(
        self, points: Array, plan: Plan, indices: range, coordinates: Array, moves: Array
    ) -> Floats:
        """Return f of a batch; where it raises or is not finite, say which coordinate moved."""
        flat = self.parameters.leaves[0].flat

        def where(row: int) -> str:
            i = indices.start + int(coordinates[row])
            point = plan.points[coordinates[row], moves[row]].item()
            return self.parameters.moved(0, i, flat[i].item(), point)

        try:
            values = self._values(points)
        except Exception as error:
            explain(error, f"{len(points)} points, from {where(0)} to {where(-1)}")
            raise
        bad = ~np.isfinite(values)
        if bad.any() and not self.keep:
            row = int(bad.argmax())
            raise not_finite(values[row], where(row))
        return values

    def _values(self, batch: Array) -> Floats:
        values = np.asarray(self.f(batch))
        if values.shape != (len(batch),) or values.dtype.kind not in "iuf":
            raise TypeError(
                f"f must return one real number for each of the {len(batch)} points, shape "
                f"({len(batch)},), got {values.dtype} of shape {values.shape}"
            )
        return values.astype(float)

"""A callable that takes many points at once."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastgrad._typing import Array, Floats
from fastgrad.objectives.black_box import BlackBox
from fastgrad.objectives.values import COMPLEX, explain, numbers, returned

BATCH_BYTES = 2**26
"""Memory for the points of one batch, 64 MiB."""

LEAST_POINTS, BATCHES = 64, 32
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

    shape: tuple[int, ...] | None = ()
    """Of what f returns for one point."""

    @functools.cached_property
    def length(self) -> int:
        """Coordinates in a batch."""
        (x,) = self.parameters.leaves
        width = int(self.steps.counts.max())
        share = self.parameters.size * width // BATCHES
        largest = max(1, x.nbytes, self.outputs * self.dtype.itemsize)
        points = min(max(LEAST_POINTS, share), BATCH_BYTES // largest)
        return max(1, points // width)

    @property
    def items(self) -> int:
        """Number of batches."""
        return -(-self.parameters.size // self.length)

    def coordinates(self, block: range) -> range:
        """Return the coordinates that belong to a block of batches."""
        stop = min(block.stop * self.length, self.parameters.size)
        return range(block.start * self.length, stop)

    def _now(self) -> Any:
        points = self.parameters.leaves[0][np.newaxis]
        points.flags.writeable = False
        return self._values(points)[0]

    @functools.cached_property
    def _rows(self) -> Array:
        """The points of a batch, all of them x: a batch moves one entry of each, and back."""
        (x,) = self.parameters.leaves
        rows = np.empty((self.length * self.steps.counts.max(), x.size), x.dtype)
        rows[:] = x.reshape(-1)
        return rows

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_rows"}

    def prepare(self) -> bool:
        """Prepare as `BlackBox` does; the copies have points of their own."""
        vars(self).pop("_rows", None)
        return super().prepare()

    def partials(self, block: range, out: Array) -> None:
        """Write the block's partial derivatives."""
        first = self.coordinates(block).start
        for item in block:
            indices = self.coordinates(range(item, item + 1))
            self._batch(indices, out[indices.start - first : indices.stop - first])

    def _batch(self, indices: range, out: Array) -> None:
        (x,), rows = self.parameters.leaves, self._rows
        plan = self.steps.plan(self.parameters, 0, indices)
        # One row for each evaluation: which coordinate it moves, and which of its moves it is.
        coordinates, moves = np.nonzero(self.steps.evaluated(plan, len(indices)))
        moved = np.arange(len(coordinates)), indices.start + coordinates
        saved = x.flat[indices.start : indices.stop]
        rows[moved] = (saved[:, np.newaxis] + plan.moves)[coordinates, moves]
        points = rows[: len(coordinates)].reshape(-1, *x.shape)
        try:
            values = self._called(points, (self._place(0, indices, plan, k) for k in (0, -1)))
        finally:
            rows[moved] = saved[coordinates]
        self._check_finite(0, indices, plan, values)
        self.steps.combine(plan, values, out, self.value)

    def _called(self, points: Array, ends: Iterable[str]) -> Floats:
        """Return f at some points; `ends` are words for where the first and the last are."""
        points.flags.writeable = False
        try:
            return self._values(points)
        except Exception as error:
            explain(error, f"{len(points)} points, from {' to '.join(ends)}")
            raise

    def _values(self, batch: Array) -> Floats:
        values = returned(self.f(batch))
        shape = values.shape[1:] if self.shape is None else self.shape
        if self.steps.kinds == COMPLEX:
            numbers(values, COMPLEX)  # says what may have dropped the imaginary part
        if values.shape != (len(batch), *shape) or values.dtype.kind not in self.steps.kinds:
            kind = "complex" if self.steps.kinds == COMPLEX else "real"
            one = f"an array of shape {shape}" if shape else f"one {kind} number"
            raise TypeError(
                f"f must return {one} for each of the {len(batch)} points, shape "
                f"{(len(batch), *shape)}, got {values.dtype} of shape {values.shape}"
            )
        return values.astype(np.result_type(values.dtype, float))

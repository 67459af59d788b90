"""Second derivatives of any Python callable, from its values alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastgrad._typing import Array, Floats
from fastgrad.objectives.black_box import BlackBox
from fastgrad.steps import Steps
from fastgrad.structures import Parameters

CORNERS = [1, 1], [1, -1], [-1, 1], [-1, -1]


class SecondOrder(BlackBox):
    """The upper triangle of the Hessian of ``f(x)``; one work item is one of its rows.

    Parameters
    ----------
    f, parameters, keep
        As for `BlackBox`; x is one array.
    steps : Steps
        How far to move each coordinate.
    """

    def __init__(
        self, f: Callable[[Any], Any], parameters: Parameters, steps: Steps, keep: bool
    ) -> None:
        super().__init__(f, parameters, steps, keep)
        n = parameters.size
        plan = steps.plan(parameters, 0, range(n))
        self.moves = np.broadcast_to(plan.moves[:, 0], n)
        self.h = np.broadcast_to(plan.h, n)
        self.evaluate()

    @property
    def size(self) -> int:
        """Number of derivatives: those on and above the diagonal."""
        return self._start(self.parameters.size)

    def span(self, block: range) -> slice:
        """Return where the block's rows stand."""
        return slice(self._start(block.start), self._start(block.stop))

    def _start(self, row: int) -> int:
        return row * self.parameters.size - row * (row - 1) // 2

    def weights(self) -> Floats:
        """Return how many evaluations each row takes."""
        return 2 + 4 * np.arange(self.parameters.size - 1, -1, -1, dtype=float)

    def partials(self, block: range, out: Array) -> None:
        """Write the block's rows, each from its diagonal on. x is restored whatever happens."""
        first = self.span(block).start
        for i in block:
            self._row(i, out[self._start(i) - first : self._start(i + 1) - first])

    def _row(self, i: int, out: Array) -> None:
        points = [([i], [side]) for side in (1, -1)]
        points += [([i, j], sides) for j in range(i + 1, self.parameters.size) for sides in CORNERS]
        places = [partial(self._point, *point) for point in points]
        values = np.array([
            self._together(where, np.array(sides) * self.moves[where], place)
            for (where, sides), place in zip(points, places, strict=True)
        ])  # fmt: skip
        if not (self.keep or np.isfinite(values).all()):
            raise self._not_finite(values, lambda k, _: places[k]())
        above, below = values[:2]
        out[0] = (above - 2 * self.value + below) / self.h[i] ** 2
        both, first, second, neither = values[2:].reshape(-1, 4).T
        out[1:] = (both - first - second + neither) / (4 * self.h[i] * self.h[i + 1 :])

    def _point(self, where: list[int], sides: list[int]) -> str:
        """Return words for the place where one coordinate or two have been moved."""
        (x,) = self.parameters.leaves
        moved = ((i, x.flat[i], side * self.moves[i]) for i, side in zip(where, sides, strict=True))
        return " and ".join(
            self.parameters.moved(0, i, at.item(), (at + move).item()) for i, at, move in moved
        )

    def assemble(self, vector: Array) -> Array:
        """Return the Hessian, both triangles from the same numbers."""
        (x,) = self.parameters.leaves
        hessian = np.empty((x.size, x.size), x.dtype)
        for i in range(x.size):
            hessian[i, i:] = hessian[i:, i] = vector[self._start(i) : self._start(i + 1)]
        return hessian.reshape(x.shape + x.shape)

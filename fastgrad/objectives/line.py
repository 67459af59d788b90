"""Callables along one direction: all of x is moved at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastgrad._typing import Array
from fastgrad.directions import Direction
from fastgrad.objectives.outputs import Outputs
from fastgrad.structures import Parameters


class Line(Outputs):
    """``f(x + t v)`` as an objective whose only coordinate is t, at t = 0.

    Parameters
    ----------
    f : callable
        Returns an array, always of the same shape. May ignore its argument and read x from a
        closure: x is moved in place.
    parameters : Parameters
        x.
    direction : Direction
        Where x is moved.
    keep : bool
        Whether values that are not finite are kept, not refused.
    """

    shape_first = False

    def __init__(
        self, f: Callable[[Any], Any], parameters: Parameters, direction: Direction, keep: bool
    ) -> None:
        self._of_x, self._x, self._direction = f, parameters, direction
        super().__init__(self._at, direction.t, direction.steps, keep)

    def _at(self, t: Array) -> Any:
        """Return f(x + t v), which is no view of x: x is put back."""
        leaves = self._x.leaves
        saved = [leaf.copy() for leaf in leaves]
        try:
            if t:
                for leaf, moved in zip(leaves, self._direction.at(float(t)), strict=True):
                    leaf[...] = moved
            returned = self._of_x(self._x.x)
            copy = np.array(returned)
            return returned if copy.dtype.kind == "O" else copy
        finally:
            for leaf, original in zip(leaves, saved, strict=True):
                leaf[...] = original

    def derivative(self) -> Array:
        """Return the derivative by t, of f's shape."""
        whole, t = range(1), np.zeros(1, self.dtype)
        plan = self.steps.plan(self.parameters, 0, whole)
        values = self._evaluate(0, whole, t, plan)
        out = np.empty((1, self.outputs), self.dtype)
        self.steps.combine(plan, values, out, self.value)
        return out.reshape(self.shape or ())

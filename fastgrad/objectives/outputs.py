"""Callables that return an array: all derivatives of its numbers by one coordinate at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastgrad._typing import Array, Floats
from fastgrad.objectives.batched import Batched
from fastgrad.objectives.black_box import BlackBox
from fastgrad.objectives.values import all_finite, numbers
from fastgrad.steps import Steps
from fastgrad.structures import FLOAT64, PIECE, Parameters

PIECE_VALUES = 2**16
"""Numbers that are held until they are combined, at most: 512 KiB."""


class Outputs(BlackBox):
    """``f(x)``, an array, as an objective; one work item is one coordinate.

    The derivatives of all outputs by a coordinate stand side by side: the vector of an objective
    is the transposed Jacobian, row after row.

    Parameters
    ----------
    f : callable
        Returns an array of real numbers, always of the same shape. As for `BlackBox` otherwise.
    parameters, steps, keep
        As for `BlackBox`.

    Attributes
    ----------
    shape : tuple of int
        Of what f returns.
    value : ndarray
        f(x), flat.
    """

    ready = ()
    finite = staticmethod(all_finite)
    shape: tuple[int, ...] | None
    shape_first = True
    """Whether the shape has to be known before the first derivative."""

    def __init__(
        self, f: Callable[[Any], Any], parameters: Parameters, steps: Steps, keep: bool
    ) -> None:
        self.shape = None
        super().__init__(f, parameters, steps, keep)
        if self.shape_first and self.shape is None:
            self.evaluate()

    def partials(self, block: range, out: Array) -> None:
        """Write the block's partial derivatives, all of one coordinate after the other."""
        super().partials(block, out.reshape(len(self.coordinates(block)), self.outputs))

    def assemble(self, vector: Array) -> Any:
        """Return the Jacobian, f's shape before x's, as a view of the vector where dtypes allow."""
        jacobian = vector.reshape(self.parameters.size, self.outputs).T
        return self.parameters.assemble(jacobian.reshape(*self.shape or (), self.parameters.size))

    def at_x(self) -> Any:
        """Return f(x), of f's shape; it is evaluated where it has not been yet."""
        if isinstance(self.value, float):
            self.evaluate()
        return self.value.reshape(self.shape)[()]

    def _read(self, returned: Any) -> Array:
        """Return a flat copy of what f returned: f may return the same memory every time."""
        array = numbers(returned, self.steps.kinds)
        self._settle(array.shape)
        kind = FLOAT64 if array.dtype is FLOAT64 else np.result_type(array.dtype, float)
        return array.astype(kind).reshape(-1)

    def _settle(self, shape: tuple[int, ...]) -> None:
        """Note the shape of what f returns, and hold f to it."""
        if self.shape is None:
            self.shape, self.outputs = shape, math.prod(shape)
            held = self.outputs * self.steps.weights.shape[1]
            self.piece = min(PIECE, max(1, PIECE_VALUES // max(1, held)))
        elif shape != self.shape:
            raise TypeError(
                f"f must return arrays of one shape: it was {self.shape} before, and now {shape}"
            )

    def _name(self, output: int) -> str:
        """Return how the caller would write one of f's outputs."""
        where = ", ".join(str(k) for k in np.unravel_index(output, self.shape or ()))
        return f"f[{where}]" if where else "f"


class BatchedOutputs(Outputs, Batched):
    """``f(points)`` as an objective, with an array for each point; the batches of `Batched`."""

    def _values(self, batch: Array) -> Floats:
        values = super()._values(batch)
        self._settle(values.shape[1:])
        return values.reshape(len(batch), self.outputs)

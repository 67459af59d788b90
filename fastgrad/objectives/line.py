"""Callables along one direction: all of x is moved at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastgrad._typing import Array
from fastgrad.objectives.outputs import Outputs
from fastgrad.stencils import Stencil
from fastgrad.steps import Steps
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
    v : ndarray, shape (parameters.size,)
        The direction.
    stencil, h
        The formula, and the step of t; see `step`.
    keep : bool
        Whether values that are not finite are kept, not refused.

    Raises
    ------
    ValueError
        If the step is none, or moves nothing.
    """

    shape_first = False

    def __init__(
        self,
        f: Callable[[Any], Any],
        parameters: Parameters,
        v: Array,
        stencil: Stencil,
        h: float,
        keep: bool,
    ) -> None:
        t = Parameters(np.zeros((), parameters.dtype), "x + t v, t")
        steps = Steps(t, stencil, h, None)
        self._of_x, self._x, self._v = f, parameters, v
        if v.any() and not any(np.any(_moved(x, v[which], h) != x) for x, which in self._parts()):
            raise ValueError(
                f"v does not move x by the step {h:.3g}: x + h v == x; pass a larger h"
            )
        super().__init__(self._at, t, steps, keep)

    def _parts(self) -> list[tuple[Array, slice]]:
        """Return each array of x, and where its part of v stands."""
        whole = range(self._x.size)
        return [(self._x.leaves[leaf], where) for leaf, _, where in self._x.split(whole)]

    def _at(self, t: Array) -> Any:
        """Return f(x + t v), which is no view of x: x is put back."""
        saved = [(x, x.copy()) for x, _ in self._parts()]
        try:
            if t:
                for x, which in self._parts():
                    x[...] = _moved(x, self._v[which], float(t))
            returned = self._of_x(self._x.x)
            copy = np.array(returned)
            return returned if copy.dtype.kind == "O" else copy
        finally:
            for x, original in saved:
                x[...] = original

    def derivative(self) -> Array:
        """Return the derivative by t, of f's shape."""
        whole, t = range(1), np.zeros(1, self.dtype)
        plan = self.steps.plan(self.parameters, 0, whole)
        values = self._evaluate(0, whole, t, plan)
        self._check_finite(0, whole, plan, values)
        out = np.empty((1, self.outputs), self.dtype)
        self.steps.combine(plan, values, out, self.value)
        return out.reshape(self.shape or ())


def _moved(x: Array, v: Array, t: float) -> Array:
    moved: Array = (x + t * v.reshape(x.shape)).astype(x.dtype, copy=False)
    return moved


def step(parameters: Parameters, v: Array, each: Any) -> float:
    """Return the largest step along `v` with which no coordinate moves by more than its own.

    Parameters
    ----------
    parameters : Parameters
        x.
    v : ndarray, shape (parameters.size,)
    each : float, or array or structure like x
        The step of each coordinate.
    """
    steps = np.concatenate([np.empty(0), *parameters.spread(each, "h")])
    moving = v != 0
    with np.errstate(over="ignore"):
        steps = steps[moving] / np.abs(v[moving])
    return float(steps.min()) if len(steps) else 1.0


def direction(parameters: Parameters, v: Any) -> Array:
    """Return `v`, which must be like x, as one long vector; both must be finite."""
    vector = parameters.vector(v, "v")
    for argument, values in (("v", vector), ("x", parameters.vector(parameters.x, "x"))):
        finite = np.isfinite(values)
        if not finite.all():
            k = int(finite.argmin())
            name = argument + parameters.name(k)[1:]
            raise ValueError(f"{name} must be finite, got {values[k]}")
    return vector

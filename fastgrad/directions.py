"""Directions: all of x is moved at once, along v."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np

from fastgrad._typing import Array
from fastgrad.bounds import Pairs, check_inside, pairs, rounded
from fastgrad.stencils import Stencil
from fastgrad.steps import Steps
from fastgrad.structures import Parameters


class Direction:
    """The points ``x + t v`` that a formula for the derivative by t, at t = 0, looks at.

    Parameters
    ----------
    parameters : Parameters
        x.
    v : ndarray, shape (parameters.size,)
        As `vector` returns it.
    stencil : Stencil
        The formula wherever it fits between the bounds.
    h : float
        The step of t.
    bounds : tuple or None
        As for `Steps`; of x.
    share : float
        How much of the way to the bounds the points may take. The rest is left to f, where it
        moves x further.

    Attributes
    ----------
    t : Parameters
        The one coordinate, 0.
    steps : Steps
        Of t, with the one formula that fits.

    Raises
    ------
    TypeError, ValueError
        If the step or `bounds` are none, x lies outside, v leads out of the bounds to both sides,
        or the step moves nothing.
    """

    def __init__(
        self,
        parameters: Parameters,
        v: Array,
        stencil: Stencil,
        h: float,
        bounds: tuple[object, object] | None,
        share: float = 1.0,
    ) -> None:
        self.t = Parameters(np.zeros((), parameters.dtype), "x + t v, t")
        self._x = leaves = parameters.leaves
        ends = accumulate(leaf.size for leaf in leaves)
        self._v = [
            v[end - leaf.size : end].reshape(leaf.shape)
            for leaf, end in zip(leaves, ends, strict=True)
        ]
        limits = pairs(parameters, bounds)
        self._bounds = None if limits is None else rounded(limits, leaves)
        if limits is None:
            self.steps = Steps(self.t, stencil, h, None)
        else:
            check_inside(parameters, limits)
            lower, upper = _room(parameters, v, limits)
            fitting = Steps(self.t, stencil, h, (share * lower, share * upper))
            _, (step,), (which,) = fitting.plan(self.t, 0, range(1))
            self.steps = Steps(self.t, fitting.formulas[which], float(step), None)
        if v.any() and all(map(np.array_equal, self.at(self._moves()[0]), leaves)):
            raise ValueError(
                f"v does not move x by the step {self.h:.3g}: x + h v == x; pass a larger h"
                + (" or wider bounds" if bounds else "")
            )

    @property
    def h(self) -> float:
        """The step of t, which bounds may have made shorter."""
        return float(self.steps.used(self.t))

    def _moves(self) -> list[float]:
        return [float(move) for move in self.steps.plan(self.t, 0, range(1)).moves[0]]

    def at(self, t: float) -> list[Array]:
        """Return the arrays of x + t v."""
        points = [
            (x + t * v).astype(x.dtype, copy=False) for x, v in zip(self._x, self._v, strict=True)
        ]
        if self._bounds is None:
            return points
        # What rounding has put outside.
        return [
            np.clip(x, lower, upper) for x, (lower, upper) in zip(points, self._bounds, strict=True)
        ]

    def ends(self) -> tuple[list[Array], list[Array]]:
        """Return the lowest and the highest that each entry of x is moved to."""
        points = [self._x, *map(self.at, self._moves())]
        leaves = list(zip(*points, strict=True))
        return [np.min(leaf, axis=0) for leaf in leaves], [np.max(leaf, axis=0) for leaf in leaves]


def _room(parameters: Parameters, v: Array, bounds: Pairs) -> tuple[float, float]:
    """Return how far t may go down and up."""
    moving = np.flatnonzero(v)
    if not len(moving):
        return -np.inf, np.inf
    x = parameters.vector(parameters.x, "x")[moving]
    sides = [np.concatenate(side)[moving] for side in zip(*bounds, strict=True)]
    with np.errstate(over="ignore"):
        ends = np.sort([(side - x) / v[moving] for side in sides], axis=0)
    lower, upper = float(ends[0].max()), float(ends[1].min())
    if lower == upper:
        ahead, behind = (parameters.name(moving[k]) for k in (ends[1].argmin(), ends[0].argmax()))
        raise ValueError(
            f"v leads out of the bounds at once, {ahead} forwards and {behind} backwards; pass "
            "wider bounds, an x within them or another v"
        )
    return lower, upper


def longest_step(parameters: Parameters, v: Array, each: Any) -> float:
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


def vector(parameters: Parameters, v: Any) -> Array:
    """Return `v`, which must be like x, as one long vector; both must be finite."""
    vector = parameters.vector(v, "v")
    for argument, values in (("v", vector), ("x", parameters.vector(parameters.x, "x"))):
        finite = np.isfinite(values)
        if not finite.all():
            k = int(finite.argmin())
            name = argument + parameters.name(k)[1:]
            raise ValueError(f"{name} must be finite, got {values[k]}")
    return vector

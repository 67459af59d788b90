"""Derivatives along one direction: all of x moves at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastgrad._formulas.bounds import Bounds, inwards
from fastgrad._formulas.formula import Formula
from fastgrad._formulas.points import Points, joined, unmoved
from fastgrad._formulas.stencils import Stencil
from fastgrad._structures import Parameters
from fastgrad._typing import Array, Floats


class Direction:
    """The points ``x + t v`` that a formula for the derivative by t, at t = 0, looks at.

    Parameters
    ----------
    parameters : Parameters
        x.
    v : ndarray, shape (parameters.size,)
    stencil : Stencil
        The formula wherever it fits between the bounds.
    h : float
        The step of t.
    bounds : Bounds, optional
        Of x.
    share : float
        How much of the way to the bounds the points may take. The rest is left to f, where it
        moves x further.

    Attributes
    ----------
    h : float
        The step of t, which bounds may have made shorter.
    formula : Stencil
        The formula that fits.
    moves : list of ndarray
        The long vectors x + t v, one for each evaluation.

    Raises
    ------
    ValueError
        If v leads out of the bounds to both sides, or the step moves nothing.
    """

    def __init__(
        self,
        parameters: Parameters,
        v: Array,
        stencil: Stencil,
        h: float,
        bounds: Bounds | None,
        share: float = 1.0,
    ) -> None:
        self.parameters, self.x, self.v = parameters, parameters.vector(), v
        self.h, self.formula, self._bounds = h, stencil, bounds
        if bounds is not None and v.any():
            self._bounds = inwards(parameters, bounds)
            self._fit(stencil, share)
        self.moves = [self._at(offset * self.h) for offset, _ in self.formula.moves]
        if v.any() and np.array_equal(self.moves[0], self.x):
            raise ValueError(
                f"v does not move x by the step {self.h:.3g}: x + h v == x; pass a larger h"
                + (" or wider bounds" if bounds else "")
            )

    def _fit(self, stencil: Stencil, share: float) -> None:
        """Choose the first formula that stays within the bounds, or else the largest step."""
        down, up = self._room(share)
        rooms = []
        for formula in (stencil, *stencil.sided):
            offsets = [offset for offset, _ in formula.moves]
            high, low = max(0.0, *offsets), max(0.0, *(-offset for offset in offsets))
            rooms.append(min(up / high if high else np.inf, down / low if low else np.inf))
        fitting = [k for k, room in enumerate(rooms) if self.h <= room]
        k = fitting[0] if fitting else int(np.argmax(rooms))
        self.formula = (stencil, *stencil.sided)[k]
        if not fitting:
            self.h = rooms[k] * (1 - 1e-6)

    def _room(self, share: float) -> tuple[float, float]:
        """Return how far t may go down and up."""
        assert self._bounds is not None
        moving = np.flatnonzero(self.v)
        sides = [(side - self.x)[moving] / self.v[moving] for side in self._bounds]
        ends = np.sort(sides, axis=0)
        lower, upper = float(ends[0].max()), float(ends[1].min())
        if lower == upper:
            name = self.parameters.name
            ahead, behind = name(moving[ends[1].argmin()]), name(moving[ends[0].argmax()])
            raise ValueError(
                f"v leads out of the bounds at once, {ahead} forwards and {behind} backwards; pass "
                "wider bounds, an x within them or another v"
            )
        return -share * lower, share * upper

    def _at(self, t: float) -> Array:
        """Return x + t v as x stores it, within the bounds."""
        everything = range(len(self.x))
        point = self.parameters.round(self.x + t * self.v, everything)
        if self._bounds is None:
            return point
        # What rounding has put outside.
        clipped: Array = np.clip(point, self._bounds.lower, self._bounds.upper)
        return clipped

    eps = 1.0
    """No precision of f asks for another step."""

    def used(self) -> float:
        """Return the step of t."""
        return self.h

    def target(self) -> Array:
        """Return the first of the points x + t v."""
        return self.moves[0]

    def ends(self) -> tuple[Array, Array]:
        """Return the lowest and the highest that each coordinate is moved to."""
        points = [self.x, *self.moves]
        return np.min(points, axis=0), np.max(points, axis=0)

    def derivative(self, values: Any, value: Any) -> Any:
        """Return the derivative by t, from values at all moves and at x."""
        weights = [weight for _, weight in self.formula.moves]
        total = weights[0] * values[0]
        for weight, other in zip(weights[1:], values[1:], strict=True):
            total = total + weight * other
        if self.formula.center:
            total = total + self.formula.center * value
        return total / self.h


class Along(Formula):
    """The derivative along a direction, of a number or an array; the only item.

    Parameters
    ----------
    direction : Direction
    with_value : bool
        Whether f(x) is wanted in any case. It then is the first point.
    """

    def __init__(self, direction: Direction, with_value: bool) -> None:
        self.direction, self.entries = direction, max(1, len(direction.x))
        value_first = with_value or bool(direction.formula.center)
        super().__init__(direction, [len(direction.moves)], value_first)

    def points(self, block: range) -> Points:
        """Return some of the points."""
        return joined([self._point(k - self.value_first) for k in block])

    def _point(self, k: int) -> Points:
        if k < 0:
            return unmoved(self.direction.x.dtype)
        return whole(self.direction.moves[k])

    def allocate(self, outputs: tuple[int, ...], dtype: Any) -> Array:
        """Return an array for the derivative."""
        return np.empty((1, *outputs), dtype)

    def combine(self, out: Array, items: range, values: Array, value: Any) -> None:
        """Write the derivative."""
        out[0] = self.direction.derivative(values, value)


class GradientAlong(Formula):
    """The derivative of a gradient along a direction: a formula at each of the points x + t v.

    Parameters
    ----------
    direction : Direction
    gradients : list of Coordinates
        The gradient at each of its points, and at x where its formula needs that.
    value : bool
        Whether f(x) is wanted. It then is the first point.
    """

    def __init__(self, direction: Direction, gradients: list[Any], value: bool) -> None:
        self.direction, self.gradients = direction, gradients
        self.entries = max(1, len(direction.x))
        super().__init__(direction, [gradient.total for gradient in gradients], value)

    def points(self, block: range) -> Points:
        """Return some of the points."""
        return joined([self._point(k) for k in block])

    def _point(self, k: int) -> Points:
        if k < self.value_first:
            return unmoved(self.direction.x.dtype)
        item = self.complete(k)
        k -= self.first(item)
        gradient = self.gradients[item]
        vector = gradient.steps.x.copy()
        point = gradient.points(range(k, k + 1))
        vector[point.index] = point.value
        return whole(vector)

    def allocate(self, outputs: tuple[int, ...], dtype: Any) -> Array:
        """Return an array for all gradients, one a row."""
        return np.empty((self.items, len(self.direction.x)), dtype)

    def combine(self, out: Array, items: range, values: Array, value: Any) -> None:
        """Write some of the gradients."""
        begin = self.first(items.start)
        for item in items:
            gradient = self.gradients[item]
            mine = values[self.first(item) - begin : self.first(item + 1) - begin]
            center = mine[0] if gradient.value_first else None
            every = range(gradient.items)
            gradient.combine(out[item], every, mine[gradient.value_first :], center)


def whole(vector: Array) -> Points:
    """Return a point that differs from x everywhere."""
    return Points(np.arange(len(vector)), vector, np.array([0, len(vector)]))


def longest_step(v: Array, each: Floats) -> float:
    """Return the largest step along `v` with which no coordinate moves by more than its own."""
    moving = v != 0
    with np.errstate(over="ignore"):
        steps = each[moving] / np.abs(v[moving])
    return float(steps.min()) if len(steps) else 1.0

"""Derivatives along one direction: all of x moves at once."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np

from fastgrad._checks import positive
from fastgrad._formulas.bounds import Bounds, inwards
from fastgrad._formulas.coordinates import weighted_sums
from fastgrad._formulas.formula import Formula
from fastgrad._formulas.points import Points, joined
from fastgrad._formulas.stencils import Stencil, named
from fastgrad._formulas.step_sizes import Default, StepSizes, first_steps
from fastgrad._formulas.steps import Steps
from fastgrad._structures import Parameters
from fastgrad._typing import Array, Floats


class Direction:
    """The points ``x + t v`` that a formula for the derivative by t, at t = 0, looks at.

    Without `h` the step of t is the largest with which no coordinate moves by more than its own of
    `default`. Fixed coordinates do not move, others no more than a `share` of the way to bounds:
    the rest is left to f, where that moves x further.
    """

    eps = 1.0
    """No precision of f asks for another step."""

    def __init__(
        self,
        parameters: Parameters,
        v: Any,
        stencil: str | Stencil,
        h: float | None,
        bounds: Bounds | None,
        *,
        default: Default = first_steps,
        eps: float = 0.0,
        share: float = 1.0,
    ) -> None:
        self.parameters, self.x = parameters, parameters.vector()
        self.v = parameters.vector_of(v, "v")
        parameters.vector_of(parameters.rebuild(parameters.leaves), "x")
        self._bounds = inwards(parameters, bounds) if bounds else None
        if bounds:
            self.v[bounds.fixed] = 0.0
        self._moving, t, room = np.flatnonzero(self.v), Parameters(0.0), None
        if self._bounds and len(self._moving):
            room = Bounds(*(share * end for end in self._room(*self._bounds)))
        h = self._longest(default, eps) if h is None else positive("h", h)
        self._steps = Steps(t, named(stencil), StepSizes(t, h, None), room)
        self._plan = self._steps.plan(range(1))
        formula = self._steps.formulas[self._plan.which[0]]
        self.center = formula.center
        self.moves = [self._at(t) for t in self._plan.value[0, : len(formula.moves)]]
        if len(self._moving) and np.array_equal(self.moves[0], self.x):
            raise ValueError(
                f"v does not move x by the step {self.used():.3g}: x + h v == x; pass a larger h"
                + (" or wider bounds" if bounds else "")
            )

    def _longest(self, default: Default, eps: float) -> float:
        """Return the step with which no coordinate moves by more than its default."""
        sizes = StepSizes(self.parameters, None, None, default, eps)
        each = sizes.of(range(len(self.x)), self.x)[self._moving]
        with np.errstate(over="ignore"):
            steps = each / np.abs(self.v[self._moving])
        return float(steps.min()) if len(steps) else 1.0

    def _room(self, lower: Floats, upper: Floats) -> Floats:
        """Return how far t may go down, below 0, and up."""
        moving = self._moving
        ends = np.sort(
            [(side - self.x)[moving] / self.v[moving] for side in (lower, upper)], axis=0
        )
        down, up = ends[0].max(keepdims=True), ends[1].min(keepdims=True)
        if down == up == 0:
            name = self.parameters.name
            ahead, behind = name(moving[ends[1].argmin()]), name(moving[ends[0].argmax()])
            raise ValueError(
                f"v leads out of the bounds at once, {ahead} forwards and {behind} backwards; pass "
                "wider bounds, an x within them or another v"
            )
        return np.array([down, up], float)

    def _at(self, t: float) -> Array:
        """Return x + t v as x stores it, within the bounds."""
        point = self.parameters.round(self.x + t * self.v, range(len(self.x)))
        return point if self._bounds is None else np.clip(point, *self._bounds)

    def used(self) -> float:
        """Return the step of t."""
        return float(self._steps.used())

    def target(self) -> Array:
        """Return the first of the points x + t v."""
        return self.moves[0].copy()

    def ends(self) -> tuple[Array, Array]:
        """Return the lowest and the highest that each coordinate is moved to."""
        points = [self.x, *self.moves]
        return np.min(points, axis=0), np.max(points, axis=0)

    def derivative(self, values: Any, value: Any) -> Any:
        """Return the derivative by t, from values at all moves and at x."""
        _, _, which, divisor = self._plan
        return weighted_sums(self._steps, which, divisor, np.asarray(values), value)[0]


class Along(Formula):
    """The derivative along a direction, of a number or an array; the only item."""

    def __init__(self, direction: Direction, with_value: bool) -> None:
        self.direction, self.entries = direction, max(1, len(direction.x))
        starts = [0, len(direction.moves)]
        super().__init__(direction, starts, with_value or bool(direction.center))

    def of_item(self, item: int, some: range) -> Points:
        """Return some of the points."""
        return joined([whole(self.direction.moves[k]) for k in some])

    def allocate(self, outputs: tuple[int, ...], dtype: Any) -> Array:
        """Return an array for the derivative."""
        return np.empty((1, *outputs), dtype)

    def combine_item(self, out: Array, item: int, values: Array, value: Any) -> None:
        """Write the derivative."""
        out[0] = self.direction.derivative(values, value)


class GradientAlong(Formula):
    """Gradients, by a formula at each point x + t v, and at x where that of t needs it."""

    def __init__(self, direction: Direction, gradients: list[Any], value: bool) -> None:
        self.direction, self.gradients = direction, gradients
        self.entries = max(1, len(direction.x))
        starts = [0, *accumulate(gradient.total for gradient in gradients)]
        super().__init__(direction, starts, value)

    def of_item(self, item: int, some: range) -> Points:
        """Return some of the points of a gradient."""
        gradient, parts = self.gradients[item], []
        for index, value in gradient.points(some).changes():
            vector = gradient.x.copy()
            vector[index] = value
            parts.append(whole(vector))
        return joined(parts)

    def allocate(self, outputs: tuple[int, ...], dtype: Any) -> Array:
        """Return an array for all gradients, one a row."""
        return np.empty((self.items, len(self.direction.x)), dtype)

    def combine_item(self, out: Array, item: int, values: Array, value: Any) -> None:
        """Write a gradient."""
        gradient = self.gradients[item]
        center = values[0] if gradient.value_first else None
        gradient.combine(out[item], range(gradient.items), values[gradient.value_first :], center)


def whole(vector: Array) -> Points:
    """Return a point that differs from x everywhere."""
    return Points(np.arange(len(vector)), vector, np.array([0, len(vector)]))

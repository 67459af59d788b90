"""Which step and which formula every coordinate gets."""

from __future__ import annotations

import functools
import math
import numbers
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastgrad._typing import Array, Floats, Integers
from fastgrad.stencils import Stencil, one_sided
from fastgrad.structures import Parameters

BOOK_STEP = 1e-4


class Plan(NamedTuple):
    """What to evaluate for some coordinates, one row each.

    ``points[r, k]`` is the value that coordinate r takes in evaluation k of its formula,
    ``formulas[which[r]].moves[k]``; the sum of weights times values is divided by ``h[r]``.
    """

    points: Array
    h: Floats
    which: Integers


class Steps:
    """Steps and formulas for the coordinates of `Parameters`, worked out piece by piece.

    Parameters
    ----------
    parameters : Parameters
        Where the derivative is taken.
    stencil : Stencil
        The formula wherever it fits between the bounds.
    h : float or None
        Step; None is the book's 1e-4, and ``eps**(1/3) * max(1, |x|)`` in precisions below
        float64, where 1e-4 would drown in rounding.
    bounds : tuple or None
        ``(lower, upper)``, numbers or structures like x: nothing outside is evaluated.

    Attributes
    ----------
    formulas : tuple of Stencil
        `stencil`, and with bounds the two one-sided formulas of its order.
    counts, weights : ndarray
        How many evaluations each formula needs, and their weights in one row, padded with zeros.

    Raises
    ------
    TypeError, ValueError
        If `h` or `bounds` are no steps and bounds, if x is not finite, if a coordinate lies
        outside its bounds or has no room between them, or if a step is lost in rounding.
    """

    def __init__(
        self,
        parameters: Parameters,
        stencil: Stencil,
        h: float | None,
        bounds: tuple[object, object] | None,
    ) -> None:
        self.h = _checked(h)
        self.bounds = _pairs(parameters, bounds)
        order = stencil.order
        sided = (one_sided(order, +1), one_sided(order, -1)) if self.bounds else ()
        self.formulas = (stencil, *sided)
        self.counts, self._moves, self.weights = _tables(self.formulas)
        self._validate(parameters)

    @property
    def needs_value(self) -> bool:
        """Whether a formula uses f(x) itself, which is then evaluated once for all coordinates."""
        return any(formula.center for formula in self.formulas)

    def shared(self, value: float) -> Floats:
        """Return for each formula its weight of f(x) times that value."""
        return np.array([f.center * value if f.center else 0.0 for f in self.formulas])

    def uniform(self, x: Array) -> bool:
        """Tell whether all coordinates of an array share one step and one formula."""
        return self.bounds is None and (self.h is not None or x.dtype.itemsize >= 8)

    def plan(self, parameters: Parameters, leaf: int, indices: range) -> Plan:
        """Return what to evaluate for these coordinates of a leaf."""
        x = parameters.leaves[leaf].flat[indices.start : indices.stop]
        if self.uniform(x):
            step = self.h or BOOK_STEP
            points = _shifted(x, self._moves[0] * step)
            return Plan(points, np.full(len(x), step), np.zeros(len(x), np.int64))
        h = self._preferred(x)
        which = np.zeros(len(x), np.int64)
        if self.bounds is not None:
            lower, upper = (side[indices.start : indices.stop] for side in self.bounds[leaf])
            self._fit(x, h, which, lower, upper)
        return Plan(_shifted(x, self._moves[which] * h[:, None]), h, which)

    def used(self, parameters: Parameters) -> Any:
        """Return the step, or the structure of all steps where coordinates differ."""
        if all(self.uniform(leaf) for leaf in parameters.leaves):
            return self.h or BOOK_STEP
        h = np.empty(parameters.size)
        for leaf, indices, where in parameters.pieces(range(parameters.size)):
            h[where] = self.plan(parameters, leaf, indices).h
        return parameters.assemble(h)

    def evaluations(self, parameters: Parameters) -> int:
        """Return how often f is evaluated for all coordinates, f(x) itself left out."""
        if self.bounds is None:
            return int(self.counts[0]) * parameters.size
        return sum(
            int(self.counts[self.plan(parameters, leaf, indices).which].sum())
            for leaf, indices, _ in parameters.pieces(range(parameters.size))
        )

    def _preferred(self, x: Array) -> Floats:
        if self.h is not None:
            return np.full(len(x), self.h)
        if x.dtype.itemsize >= 8:
            return np.full(len(x), BOOK_STEP)
        h = np.cbrt(np.finfo(x.dtype).eps) * np.maximum(1, np.abs(x))
        # The step that is taken, after x + h has been rounded.
        taken: Floats = ((x + h.astype(x.dtype)) - x).astype(float)
        return taken

    def _fit(self, x: Array, h: Floats, which: Integers, lower: Floats, upper: Floats) -> None:
        """Change `h` and `which` where the first formula would leave the bounds."""
        free = np.zeros(len(x), bool)
        for k, formula in enumerate(self.formulas):
            fits = ~free & _inside(x, h, formula, lower, upper)
            which[fits] = k
            free |= fits
        tight = np.flatnonzero(~free)
        if not len(tight):
            return
        # No formula fits: take the one that keeps the largest part of the step.
        inner, lower, upper = x[tight].astype(float), lower[tight], upper[tight]
        room = np.stack([_room(inner, formula, lower, upper) for formula in self.formulas])
        which[tight] = room.argmax(axis=0)
        # Rounding x + h must not cross the bound.
        slack = 4 * float(np.finfo(x.dtype).eps) * np.abs(inner)
        h[tight] = np.maximum(room.max(axis=0) * (1 - 1e-6) - slack, 0.0)

    def _validate(self, parameters: Parameters) -> None:
        """Look at all coordinates before anything is evaluated."""
        step = self.h or BOOK_STEP
        if all(self.uniform(leaf) and _all_move(leaf, step) for leaf in parameters.leaves):
            return
        for leaf, indices, where in parameters.pieces(range(parameters.size)):
            x = parameters.leaves[leaf].flat[indices.start : indices.stop]
            refuse = partial(_refuse, parameters, where.start, x)
            refuse(~np.isfinite(x), "must be finite, got {x}")
            if self.bounds is not None:
                lower, upper = (side[indices.start : indices.stop] for side in self.bounds[leaf])
                refuse(~((x >= lower) & (x <= upper)), "must lie within its bounds, got {x}")
            points, h, _ = self.plan(parameters, leaf, indices)
            refuse(
                points[:, 0] == x,
                "= {x} does not move by the step {h:.3g}: x + h == x in " + str(x.dtype) + "; pass "
                "a larger h, wider bounds or a more precise dtype",
                h,
            )


@functools.lru_cache(maxsize=64)
def _tables(formulas: tuple[Stencil, ...]) -> tuple[Integers, Floats, Floats]:
    """Return how many moves each formula has, and the moves and weights, padded with zeros."""
    counts = np.array([len(formula.moves) for formula in formulas])
    moves, weights = np.zeros((2, len(formulas), counts.max()))
    for k, formula in enumerate(formulas):
        moves[k, : counts[k]], weights[k, : counts[k]] = zip(*formula.moves, strict=True)
    return counts, moves, weights


def _checked(h: float | None) -> float | None:
    if h is None:
        return None
    if isinstance(h, bool) or not isinstance(h, numbers.Real):
        raise TypeError(f"h must be a number or None, got {h!r}")
    if not (math.isfinite(h) and h > 0):
        raise ValueError(f"h must be a finite step above 0, got {h!r}; the book uses 1e-4")
    return float(h)


def _pairs(
    parameters: Parameters, bounds: tuple[object, object] | None
) -> list[tuple[Floats, Floats]] | None:
    if bounds is None:
        return None
    try:
        lower, upper = bounds
    except (TypeError, ValueError):
        raise ValueError(f"bounds must be a pair (lower, upper), got {bounds!r}") from None
    sides = [parameters.spread(side, "bounds") for side in (lower, upper)]
    return list(zip(*sides, strict=True))


def _shifted(x: Array, moves: Floats) -> Array:
    """Return x plus the moves, one row for each coordinate, rounded as x stores it."""
    points: Array = x[:, None] + moves.astype(x.dtype, copy=False)
    return points


def _inside(x: Array, h: Floats, formula: Stencil, lower: Floats, upper: Floats) -> Array:
    """Tell where all points of the formula lie within the bounds."""
    points = _shifted(x, np.multiply.outer(h, [offset for offset, _ in formula.moves]))
    inside: Array = (points.max(axis=1) <= upper) & (points.min(axis=1) >= lower)
    return inside


def _room(x: Floats, formula: Stencil, lower: Floats, upper: Floats) -> Floats:
    """Return the largest step with which the formula stays within the bounds."""
    above, below = max(formula.offsets), -min(formula.offsets)
    room = np.full(len(x), np.inf)
    if above > 0:
        room = np.minimum(room, (upper - x) / above)
    if below > 0:
        room = np.minimum(room, (x - lower) / below)
    return room


def _all_move(x: Array, h: float) -> bool:
    """Tell whether all of x is finite and moves by h: one look at the largest entry."""
    largest = np.abs(x).max(initial=0)
    return bool(math.isfinite(largest) and largest + x.dtype.type(h) != largest)


def _refuse(
    parameters: Parameters,
    first: int,
    x: Array,
    bad: Array,
    reason: str,
    h: Floats | None = None,
) -> None:
    if bad.any():
        k = int(bad.argmax())
        text = reason.format(x=x[k], h=None if h is None else h[k])
        raise ValueError(f"{parameters.name(first + k)} {text}")

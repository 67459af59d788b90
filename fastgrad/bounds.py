"""Formulas and steps that stay within bounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastgrad._typing import Array, Floats, Integers
from fastgrad.stencils import Stencil, moves
from fastgrad.step_sizes import refuse
from fastgrad.structures import Parameters

Pairs = list[tuple[Floats, Floats]]


def pairs(parameters: Parameters, bounds: tuple[object, object] | None) -> Pairs | None:
    """Return the lower and the upper bounds of each leaf as flat arrays."""
    if bounds is None:
        return None
    try:
        lower, upper = bounds
    except (TypeError, ValueError):
        raise ValueError(f"bounds must be a pair (lower, upper), got {bounds!r}") from None
    sides = [parameters.spread(side, "bounds") for side in (lower, upper)]
    return list(zip(*sides, strict=True))


def check_inside(parameters: Parameters, bounds: Pairs) -> None:
    """Raise if a coordinate lies outside its bounds."""
    for leaf, indices, where in parameters.pieces(range(parameters.size)):
        x = parameters.leaves[leaf].flat[indices.start : indices.stop]
        lower, upper = (side[indices.start : indices.stop] for side in bounds[leaf])
        outside = ~((x >= lower) & (x <= upper))
        refuse(parameters, where.start, x, outside, "must lie within its bounds, got {x}")


def rounded(bounds: Pairs, leaves: list[Array]) -> list[tuple[Array, Array]]:
    """Return bounds in the shapes and the precisions of the arrays, never further out."""
    return [
        (_inwards(lower, x, np.inf), _inwards(upper, x, -np.inf))
        for (lower, upper), x in zip(bounds, leaves, strict=True)
    ]


def _inwards(bound: Floats, x: Array, inner: float) -> Array:
    with np.errstate(over="ignore"):
        near = bound.astype(x.dtype)
    further = near < bound if inner > 0 else near > bound
    return np.where(further, np.nextafter(near, x.dtype.type(inner)), near).reshape(x.shape)


def fit(
    formulas: tuple[Stencil, ...],
    between: tuple[Array, Array],
    h: Floats,
    which: Integers,
    lower: Floats,
    upper: Floats,
) -> None:
    """Change `h` and `which` where the first formula would leave the bounds.

    It stays within them from every x `between` the lowest and the highest.
    """
    lowest, highest = between
    free = np.zeros(len(h), bool)
    for k, formula in enumerate(formulas):
        fits = ~free & _inside(lowest, highest, h, formula, lower, upper)
        which[fits] = k
        free |= fits
    tight = np.flatnonzero(~free)
    if not len(tight):
        return
    # No formula fits: take the one that keeps the largest part of the step.
    below, above = lowest[tight] - lower[tight], upper[tight] - highest[tight]
    room = np.stack([_room(below, above, formula) for formula in formulas])
    which[tight] = room.argmax(axis=0)
    farthest = np.maximum(np.abs(lowest[tight]), np.abs(highest[tight])).astype(float)
    h[tight] = safe(room.max(axis=0), farthest, lowest.dtype)


def safe(room: Any, farthest: Any, dtype: np.dtype[Any]) -> Any:
    """Return how much of the room rounding x + h cannot carry across the bound, x in `dtype`."""
    slack = 4 * float(np.finfo(dtype).eps) * farthest
    return np.maximum(room * (1 - 1e-6) - slack, 0.0)


def _inside(
    lowest: Array, highest: Array, h: Floats, formula: Stencil, lower: Floats, upper: Floats
) -> Array:
    """Tell where all points of the formula lie within the bounds."""
    offsets = np.array([offset for offset, _ in formula.moves])
    ways = moves(offsets, h, lowest.dtype)
    inside: Array = (highest + ways.max(axis=1) <= upper) & (lowest + ways.min(axis=1) >= lower)
    return inside


def _room(below: Floats, above: Floats, formula: Stencil) -> Floats:
    """Return the largest step with which the formula stays within the bounds."""
    up, down = max(formula.offsets), -min(formula.offsets)
    room = np.full(len(above), np.inf)
    if up > 0:
        room = np.minimum(room, above / up)
    if down > 0:
        room = np.minimum(room, below / down)
    return room

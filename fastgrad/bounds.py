"""Formulas and steps that stay within bounds."""

from __future__ import annotations

import numpy as np

from fastgrad._typing import Array, Floats, Integers
from fastgrad.stencils import Stencil, moves
from fastgrad.structures import Parameters


def pairs(
    parameters: Parameters, bounds: tuple[object, object] | None
) -> list[tuple[Floats, Floats]] | None:
    """Return the lower and the upper bounds of each leaf as flat arrays."""
    if bounds is None:
        return None
    try:
        lower, upper = bounds
    except (TypeError, ValueError):
        raise ValueError(f"bounds must be a pair (lower, upper), got {bounds!r}") from None
    sides = [parameters.spread(side, "bounds") for side in (lower, upper)]
    return list(zip(*sides, strict=True))


def fit(
    formulas: tuple[Stencil, ...],
    x: Array,
    h: Floats,
    which: Integers,
    lower: Floats,
    upper: Floats,
) -> None:
    """Change `h` and `which` where the first formula would leave the bounds."""
    free = np.zeros(len(x), bool)
    for k, formula in enumerate(formulas):
        fits = ~free & _inside(x, h, formula, lower, upper)
        which[fits] = k
        free |= fits
    tight = np.flatnonzero(~free)
    if not len(tight):
        return
    # No formula fits: take the one that keeps the largest part of the step.
    inner, lower, upper = x[tight].astype(float), lower[tight], upper[tight]
    room = np.stack([_room(inner, formula, lower, upper) for formula in formulas])
    which[tight] = room.argmax(axis=0)
    # Rounding x + h must not cross the bound.
    slack = 4 * float(np.finfo(x.dtype).eps) * np.abs(inner)
    h[tight] = np.maximum(room.max(axis=0) * (1 - 1e-6) - slack, 0.0)


def _inside(x: Array, h: Floats, formula: Stencil, lower: Floats, upper: Floats) -> Array:
    """Tell where all points of the formula lie within the bounds."""
    offsets = np.array([offset for offset, _ in formula.moves])
    points = x[:, np.newaxis] + moves(offsets, h, x.dtype)
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

"""Formulas and steps that stay within bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastgrad._formulas.stencils import Stencil
from fastgrad._structures import Parameters
from fastgrad._typing import Array, Floats, Integers


class Bounds(NamedTuple):
    """The lower and the upper bound of each coordinate."""

    lower: Floats
    upper: Floats

    def part(self, block: range) -> Bounds:
        """Return the bounds of some coordinates."""
        return Bounds(self.lower[block.start : block.stop], self.upper[block.start : block.stop])


def inwards(parameters: Parameters, bounds: Bounds) -> Bounds:
    """Return bounds in the precisions of the coordinates, never further out."""
    sides = []
    for bound, inner in zip(bounds, (np.inf, -np.inf), strict=True):
        rounded = np.empty(len(bound))
        for leaf, _, where in parameters.split(range(parameters.size)):
            dtype = parameters.dtypes[leaf]
            with np.errstate(over="ignore"):
                near = bound[where].astype(dtype)
            outside = near < bound[where] if inner > 0 else near > bound[where]
            rounded[where] = np.where(outside, np.nextafter(near, dtype.type(inner)), near)
        sides.append(rounded)
    return Bounds(*sides)


def read_bounds(parameters: Parameters, bounds: tuple[object, object] | None) -> Bounds | None:
    """Return the caller's bounds, checked: every coordinate must lie within its own."""
    if bounds is None:
        return None
    try:
        lower, upper = bounds
    except (TypeError, ValueError):
        raise ValueError(f"bounds must be a pair (lower, upper), got {bounds!r}") from None
    found = Bounds(parameters.spread(lower, "bounds"), parameters.spread(upper, "bounds"))
    x = parameters.vector()
    inside = (x >= found.lower) & (x <= found.upper)
    if not inside.all() and np.isfinite(x).all():
        k = int(inside.argmin())
        raise ValueError(
            f"{parameters.name(k)} must lie within its bounds, got {x[k]}; they are "
            f"{found.lower[k]} and {found.upper[k]}"
        )
    return found


def fit(
    formulas: tuple[Stencil, ...],
    between: tuple[Array, Array],
    h: Floats,
    which: Integers,
    bounds: Bounds,
    eps: Any,
    rounded: Callable[[Array], Array],
) -> None:
    """Change `h` and `which` where the first formula would leave the bounds.

    Parameters
    ----------
    formulas : tuple of Stencil
        The first that fits is taken.
    between : tuple of two ndarray
        The lowest and the highest x that the formula starts from.
    h, which : ndarray
        The step and the place of the formula of each coordinate.
    bounds : Bounds
    eps : float or ndarray
        Relative precision of the coordinates.
    rounded : callable
        Rounds coordinates to their own dtypes.
    """
    lowest, highest = between
    free = np.zeros(len(h), bool)
    for k, formula in enumerate(formulas):
        up, down = max(formula.offsets), min(formula.offsets)
        fits = ~free & (rounded(highest + rounded(up * h)) <= bounds.upper)
        fits &= rounded(lowest + rounded(down * h)) >= bounds.lower
        which[fits] = k
        free |= fits
    tight = np.flatnonzero(~free)
    if not len(tight):
        return
    # No formula fits: take the one that keeps the largest part of the step.
    below, above = (lowest - bounds.lower)[tight], (bounds.upper - highest)[tight]
    room = np.stack([_room(below, above, formula) for formula in formulas])
    which[tight] = room.argmax(axis=0)
    # Rounding of x + h must not carry it across the bound.
    slack = (4 * eps * np.maximum(np.abs(lowest), np.abs(highest)).astype(float))[tight]
    h[tight] = np.maximum(room.max(axis=0) * (1 - 1e-6) - slack, 0.0)


def _room(below: Floats, above: Floats, formula: Stencil) -> Floats:
    """Return the largest step with which the formula stays within the bounds."""
    up, down = max(formula.offsets), -min(formula.offsets)
    room = np.full(len(above), np.inf)
    if up > 0:
        room = np.minimum(room, above / up)
    if down > 0:
        room = np.minimum(room, below / down)
    return room

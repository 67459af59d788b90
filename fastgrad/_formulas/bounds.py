"""Formulas and steps that stay within bounds."""

from __future__ import annotations

import numbers
import reprlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastgrad._arrays import as_numbers
from fastgrad._formulas.stencils import Stencil
from fastgrad._structures import Parameters
from fastgrad._typing import Array, Floats, Integers


class Bounds(NamedTuple):
    """The lower and the upper bound of each coordinate."""

    lower: Floats
    upper: Floats

    @property
    def fixed(self) -> Array:
        """Which coordinates cannot move: they are no variables, and derivatives by them are 0."""
        fixed: Array = self.lower == self.upper
        return fixed


class _Fixed(Stencil):
    """The formula of a fixed coordinate: it looks nowhere, and its sum of nothing is 0."""

    def __post_init__(self) -> None:
        """Check nothing; for second derivatives the formula of the first is this one, too."""
        object.__setattr__(self, "first", self)


FIXED = _Fixed((), (), 1)


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


def read_bounds(parameters: Parameters, bounds: Any, *, may_fix: bool = True) -> Bounds | None:
    """Return the caller's bounds, checked: every coordinate must lie within its own."""
    if bounds is None:
        return None
    x = parameters.vector()
    readings = [_spread(parameters, *sides) for sides in _readings(parameters, bounds)]
    holding = [found for found in readings if _inside(x, found).all()] or readings[:1]
    if len(holding) > 1:
        raise ValueError(
            f"bounds={bounds!r} may be (lower, upper) or a pair for each coordinate; pass a list "
            "of tuples [(lo, hi), ...], or two arrays (lower, upper)"
        )
    (found,) = holding
    ordered, inside = found.lower <= found.upper, _inside(x, found)
    for right, message in (
        (ordered, "bounds must be numbers with lower <= upper, got {1} and {2} for {0}"),
        (inside | ~np.isfinite(x), "{0} must lie within its bounds, got {3}; they are {1} and {2}"),
        (~found.fixed | may_fix, "bounds must leave {0} room, got {1} for both"),
    ):
        if not right.all():
            k = int(right.argmin())
            told = parameters.name(k), found.lower[k], found.upper[k], x[k]
            raise ValueError(message.format(*told))
    return found


def _inside(x: Array, bounds: Bounds) -> Array:
    """Tell which coordinates are within their bounds."""
    inside: Array = (x >= bounds.lower) & (x <= bounds.upper)
    return inside


def _readings(parameters: Parameters, bounds: Any) -> list[tuple[Any, ...]]:
    """Return what `bounds` may mean, as (lower, upper): two things where it is 2 x 2 numbers."""
    if hasattr(bounds, "lb") and not (hasattr(bounds, "A") or hasattr(bounds, "fun")):
        # scipy.optimize.Bounds, not one of its constraints
        sides = np.asarray(bounds.lb, float), np.asarray(bounds.ub, float)
        return [tuple(side if side.size > 1 else side.item() for side in sides)]
    given = bounds.tolist() if isinstance(bounds, np.ndarray) else bounds
    pairs = isinstance(given, tuple | list) and all(_is_pair(pair) for pair in given)
    if pairs and len(given) == parameters.size:
        low = as_numbers([-np.inf if lo is None else lo for lo, _ in given], "bounds")
        high = as_numbers([np.inf if hi is None else hi for _, hi in given], "bounds")
        each = low.astype(float), high.astype(float)
        if len(given) != 2 or any(None in pair for pair in given) or given[0][1] == given[1][0]:
            return [each]
        # A list of tuples is scipy's pairs, and a tuple of lists is (lower, upper).
        kinds = type(given), *map(type, given)
        if kinds == (list, tuple, tuple):
            return [each]
        return [(given[0], given[1]), each] if len(set(kinds)) == 1 else [(given[0], given[1])]
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ValueError(
            "bounds must be a pair (lower, upper), a list of pairs [(lo, hi), ...] with one for "
            "each coordinate of x, or scipy.optimize.Bounds; got "
            f"{reprlib.repr(bounds)} for x of {parameters.size}"
        )
    below, above = given
    return [(-np.inf if below is None else below, np.inf if above is None else above)]


def _is_pair(pair: Any) -> bool:
    """Tell whether this is two numbers; None stands for one that is missing."""
    return (
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and all(side is None or isinstance(side, numbers.Real) for side in pair)
    )


def _spread(parameters: Parameters, *sides: Any) -> Bounds:
    """Return the lower and the upper bound of each coordinate; a long vector has them already."""

    def each(side: Any) -> Floats:
        given = type(side) is np.ndarray and side.shape == (parameters.size,)
        known = given and side.dtype.kind in "if"
        return side.astype(float) if known else parameters.spread(side, "bounds")

    return Bounds(*map(each, sides))


def fit(
    formulas: tuple[Stencil, ...],
    between: tuple[Array, Array],
    h: Floats,
    which: Integers,
    bounds: Bounds,
    eps: Any,
    rounded: Callable[[Array], Array],
) -> None:
    """Change the steps `h` and formulas `which` where the first formula would leave the bounds.

    The first that fits is taken, from wherever in `between` it starts; the last is `FIXED`.
    """
    lowest, highest = between
    done = bounds.fixed
    which[done] = len(formulas) - 1
    moving = formulas[:-1]
    for k, formula in enumerate(moving):
        up, down = max(formula.offsets), min(formula.offsets)
        fits = ~done & (rounded(highest + rounded(up * h)) <= bounds.upper)
        fits &= rounded(lowest + rounded(down * h)) >= bounds.lower
        which[fits] = k
        done |= fits
    tight = np.flatnonzero(~done)
    if not len(tight):
        return
    # No formula fits: take the one that keeps the largest part of the step.
    below, above = (lowest - bounds.lower)[tight], (bounds.upper - highest)[tight]
    room = np.stack([_largest_step(formula, below, above) for formula in moving])
    which[tight] = room.argmax(axis=0)
    # Rounding of x + h must not carry it across the bound.
    slack = (4 * eps * np.maximum(np.abs(lowest), np.abs(highest)).astype(float))[tight]
    h[tight] = np.maximum(room.max(axis=0) * (1 - 1e-6) - slack, 0.0)


def _largest_step(formula: Stencil, below: Any, above: Any) -> Any:
    """Return the largest step with which the formula needs no more room below and above x."""
    up, down = max(formula.offsets), -min(formula.offsets)
    return np.minimum(above / up if up > 0 else np.inf, below / down if down > 0 else np.inf)

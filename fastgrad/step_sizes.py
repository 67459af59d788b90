"""How long the step of each coordinate is to be, before bounds shorten it."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from fastgrad._typing import Array, Floats
from fastgrad.structures import Parameters

BOOK_STEP = 1e-4

_REAL = float, numbers.Real  # The first is found sooner.


class StepSizes:
    """The steps that the caller asked for.

    Parameters
    ----------
    parameters : Parameters
        Where the derivative is taken.
    h : None, float, or like x
        Absolute steps. None is the book's 1e-4, and ``eps**(1/3) * max(1, |x|)`` in precisions
        below float64, where 1e-4 would drown in rounding.
    relative_step : float or None
        Instead of `h`: steps of ``relative_step * |x|``, and of `relative_step` where x is 0.

    Attributes
    ----------
    one : float or None
        The step that all coordinates share.
    default : bool
        Whether the caller asked for nothing.

    Raises
    ------
    TypeError, ValueError
        If `h` or `relative_step` are no steps, or both are given.
    """

    def __init__(self, parameters: Parameters, h: Any, relative_step: float | None) -> None:
        self.default = h is None and relative_step is None
        self.one: float | None = None
        self._each: list[Floats] | None = None
        self._relative: float | None = None
        if relative_step is not None:
            if h is not None:
                raise ValueError(
                    f"pass h or relative_step, not both; got {h!r} and {relative_step!r}"
                )
            self._relative = positive(relative_step, "relative_step must be a number or None")
        elif h is not None and (isinstance(h, str) or not hasattr(h, "__len__")):
            self.one = positive(h, "h must be a number, an array or structure like x, or None")
        elif h is not None:
            self._each = parameters.spread(h, "h")

    def of(self, leaf: int, indices: range, x: Array) -> Floats:
        """Return the steps of some coordinates of a leaf, whose values are `x`, as a new array."""
        if self._each is not None:
            return self._each[leaf][indices.start : indices.stop].copy()
        if self._relative is not None:
            h = self._relative * np.where(x == 0, 1.0, np.abs(x)).astype(float)
        elif self.one is not None or x.dtype.itemsize >= 8:
            return np.full(len(x), self.one or BOOK_STEP)
        else:
            h = np.cbrt(np.finfo(x.dtype).eps) * np.maximum(1, np.abs(x))
        return h if x.dtype.itemsize >= 8 else taken(x, h)

    def check(self, parameters: Parameters) -> None:
        """Raise if a coordinate or its step is no finite number, or the step is not above 0."""
        for leaf, indices, where in parameters.pieces(range(parameters.size)):
            x = parameters.leaves[leaf].flat[indices.start : indices.stop]
            refuse(parameters, where.start, x, ~np.isfinite(x), "must be finite, got {x}")
            h = self.of(leaf, indices, x)
            bad = ~(np.isfinite(h) & (h > 0))
            reason = "= {x} has the step {h}; every step h must be finite and above 0"
            refuse(parameters, where.start, x, bad, reason, h)


def refuse(
    parameters: Parameters,
    first: int,
    x: Array,
    bad: Array,
    reason: str,
    h: Floats | None = None,
) -> None:
    """Raise a ValueError that names the first bad coordinate, if there is one."""
    if bad.any():
        k = int(bad.argmax())
        text = reason.format(x=x[k], h=None if h is None else h[k])
        raise ValueError(f"{parameters.name(first + k)} {text}")


def positive(value: Any, wanted: str) -> float:
    """Return a step as a float; `wanted` says what else than a number may stand there."""
    if isinstance(value, bool) or not isinstance(value, _REAL):
        raise TypeError(f"{wanted}, got {value!r}")
    try:
        step = float(value)
    except OverflowError:  # of a long integer
        step = math.inf
    if not (math.isfinite(step) and step > 0):
        name = wanted.split()[0]
        raise ValueError(
            f"{name} must be a finite step above 0, got {value!r}; the book uses h=1e-4"
        )
    return step


def taken(x: Array, h: Array) -> Floats:
    """Return the steps that are taken once x + h has been rounded; h where that is no step."""
    rounded: Floats = ((x + h.astype(x.dtype)) - x).astype(float)
    return np.where((rounded > 0) & np.isfinite(rounded), rounded, h)

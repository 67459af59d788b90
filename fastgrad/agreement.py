"""How closely a right gradient agrees with the numerical one.

A finite difference of order p is wrong by its truncation, of the size of ``h**p``, and by rounding.
Every value of f carries an error of a few ``eps |f|``, so the quotient carries a few
``eps |f| sum|weights| / h`` (Nocedal and Wright, *Numerical Optimization*, 2nd edition, section
8.1). Where x + h is rounded to x's own grid, the step that was taken differs from h by up to
``eps |x|``, and the quotient by that share of itself. Hence::

    atol = 32 eps |f| sum|weights| / h
    rtol = 100 h**p + 4 eps |x| / h                       and at least sqrt(eps)

32 stands for the roundings within f, 100 for a derivative of order p + 1 that is a hundred times
the gradient. Neither can be known: what exceeds them is looked at more closely, not refused. Two
limits keep a check from becoming one that cannot fail: rtol stays below ``eps**(1/4)`` (1.2e-4 in
float64, 1.9e-2 in float32), and atol is that of ``h = sqrt(eps)`` for all smaller h.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastgrad._typing import Array, Floats
from fastgrad.stencils import Stencil

ROUNDINGS = 32
TAMENESS = 100


class Tolerance(NamedTuple):
    """What the entries of one array may differ by: ``atol + rtol * max(|gradient|, |numerical|)``.

    One number an entry each.
    """

    rtol: Floats
    atol: Floats

    def allowed(self, gradient: Floats, numerical: Floats) -> Floats:
        """Return the largest difference that passes, for each entry."""
        size = np.maximum(np.abs(gradient), np.abs(numerical))
        allowed: Floats = self.atol + self.rtol * size
        return allowed


def precision(*arrays: Array) -> float:
    """Return eps of the coarsest of the arrays' dtypes, float64's if none is coarser.

    Examples
    --------
    >>> precision(np.zeros(2, np.float32), np.zeros(3))
    1.1920928955078125e-07
    """
    floating = [array.dtype for array in arrays if array.dtype.kind == "f"]
    return max(float(np.finfo(dtype).eps) for dtype in [np.dtype(float), *floating])


def coarsest(eps: float) -> float:
    """Return the largest rtol that still is a check."""
    return float(eps**0.25)


def total_weight(stencil: Stencil) -> float:
    """Return the sum of the absolute weights: what errors of f are multiplied by, over h."""
    return sum(map(abs, stencil.weights))


def tolerance(
    order: int,
    weight: Floats,
    h: Floats,
    x: Array,
    value: float,
    eps: float,
    rtol: float | None,
    atol: float | None,
) -> Tolerance:
    """Return the tolerances of one array; see the top of this file for the derivation.

    Parameters
    ----------
    order : int
        Of the formula of the numerical gradient.
    weight, h, x : ndarray, shape (n,)
        The formula's `total_weight`, step and value of each coordinate.
    value : float
        f(x).
    eps : float
        Of the coarsest dtype that takes part.
    rtol, atol : float or None
        Numbers that the caller wants instead.
    """
    if rtol is None:
        grid = float(np.finfo(x.dtype).eps)
        free = TAMENESS * h**order + 4 * grid * np.abs(x).astype(float) / h
        relative = np.clip(free, np.sqrt(eps), coarsest(eps))
    else:
        relative = np.full(len(x), float(rtol))
    if atol is None:
        roundings = ROUNDINGS * eps * abs(value) * weight
        absolute = roundings / np.maximum(h, np.sqrt(eps))
    else:
        absolute = np.full(len(x), float(atol))
    return Tolerance(relative, absolute)

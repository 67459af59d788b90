"""The derivative along a line, with a step that is chosen for it and an estimate of the error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from fastgrad.extrapolation import FIRST, NotFiniteError, extrapolate
from fastgrad.table import Row

CRAMPED = 16.0
"""Where two-sided steps would have to be so many times smaller, one-sided ones are taken."""

SMALLEST = 2.0**-1000
"""The smallest step; numbers that are hardly larger count as 0."""


class Estimate(NamedTuple):
    """A derivative, what it may be off by, the smallest step in it, and the evaluations of f."""

    derivative: Any
    error: float
    step: float
    evaluations: int


class Line:
    """A function along one coordinate, evaluated, checked and counted.

    All steps are powers of two, not smaller than the spacing of the numbers around x: ``x + h`` and
    ``x - h`` are exact.

    Parameters
    ----------
    phi : callable
        ``phi(move)`` is ``f(x + move e)``.
    x : float
        The coordinate.
    value : float
        f(x).
    eps : float
        Precision of x, and of f relative to its size.
    lower, upper : float
        Nothing beyond is evaluated.
    """

    def __init__(
        self, phi: Callable[[Any], Any], x: Any, value: Any, eps: float, lower: float, upper: float
    ) -> None:
        self._phi, self.value, self.eps = phi, value, eps
        self.size = float(abs(x))
        self.scale = self.size if self.size > 2**50 * SMALLEST else 1.0
        self.least = max(4 * eps * self.size, SMALLEST)
        self.most = {side: _most(x, side, bound) for side, bound in ((-1, lower), (1, upper))}
        self.both = min(self.most.values())
        self.roomy = 1 if self.most[1] >= self.most[-1] else -1
        self.evaluations = 0

    def at(self, move: float) -> Any:
        """Return f with the coordinate moved."""
        self.evaluations += 1
        value = self._phi(move)
        if not math.isfinite(value):
            raise NotFiniteError(move, value)
        return value

    def two_sided(self, h: float) -> Row:
        """Evaluate the central difference."""
        return self.row(h, self.at(h), self.at(-h))

    def one_sided(self, side: int, h: float) -> Row:
        """Evaluate the difference to one side."""
        value = self.at(side * h)
        slope = (value - self.value) / (side * h)
        return Row(h, slope, 2 * self._rounding(h, slope, value, self.value))

    def row(self, h: float, above: Any, below: Any) -> Row:
        """Return the central difference of two values."""
        slope = (above - below) / (2 * h)
        if not math.isfinite(slope):  # the difference of two very large values
            raise NotFiniteError(h, slope)
        return Row(
            h, slope, self._rounding(h, slope, above, below), (above + below) / 2 - self.value
        )

    def _rounding(self, h: float, slope: Any, *values: Any) -> float:
        """Return what rounding does to a central difference: that of f, and of x within f."""
        size = float(max(abs(value) for value in values) + abs(slope) * self.size)
        return self.eps * size / h


def auto(line: Line) -> Estimate:
    """Return the derivative by extrapolation, two-sided where there is room."""
    first = _power(FIRST * line.scale)
    if line.both < first / CRAMPED:
        return _one_sided(line, line.roomy, first)
    try:
        most = line.both
        found = extrapolate(line.two_sided, min(first, most), most, line.least, line.eps, 2)
    except NotFiniteError as error:  # x lies on the edge of the domain
        return _one_sided(line, -1 if error.move > 0 else 1, first)
    return Estimate(*found, line.evaluations)


def _one_sided(line: Line, side: int, first: float) -> Estimate:
    def see(h: float) -> Row:
        return line.one_sided(side, h)

    most = line.most[side]
    found = extrapolate(see, min(first, most), most, line.least, line.eps, 1)
    return Estimate(*found, line.evaluations)


def quick(line: Line) -> Estimate:
    """Return the central difference with the step that balances truncation and rounding.

    The third derivative is taken from four values, f(x) among them: three evaluations. Two more are
    needed for the step ``cbrt(3 eps |f| / |f'''|)``, at which ``|f'''| h**2 / 6 + eps |f| / h`` is
    least, if it is not the one that was evaluated already. Near bounds and where f is not finite,
    this is `auto`.
    """
    k = _power(line.eps ** (1 / 6) * line.scale)
    if k > min(line.both, line.most[line.roomy] / 2):
        return auto(line)
    try:
        above, below, far = line.at(k), line.at(-k), line.at(2 * line.roomy * k)
    except NotFiniteError:
        return auto(line)
    row = line.row(k, above, below)
    near, back = (above, below) if line.roomy > 0 else (below, above)
    rounding = row.rounding * k
    # k**3 f'''. Eight roundings are in it: below that, all that is known is that it is less.
    third = max(float(abs(far - 3 * near + 3 * line.value - back)), 8 * rounding)
    share = math.cbrt(3 * rounding / third) if third else 1.0
    if share < 0.5:
        row = line.two_sided(max(_power(share * k), line.least))
    # Twice the truncation: the third derivative is known to one digit or so.
    truncation = third / k * (row.h / k) ** 2 / 3
    return Estimate(row.difference, truncation + row.rounding, row.h, line.evaluations)


def _power(step: float) -> float:
    """Return the nearest power of two."""
    return 2.0 ** round(math.log2(step))


def _most(x: Any, side: int, bound: float) -> float:
    """Return the largest power of two by which x can move towards a bound; 0 for none."""
    room = side * (bound - float(x))
    if room <= 0:
        return 0.0
    most: float = 2.0 ** math.floor(math.log2(min(room, 2.0**1000)))
    return most if side * (bound - (x + side * most)) >= 0 else most / 2

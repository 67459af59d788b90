"""f along one coordinate: what is known of it beforehand, and how an algorithm asks for values."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import NamedTuple


class Entry(NamedTuple):
    """A derivative, what truncation and rounding may do to it, the smallest step in it."""

    value: float
    truncation: float
    rounding: float
    h: float

    @property
    def error(self) -> float:
        """Return what the value may be off by."""
        error = self.truncation + self.rounding
        return error if error >= 0 else math.inf

    def spoiled(self, error: float) -> Entry:
        """Return the entry with an error more."""
        return self._replace(truncation=self.truncation + error)


Search = Generator[list[float], list[float], Entry]
"""Yields moves of x and is sent f there; a value that is not finite says that f has none."""


class Line(NamedTuple):
    """What is known beforehand of f along one coordinate; x and f(x) are finite."""

    x: float
    value: float  # f(x)
    eps: float  # the relative precision of f, the coarser one of the dtypes of x and f(x)
    grid: float  # the relative spacing of the numbers of x's dtype
    lower: float  # nothing outside is evaluated
    upper: float

    @property
    def scale(self) -> float:
        """Return abs(x), or 1 where x is 0 or as good as 0."""
        return abs(self.x) if abs(self.x) > 1e6 * self._tiny else 1.0

    @property
    def least(self) -> float:
        """Return the smallest step, a few numbers of x's dtype."""
        return max(4 * self.grid * abs(self.x), self._tiny)

    @property
    def _tiny(self) -> float:
        """Return the smallest step that loses nothing to underflow."""
        return 1e-290 if self.grid < 1e-10 else 1e-36

    def room(self, side: int) -> float:
        """Return how far x can move up (1), down (-1), or both ways (0)."""
        if side == 0:
            return min(self.room(1), self.room(-1))
        return min(side * ((self.upper if side > 0 else self.lower) - self.x), 1e300)

    def roomy(self, side: int) -> bool:
        """Tell whether there are numbers enough on a side of x to take a derivative."""
        return self.room(side) >= 64 * self.least

    def move(self, step: float) -> float:
        """Return the move nearest to `step` that ends on a number of x's dtype."""
        point = self.x + step
        if self.grid > 2.0**-52:
            fraction, exponent = math.frexp(point)
            point = math.ldexp(round(fraction * 2 / self.grid) * self.grid / 2, exponent)
        return min(max(point, self.lower), self.upper) - self.x

"""f along one coordinate: what is known of it beforehand, and how an algorithm asks for values."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator
from typing import NamedTuple


class Estimate(NamedTuple):
    """A derivative and what is known about it.

    Attributes
    ----------
    derivative : float
        NaN where f is finite at no step.
    error : float
        What it may be off by; inf where it is NaN.
    step : float
        The smallest step in it.
    evaluations : int
        Of f, without f(x).
    """

    derivative: float
    error: float
    step: float
    evaluations: int


Search = Generator[list[float], list[float], Estimate]
"""Yields moves of x and is sent f there; a value that is not finite says that f has none."""


class Line(NamedTuple):
    """What is known beforehand of f along one coordinate.

    Attributes
    ----------
    x, value : float
        The coordinate and f(x), both finite.
    eps : float
        Relative precision of f: that of the coarser dtype of x and f(x).
    grid : float
        Relative spacing of the numbers of x's dtype.
    lower, upper : float
        Nothing outside is evaluated.
    """

    x: float
    value: float
    eps: float
    grid: float
    lower: float
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

    def move(self, step: float) -> float:
        """Return the move nearest to `step` that ends on a number of x's dtype."""
        point = self.x + step
        if self.grid > 2.0**-52:
            fraction, exponent = math.frexp(point)
            point = math.ldexp(round(fraction * 2 / self.grid) * self.grid / 2, exponent)
        return min(max(point, self.lower), self.upper) - self.x


def check_room(line: Line) -> bool:
    """Tell whether the bounds fix x, or leave it numbers enough to take a derivative."""
    return line.lower == line.upper or max(line.room(1), line.room(-1)) >= 64 * line.least


def counted(rule: Callable[[Line], Search]) -> Callable[[Line], Search]:
    """Have the evaluations of an algorithm counted; by a fixed coordinate the derivative is 0."""

    @functools.wraps(rule)
    def search(line: Line) -> Search:
        if line.lower == line.upper:
            return Estimate(0.0, 0.0, 0.0, 0)
        count, running = 0, rule(line)
        try:
            moves = next(running)
            while True:
                count += len(moves)
                moves = running.send((yield moves))
        except StopIteration as stop:
            found: Estimate = stop.value
            return found._replace(evaluations=count)

    return search

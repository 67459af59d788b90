"""What three values of f along a line say, and what they do not."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import NamedTuple

from fastgrad._formulas.line import Line

RATIO = 0.585
"""A step divided by the next larger one: no power of two, as periods of f may be."""


class Look(NamedTuple):
    """The parabola ``f(x) + slope t + bend t**2`` through f(x) and f at two moves t."""

    h: float  # the larger move
    slope: float
    bend: float
    changes: tuple[float, float]  # f there less f(x)
    reach: float  # the larger of both
    rounding: float  # what rounding may do to the slope
    blur: float  # and to the bend
    quotients: list[tuple[float, float, float]]  # rows for a `Table`

    @property
    def size(self) -> float:
        """Return how steep f is on average."""
        return self.reach / self.h

    @property
    def jump(self) -> float:
        """Return half of what the slope would change by if f had a kink at x."""
        return abs(self.bend) * self.h

    @property
    def rough(self) -> bool:
        """Tell whether the values show no line: an extremum, a kink, noise, or h is too large."""
        return abs(self.bend) > 8 * self.blur and self.jump > 0.05 * abs(self.slope)


Looks = Generator[list[float], list[float], list["Look | None"]]


def see(line: Line, side: int, noise: float, *steps: float) -> Looks:
    """Evaluate f on one side of x, or on both (0), with each step; None where it is not finite."""
    far, near = (side, side * RATIO) if side else (1, -1)
    moves = [line.move(share * max(line.least, h)) for h in steps for share in (far, near)]
    values = yield moves
    return [
        _parabola(line, moves[k : k + 2], values[k : k + 2], side, noise)
        for k in range(0, len(moves), 2)
    ]


def _parabola(
    line: Line, moves: list[float], values: list[float], side: int, noise: float
) -> Look | None:
    (a, b), (far, near) = moves, values
    first, second = far - line.value, near - line.value
    p, q = first / a, second / b
    slope = (a * q - b * p) / (a - b)
    if not math.isfinite(slope):
        return None
    # Values are rounded; so is x within f; and the smallest numbers are integers.
    size = max(abs(line.value), abs(far), abs(near))
    unit = max(line.eps * size + line.eps * abs(slope) * abs(line.x), noise, 5e-324)
    rounding = unit * (abs(a / b) + abs(b / a)) / abs(a - b) + unit * abs(1 / a + 1 / b)
    blur = (2 * unit / abs(a) + 2 * unit / abs(b)) / abs(a - b)
    h = max(abs(a), abs(b))
    quotients = [(h, slope, rounding)]
    if side:
        quotients = [(abs(a), p, 2 * unit / abs(a)), (abs(b), q, 2 * unit / abs(b))]
    reach = max(abs(first), abs(second))
    return Look(h, slope, (p - q) / (a - b), (first, second), reach, rounding, blur, quotients)


def same_line(first: Look, second: Look) -> bool:
    """Tell whether two small steps show the same line, first the smaller one."""
    straight = abs(second.slope) > max(8 * second.rounding, 4 * second.jump)
    gap = abs(first.slope - second.slope)
    return straight and gap <= 0.1 * abs(second.slope) + 4 * first.rounding


def divisor(*looks: Look) -> float:
    """Return what all changes of an f that is rounded to few digits are multiples of, or 0."""
    a, size = 0.0, max(look.reach for look in looks)
    for change in (change for look in looks for change in look.changes):
        b = change
        while abs(b) > max(3e-4 * abs(a), 1e-12 * size):
            a, b = b, math.remainder(a, b)  # Euclid
        if abs(change) > abs(a) > 0:
            a = change / round(change / a)
    return abs(a) if abs(a) > 1e-8 * size else 0.0

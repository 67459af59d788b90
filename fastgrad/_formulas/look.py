"""What three values of f along a line say."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import NamedTuple

from fastgrad._formulas.line import Line

RATIO = 0.585
"""A step divided by the next larger one: no power of two, as periods of f may be."""


class Look(NamedTuple):
    """The parabola through f(x) and two values nearby, on both sides of x or on one.

    Attributes
    ----------
    h : float
        The larger of the two moves.
    slope, bend : float
        ``f(x + t) = f(x) + slope t + bend t**2`` for both.
    reach : float
        How far f moves away from f(x).
    rounding, blur : float
        What rounding may do to `slope` and to `bend`.
    quotients : list of tuple
        (step, difference quotient, what rounding may do to it): rows of a `Table`.
    """

    h: float
    slope: float
    bend: float
    reach: float
    rounding: float
    blur: float
    quotients: list[tuple[float, float, float]]

    @property
    def rough(self) -> bool:
        """Tell whether the values show no line: an extremum, a kink, noise, or h is too large."""
        return abs(self.bend) > 8 * self.blur and abs(self.bend) * self.h > 0.05 * abs(self.slope)


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
    # Values are rounded; so is x within f; and the smallest numbers are integers of the last bit.
    size = max(abs(line.value), abs(far), abs(near))
    last = 5e-324 if line.eps < 1e-10 else 1e-45
    unit = max(line.eps * size + line.eps * abs(slope) * abs(line.x), noise, last)
    rounding = unit * (abs(a / b) + abs(b / a)) / abs(a - b) + unit * abs(1 / a + 1 / b)
    blur = (2 * unit / abs(a) + 2 * unit / abs(b)) / abs(a - b)
    h = max(abs(a), abs(b))
    quotients = [(h, slope, rounding)]
    if side:
        quotients = [(abs(a), p, 2 * unit / abs(a)), (abs(b), q, 2 * unit / abs(b))]
    reach = max(abs(first), abs(second))
    return Look(h, slope, (p - q) / (a - b), reach, rounding, blur, quotients)


def mismatch(small: Look, large: Look, *, bent: bool) -> float:
    """Return how far two looks disagree about the slope, or about how it bends, beyond rounding."""
    slope = abs(small.slope - large.slope) - 4 * (small.rounding + large.rounding)
    bend = abs(small.bend - large.bend) - 4 * (small.blur + large.blur)
    return max(slope, bend * large.h) if bent else slope


def shorter(small: Look, large: Look, share: float) -> float:
    """Return a step that the parabola of the small one suggests.

    Where f follows it, the mismatch falls with the square of the step: `share` is that wanted,
    divided by that seen. And f must not move as far as it did within the large step.
    """
    steps = [large.h * math.sqrt(share * large.reach / large.h)]
    if small.slope:
        steps.append(large.reach / abs(small.slope))
    if small.rough:
        steps.append(math.sqrt(large.reach / abs(small.bend)))
    return min(steps)

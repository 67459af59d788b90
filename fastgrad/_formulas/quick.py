"""The derivative from two central differences, where they agree as those of a smooth f do."""

from __future__ import annotations

import math

from fastgrad._formulas.auto import auto
from fastgrad._formulas.line import Entry, Line, Search
from fastgrad._formulas.look import Look, see

APART = 5.3
"""The larger step, in units of the smaller one."""

NEAR = 0.77
"""The smaller step, in units of ``eps**(1/4) |x|``: no power of two, as periods may be."""


def quick(line: Line) -> Search:
    """Return the derivative by Richardson's extrapolation of two central differences.

    Where slopes or curvatures differ by more than they do for smooth functions, this is `auto`:
    near bounds, where f changes within the steps or hardly at all, and where it is noisy.
    """
    h = max(NEAR * line.eps**0.25 * line.scale, 2 * line.least)
    if APART * h <= line.room(0):
        small, large = yield from see(line, 0, 0.0, h, APART * h)
        if small and large and _smooth(small, large, line.eps):
            correction = (small.slope - large.slope) / ((large.h / small.h) ** 2 - 1)
            noise = abs(small.bend - large.bend) * small.h
            truncation = 0.01 * abs(correction) + 5 * noise
            return Entry(small.slope + correction, truncation, small.rounding, small.h)
    return (yield from auto(line))


def _smooth(small: Look, large: Look, eps: float) -> bool:
    """Tell whether both show the same slope and curvature, and whether these are visible."""
    size, share = large.size, eps**0.25 / 12
    gap = abs(small.slope - large.slope)
    bent = abs(small.bend - large.bend) * large.h
    visible = small.rounding <= math.sqrt(eps) * size
    return bool(size) and visible and gap <= share * size and bent <= 100 * share * size

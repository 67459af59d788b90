"""Why a small step shows no line, or not that of larger ones."""

from __future__ import annotations

from collections.abc import Generator

from fastgrad._formulas.line import Line
from fastgrad._formulas.look import Look, see


def doubt(
    line: Line, side: int, small: Look
) -> Generator[list[float], list[float], tuple[str, Look]]:
    """Return the reason, and a smaller step.

    The reason is "none", "kink" or "noise"; "nearer" where f does show a line, but only to steps of
    a few numbers of x's dtype. Noise stays where steps fall by 32, the jump of the slope at a kink
    too, an extremum is the same parabola, and a line is the same line.
    """
    lower, bottom = small.h / 32, 8 * line.least
    if lower < line.least:
        return "none", small
    (look,) = yield from see(line, side, 0.0, lower)
    if look is None or _same_line(look, small) or _same_bend(look, small):
        return "none", small
    if bottom < lower / 32:
        first, second = yield from see(line, side, 0.0, bottom, 3 * bottom)
        if first and second and _same_line(first, second):
            return "nearer", second
    return "kink" if _same_kink(look, small) else "noise", look


def _same_line(first: Look, second: Look) -> bool:
    """Tell whether two small steps show the same line, first the smaller one."""
    straight = abs(second.slope) > max(8 * second.rounding, 4 * abs(second.bend) * second.h)
    gap = abs(first.slope - second.slope)
    return straight and gap <= 0.1 * abs(second.slope) + 4 * first.rounding


def _same_bend(first: Look, second: Look) -> bool:
    """Tell whether two small steps show the same extremum."""
    gap = abs(first.bend - second.bend)
    return abs(second.bend) > 8 * second.blur and gap <= 0.5 * abs(second.bend) + 4 * first.blur


def _same_kink(first: Look, second: Look) -> bool:
    """Tell whether the slope jumps as much within two small steps."""
    jump = abs(second.bend) * second.h
    return jump > 0 and abs(abs(first.bend) * first.h - jump) <= 0.1 * jump

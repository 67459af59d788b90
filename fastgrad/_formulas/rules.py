"""The rules for steps that are chosen for each coordinate, by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator

from fastgrad._formulas.auto import auto
from fastgrad._formulas.line import Estimate, Line, Search
from fastgrad._formulas.quick import quick

Counted = Generator[list[float], list[float], Estimate]


def _counted(rule: Callable[[Line], Search], line: Line) -> Counted:
    """Run an algorithm, and count its evaluations; by a fixed coordinate the derivative is 0."""
    if line.lower == line.upper:
        return Estimate(0.0, 0.0, 0.0, 0)
    count, search = 0, rule(line)
    try:
        moves = next(search)
        while True:
            count += len(moves)
            moves = search.send((yield moves))
    except StopIteration as stop:
        found = stop.value
        return Estimate(found.value, found.error, found.h, count)


RULES: dict[str, Callable[[Line], Counted]] = {
    "auto": functools.partial(_counted, auto),
    "quick": functools.partial(_counted, quick),
}

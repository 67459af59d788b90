"""A derivative by Richardson's extrapolation, with an estimate of its error."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from fastgrad.table import Entry, Row, Table

FIRST = 0.35
"""The first step, a share of |x|; it is rounded to a power of two, so that x + h is exact."""

ROWS = 9
"""Steps in one table at most."""

TABLES = 12
"""Tables at most: how often the search may start again with another step."""

WORSE = 2
"""Tables in a row that were no better than those before, after which the search ends: noise."""

GOOD = 64.0
"""Relative rounding of a difference, in units of eps, beyond which a larger step is tried."""

VISIBLE = 0.03
"""The truncation, relative, that a larger step aims at: a few columns take it away."""

SURPRISE = 2.0
SHRINK = 8.0
"""By what a step is divided that was too large, or that left the domain of f."""

HOPELESS, ROUGH = 0.05, 1e-4
"""Differences that do not converge: from which relative change on that cannot be noise and the step
must be far too large, and to which one the next rows may help."""

class NotFiniteError(ArithmeticError):
    """f is not finite where `move` takes it, with the step ``abs(move)``."""

    def __init__(self, move: float, value: Any) -> None:
        super().__init__(move, value)
        self.move, self.value = move, value


def extrapolate(
    see: Callable[[float], Row], h: float, most: float, least: float, eps: float, order: int
) -> Entry:
    """Return the derivative, its error and its smallest step.

    Parameters
    ----------
    see : callable
        ``see(h)`` evaluates f and returns the row for the step h, or raises `NotFiniteError`.
    h, most, least : float
        The first step, the largest and the smallest one allowed.
    eps : float
        Relative precision of f.
    order : {2, 1}
        As for `Table`.

    Raises
    ------
    NotFiniteError
        If f is not finite with any step.
    """
    see = functools.cache(see)
    entries: list[Entry] = []
    failure: NotFiniteError | None = None
    small: Row | None = None
    worse = 0
    for _ in range(TABLES):
        table = Table(order)
        try:
            following = _fill(table, see, h, most, least, eps, small)
        except NotFiniteError as error:
            failure, following = error, abs(error.move) / SHRINK
        found = table.entries(small)
        best = min((entry.error for entry in entries), default=math.inf)
        worse = worse + 1 if found and min(entry.error for entry in found) > best else 0
        entries += found
        small = table.rows[0] if following > h else None
        if following < h:
            most = h / 2
        following = min(following, most)
        if following < least or h <= following < 2 * h or worse == WORSE:
            break
        h = following
    if not entries and failure is not None:
        raise failure
    return min(entries, key=lambda entry: entry.error)


def _fill(
    table: Table, see: Callable[[float], Row], h: float, most: float, least: float, eps: float, small: Row | None
) -> float:
    """Add rows until nothing is gained; return the step to start again with, or 0."""
    step, change = h, math.inf
    best = None
    for k in range(ROWS):
        if step < least:
            return 0.0
        table.add(see(step))
        first, row = table.rows[0], table.rows[-1]
        if (k == 0 or (k == 1 and not small)) and 2 * h <= most:
            larger = _larger(first, small or (row if k else None), eps)
            if larger:
                return larger
        if k == 0:
            step = h / 2
            continue
        before, change = change, min(table.changes())
        above = float(abs(table.rows[-2].difference))
        size = max(above, float(abs(row.difference)))
        stuck = change > before / 2 and not table.means_converge()
        table.noisy = False
        found = min(table.entries(None), key=lambda entry: entry.error)
        surprised = best is not None and float(abs(found.value - best.value)) > SURPRISE * (found.error + best.error)
        best = found
        table.noisy = stuck or surprised
        steep = above > SHRINK * float(abs(row.difference))
        if change > 4 * row.rounding and (steep or (stuck and change > HOPELESS * size)):
            return row.h / SHRINK
        step = table.following() or (row.h / 2 if surprised else 0.0)
        if not step or (stuck and change <= ROUGH * size):
            return 0.0
    table.noisy = True
    return row.h / SHRINK if min(e.error for e in table.entries(small)) > 0.01 * size else 0.0


def _larger(large: Row, small: Row | None, eps: float) -> float:
    """Return a larger step with which truncation shows, or 0 where that would gain nothing."""
    h, rounding = large.h, large.rounding
    size = float(abs(large.difference))
    if rounding <= GOOD * eps * size or (small and rounding > 0.75 * small.rounding):
        return 0.0
    if not small:
        growth = math.sqrt(VISIBLE) * size * h / max(float(abs(large.miss)), rounding * h)
    else:
        change = float(abs(large.difference - small.difference))
        growth = math.sqrt(VISIBLE * size / max(change, small.rounding))
        if growth < 4 and change <= 2 * small.rounding:
            return max(64 * h, FIRST) if h < FIRST else 0.0
    return h * 2.0 ** min(20, math.floor(math.log2(growth))) if growth >= 4 else 0.0

"""A derivative by Richardson's extrapolation, with an estimate of its error."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from fastgrad.table import Entry, Row, Table

FIRST = 0.35
"""The first step, a share of |x|; rounded to a power of two, it is a quarter to a half of |x|."""

FILLS = 3, 6, 12
"""Steps between those that halve, in units of the smallest. Rounding over a step is eps / step, and
with these the smallest may be some four times larger than by halving alone."""

CONVERGED = 0.2
"""Truncation, in units of rounding, that need not be less."""

ROWS = 9
"""Steps in one table at most."""

TABLES = 12
"""Tables at most: how often the search may start again with another step."""

WORSE = 2
"""Tables in a row that were no better than those before, after which the search ends: noise."""

GOOD = 64.0
"""Relative rounding of a difference, in units of eps, beyond which a larger step is tried."""

VISIBLE = 0.01
"""The truncation, relative, that a larger step aims at: a few columns take it away."""

SHRINK = 8.0
"""By what a step is divided that was too large, or that left the domain of f."""

HOPELESS, ROUGH = 0.05, 0.01
"""Differences that do not converge: from which relative change on that cannot be noise and the step
must be far too large, and to which one the next rows may help."""

SURPRISE = 2.0
"""In units of their errors, how far two values may differ before one of the errors is wrong."""


class NotFiniteError(ArithmeticError):
    """f is not finite where `move` takes it, with the step ``abs(move)``."""

    def __init__(self, move: float, value: Any) -> None:
        super().__init__(move, value)
        self.move, self.value = move, value


def extrapolate(
    see: Callable[[float], Row], h: float, most: float, least: float, eps: float, order: int
) -> Entry:
    """Return the derivative, its error and its smallest step.

    Steps halve, and as soon as the error that `Table` estimates says that few steps between them
    will do instead, these are taken. Tables begin with other steps until one converges.

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
            following = _fill(table, see, (h, most, least), eps, small)
        except NotFiniteError as error:
            failure, following = error, abs(error.move) / SHRINK
        found = table.entries(small)
        best = min((entry.error for entry in entries), default=math.inf)
        worse = worse + 1 if found and _best(found).error > best else 0
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
    return _best(entries)


def _best(entries: list[Entry]) -> Entry:
    return min(entries, key=lambda entry: entry.error)


def _fill(
    table: Table,
    see: Callable[[float], Row],
    limits: tuple[float, float, float],
    eps: float,
    small: Row | None,
) -> float:
    """Add rows until nothing is gained; return the step to start again with, or 0."""
    h, most, least = limits
    step, change, noise = h, math.inf, 0.0
    best: Entry | None = None
    for k in range(ROWS):
        if step < least:
            return 0.0
        table.add(see(step))
        if k < (1 if small else 2) and 2 * h <= most:
            larger = _larger(table.rows[0], small or (table.rows[1] if k else None), eps)
            if larger:
                return larger
        step = table.rows[-1].h / 2
        if k == 0:
            continue
        before, change = change, table.change()
        stuck = change > before / 2 and not table.means_converge()
        table.noise = 0.0
        last, best = best, _best(table.entries(None))
        doubtful = not table.quiet() or (last is not None and _disagree(last, best))
        following = _following(table) or (step if doubtful and table.means_converge() else 0.0)
        noise = max(noise, table.changed()) if stuck or (doubtful and not following) else 0.0
        table.noise = noise
        if _too_large(table, change, stuck):
            break
        if not following or (stuck and change <= ROUGH * table.size):
            return 0.0
        step = following
    table.noise = max(noise, table.changed())
    poor = _best(table.entries(None)).error > 0.01 * table.size
    return table.rows[-1].h / SHRINK if poor else 0.0


def _too_large(table: Table, change: float, stuck: bool) -> bool:
    """Tell whether the steps are far too large for differences to converge."""
    above, row = table.rows[-2:]
    steep = abs(above.difference) > SHRINK * abs(row.difference)
    return change > 4 * row.rounding and (steep or (stuck and change > HOPELESS * table.size))


def _disagree(one: Entry, other: Entry) -> bool:
    return bool(abs(one.value - other.value) > SURPRISE * (one.error + other.error))


def _following(table: Table) -> float:
    """Return the next step, or 0 where truncation is less than rounding already."""
    k, h = len(table.rows) - 1, table.rows[-1].h
    j = min(range(k + 1), key=lambda j: table.entry(k, j).error)
    rounding, error = table.roundings[k][j], table.truncation(k, j)
    if error <= CONVERGED * rounding:
        return 0.0
    # By what the smallest step h has multiplied truncation; steps s do so by (s / h)**order more.
    factor = error / max(table.moves(k, j)[1], rounding) if j > 1 else math.inf
    seen = {row.h for row in table.rows}
    fills = [s * h for s in FILLS if s * h < table.rows[0].h and s * h not in seen]
    for step in fills:
        error *= factor * (step / h) ** table.order
        if error <= CONVERGED * rounding:
            return fills[0]
    return h / 2


def _larger(large: Row, small: Row | None, eps: float) -> float:
    """Return a larger step with which truncation shows, or 0 where that would gain nothing."""
    h, rounding = large.h, large.rounding
    size = float(abs(large.difference))
    if rounding <= GOOD * eps * size or (small and rounding > 0.75 * small.rounding):
        return 0.0
    if not small:
        seen = max(abs(float(large.miss)) / h, rounding)
        growth = math.sqrt(VISIBLE) * size / seen
    else:
        change = float(abs(large.difference - small.difference))
        growth = math.sqrt(VISIBLE * size / max(change, small.rounding))
        if growth < 4 and change <= 2 * small.rounding:
            return max(64 * h, FIRST) if h < FIRST else 0.0
    return h * 2.0 ** min(20, math.floor(math.log2(growth))) if growth >= 4 else 0.0

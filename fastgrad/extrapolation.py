"""A derivative by Richardson's extrapolation, with an estimate of its error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

FIRST = 0.25
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

SHRINK = 8.0
"""By what a step is divided that was too large, or that left the domain of f."""

HOPELESS, ROUGH = 0.05, 1e-4
"""Differences that do not converge: from which relative change on that cannot be noise and the step
must be far too large, and to which one the next rows may help."""

DOUBT = 16.0
"""How far the means may miss f(x), in units of rounding, before one more row is asked for."""

NOISE = 2.0
"""How far a difference may be off, in units of the noise that was seen once."""


class Row(NamedTuple):
    """What was seen with one step.

    Attributes
    ----------
    h : float
        The step.
    difference : float
        Of f, over that step: it tends to the derivative.
    rounding : float
        How far rounding may take it.
    miss : float
        The mean of the values minus f(x), which tends to 0; 0 for a one-sided difference.
    """

    h: float
    difference: Any
    rounding: float
    miss: Any = 0.0


class Entry(NamedTuple):
    """An entry of a table: its value, what it may be off by, and the smallest step in it."""

    value: Any
    error: float
    h: float


class NotFiniteError(ArithmeticError):
    """f is not finite where `move` takes it, with the step ``abs(move)``."""

    def __init__(self, move: float, value: Any) -> None:
        super().__init__(move, value)
        self.move, self.value = move, value


class Table:
    """Differences at steps each half the one before, extrapolated to the step 0.

    Parameters
    ----------
    order : {2, 1}
        Truncation is a series in ``h**order``: 2 for two-sided differences, 1 for one-sided ones.

    Attributes
    ----------
    rows : list of Row
    values : list of list
        Column j of each row is free of the first j terms of the series.
    noise : float
        Of f, beyond its rounding, as far as it has been seen.
    """

    def __init__(self, order: int) -> None:
        self.order, self.noise = order, 0.0
        self.rows: list[Row] = []
        self.values: list[list[Any]] = []
        self._misses: list[list[Any]] = []

    def add(self, row: Row) -> None:
        """Add a row, the step of which is half that of the row before."""
        self.rows.append(row)
        self.values.append(self._extrapolated(row.difference, self.values))
        # The means share truncation and noise with the differences, and their limit is known.
        self._misses.append(self._extrapolated(row.miss, self._misses))
        self.noise = float(abs(self._misses[-1][-1]))

    def _extrapolated(self, value: Any, rows: list[list[Any]]) -> list[Any]:
        row = [value]
        for j, above in enumerate(rows[-1] if rows else [], start=1):
            row.append(row[-1] + (row[-1] - above) / (2 ** (self.order * j) - 1))
        return row

    def changes(self) -> list[float]:
        """Return how far the last row lies from the row before, in every column of the latter."""
        pairs = zip(self.values[-1], self.values[-2], strict=False)
        return [float(abs(value - above)) for value, above in pairs]

    def entries(self, small: Row | None) -> list[Entry]:
        """Return all entries that something is known about, from the rows or a smaller step."""
        if len(self.rows) == 1 and small is not None:
            first = self.rows[0]
            change = float(abs(first.difference - small.difference))
            return [Entry(first.difference, change + first.rounding, first.h)]
        return [self._entry(k, j) for k in range(1, len(self.rows)) for j in range(k + 1)]

    def settled(self) -> bool:
        """Tell whether rounding hides what the last row corrected in some column."""
        k = len(self.rows) - 1
        rounding = self.rows[k].rounding
        return any(self._correction(k, j) <= self._growth(j) * rounding for j in range(k + 1))

    def quiet(self) -> bool:
        """Tell whether no more noise than rounding was seen."""
        return self.noise <= DOUBT * self.rows[-1].h * self.rows[-1].rounding

    def _correction(self, k: int, j: int) -> float:
        """Return by how much column j changed row k, and for column 0 row k the row before."""
        values = self.values[k]
        return float(abs(values[j] - (values[j - 1] if j else self.values[k - 1][0])))

    def _growth(self, j: int) -> float:
        """Return how much larger rounding is in column j than in the differences."""
        powers = (2.0 ** (self.order * column) for column in range(1, j + 1))
        return math.prod((power + 1) / (power - 1) for power in powers)

    def _entry(self, k: int, j: int) -> Entry:
        row = self.rows[k]
        rounding = self._growth(j) * (row.rounding + NOISE * self.noise / row.h)
        return Entry(self.values[k][j], self._correction(k, j) + rounding, row.h)


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
    entries: list[Entry] = []
    failure: NotFiniteError | None = None
    small: Row | None = None
    worse = 0
    for _ in range(TABLES):
        table = Table(order)
        try:
            following = _fill(table, see, h, least, eps, small)
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
    table: Table, see: Callable[[float], Row], h: float, least: float, eps: float, small: Row | None
) -> float:
    """Add rows until nothing is gained; return the step to start again with, or 0."""
    settled, change = 0, math.inf
    for k in range(ROWS):
        if h / 2**k < least:
            return 0.0
        table.add(see(h / 2**k))
        first, row = table.rows[0], table.rows[-1]
        if k == (0 if small else 1):
            larger = _larger(first, small or row, eps)
            if larger:
                return larger
        if k == 0:
            continue
        changes, above = table.changes(), float(abs(table.rows[-2].difference))
        before, change = change, min(changes)
        size = max(above, float(abs(row.difference)))
        stuck = change > before / 2
        steep = above > SHRINK * float(abs(row.difference))
        if stuck:
            table.noise = max(table.noise, changes[-1] * row.h)
        if change > 4 * row.rounding and (steep or (stuck and change > HOPELESS * size)):
            return row.h / SHRINK
        stuck = stuck and change <= ROUGH * size
        # One row more where the means are not sure; noise and kinks are there to stay.
        settled = settled + 1 if table.settled() else 0
        if stuck or settled == 2 or (settled and table.quiet()):
            return 0.0
    return row.h / SHRINK if min(e.error for e in table.entries(small)) > 0.01 * size else 0.0


def _larger(large: Row, small: Row, eps: float) -> float:
    """Return a larger step with which truncation shows, or 0 where that would gain nothing."""
    size = float(abs(large.difference))
    change = float(abs(large.difference - small.difference))
    if large.rounding <= GOOD * eps * size:
        return 0.0
    if size <= 4 * large.rounding and change <= 2 * small.rounding:
        return max(64 * large.h, FIRST) if large.h < FIRST else 0.0
    if not size or large.rounding > 0.75 * small.rounding:
        return 0.0
    growth = math.sqrt(VISIBLE * size / max(change, small.rounding))
    return large.h * 2.0 ** min(20, math.floor(math.log2(growth))) if growth >= 4 else 0.0

"""A table of differences at falling steps, extrapolated to the step 0, and what it may be off by."""

from __future__ import annotations

from typing import Any, NamedTuple

FILLS = (3, 6)
"""Steps that are put between those that halve, in units of the smallest: with few of these more,
the smallest step may be larger, and rounding is less."""

CONVERGED = 0.1
"""Truncation, in units of what rounding may do, that need not be reduced further."""

NOISE = 3.0
"""How far a value may be off, in units of its last changes, where these are noise."""


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


class Table:
    """Differences at falling steps, extrapolated to the step 0 by polynomials in the step.

    Parameters
    ----------
    order : {2, 1}
        Truncation is a series in ``h**order``: 2 for two-sided differences, 1 for one-sided ones.

    Attributes
    ----------
    rows : list of Row
        The steps fall.
    values, misses, roundings : list of list
        Column j of row k is free of the first j terms of the series: rows k-j to k are in it.
    noisy : bool
        Whether the changes are noise.
    """

    def __init__(self, order: int) -> None:
        self.order, self.noisy = order, False
        self.rows: list[Row] = []
        self.values: list[list[Any]] = []
        self.misses: list[list[Any]] = []
        self.roundings: list[list[float]] = []

    def add(self, row: Row) -> None:
        """Add a row where its step belongs."""
        self.rows = sorted([*self.rows, row], key=lambda row: -row.h)
        first = self.rows.index(row)
        for columns in (self.values, self.misses, self.roundings):
            del columns[first:]
        for k in range(first, len(self.rows)):
            self._extrapolate(k)

    def _extrapolate(self, k: int) -> None:
        """Find the columns of a row by Neville's scheme."""
        row = self.rows[k]
        value, miss, rounding = [row.difference], [row.miss], [row.rounding]
        for j in range(1, k + 1):
            ratio = (self.rows[k - j].h / row.h) ** self.order
            value.append(value[-1] + (value[-1] - self.values[-1][j - 1]) / (ratio - 1))
            miss.append(miss[-1] + (miss[-1] - self.misses[-1][j - 1]) / (ratio - 1))
            rounding.append((ratio * rounding[-1] + self.roundings[-1][j - 1]) / (ratio - 1))
        self.values.append(value)
        self.misses.append(miss)
        self.roundings.append(rounding)

    def changes(self) -> list[float]:
        """Return how far the last row lies from the row before, in every column of the latter."""
        pairs = zip(self.values[-1], self.values[-2], strict=False)
        return [float(abs(value - above)) for value, above in pairs]

    def means_converge(self) -> bool:
        """Tell whether the last row has brought the means nearer to f(x)."""
        return bool(abs(self.misses[-1][-1]) < abs(self.misses[-2][-1]) / 2)

    def entries(self, small: Row | None) -> list[Entry]:
        """Return all entries that something is known about, from the rows or a smaller step."""
        if len(self.rows) == 1 and small is not None:
            first = self.rows[0]
            change = float(abs(first.difference - small.difference))
            return [Entry(first.difference, change + first.rounding, first.h)]
        return [self._entry(k, j) for k in range(1, len(self.rows)) for j in range(k + 1)]

    def _entry(self, k: int, j: int) -> Entry:
        row, rounding = self.rows[k], self.roundings[k][j]
        if self.noisy:
            error = NOISE * max(*self._moves(k, j), float(abs(self.misses[k][j])) / row.h)
        else:
            error = self._truncation(k, j)
        return Entry(self.values[k][j], error + rounding, row.h)

    def _moves(self, k: int, j: int) -> tuple[float, float]:
        """Return how far the value moves without the largest step, and without the smallest."""
        value = self.values[k][j]
        without_largest = value - self.values[k][j - 1] if j else value - self.values[k][1]
        without_smallest = value - self.values[k - 1][max(j - 1, 0)]
        return float(abs(without_largest)), float(abs(without_smallest))

    def _truncation(self, k: int, j: int) -> float:
        largest, smallest = self._moves(k, j)
        if j < 2:
            return largest
        rounding = self.roundings[k][j]
        both = float(abs(self.values[k][j] - self.values[k - 1][j - 2]))
        largest = max(largest, rounding)
        series = largest * max(smallest, rounding) / max(both, rounding)
        # The means share the series, and their limit is known.
        h = self.rows[k].h
        values, misses = self.values[k], self.misses[k]
        share = max(
            float(abs(values[i] - values[i - 1])) / max(float(abs(misses[i - 1])), rounding * h)
            for i in range(1, j + 1)
        )
        return max(series, float(abs(misses[j])) * min(1 / h, share))

    def following(self) -> float:
        """Return the next step, or 0 where it would gain nothing."""
        k, h = len(self.rows) - 1, self.rows[-1].h
        j = min(range(k + 1), key=lambda j: self._entry(k, j).error)
        error, enough = self._truncation(k, j), CONVERGED * self.roundings[k][j]
        if error <= enough:
            return 0.0
        if j >= 2:
            shrinks = error / max(self._moves(k, j)[1], self.roundings[k][j])
            steps = [times * h for times in FILLS if times * h < self.rows[0].h]
            steps = [step for step in steps if all(row.h != step for row in self.rows)]
            for step in steps:
                error *= shrinks * (step / h) ** self.order
                if error <= enough:
                    return steps[0]
        return h / 2

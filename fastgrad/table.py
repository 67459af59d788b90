"""Differences at falling steps, extrapolated to the step 0, and what the values may be off by."""

from __future__ import annotations

from typing import Any, NamedTuple

DOUBT = 64.0
"""How far the means may miss f(x), in units of rounding, before that is noise or a kink."""

CONVERGING = 0.25
"""What one more row leaves of that miss where the means converge; a kink leaves a third or more."""

NOISE = 2.5
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


class Table:
    """Differences extrapolated by polynomials in the step (Neville's scheme).

    Parameters
    ----------
    order : {2, 1}
        Truncation is a series in ``h**order``: 2 for two-sided differences, 1 for one-sided ones.

    Attributes
    ----------
    rows : list of Row
        Their steps fall.
    values, misses, roundings : list of list
        Column j of row k is made of rows k - j to k, and free of the first j terms of the series.
    noise : float
        Of f, beyond its rounding, as far as it has been seen.
    """

    def __init__(self, order: int) -> None:
        self.order, self.noise = order, 0.0
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
        row = self.rows[k]
        value, miss, rounding = [row.difference], [row.miss], [row.rounding]
        for j in range(1, k + 1):
            ratio = (self.rows[k - j].h / row.h) ** self.order
            value.append(value[-1] + (value[-1] - self.values[-1][j - 1]) / (ratio - 1))
            miss.append(miss[-1] + (miss[-1] - self.misses[-1][j - 1]) / (ratio - 1))
            # The weights of the differences alternate in sign: their absolute values add up.
            rounding.append((ratio * rounding[-1] + self.roundings[-1][j - 1]) / (ratio - 1))
        self.values.append(value)
        self.misses.append(miss)
        self.roundings.append(rounding)

    @property
    def size(self) -> float:
        """The larger of the last two differences."""
        return float(max(abs(row.difference) for row in self.rows[-2:]))

    def change(self) -> float:
        """Return how far the last row lies from the row before, in the column that moved least."""
        return min(
            _gap(value, above)
            for value, above in zip(self.values[-1], self.values[-2], strict=False)
        )

    def means_converge(self) -> bool:
        """Tell whether the last row has brought the extrapolated means nearer to f(x)."""
        return bool(abs(self.misses[-1][-1]) < abs(self.misses[-2][-1]) * CONVERGING)

    def quiet(self) -> bool:
        """Tell whether the extrapolated means agree with f(x)."""
        miss = abs(float(self.misses[-1][-1]))
        return miss <= DOUBT * self.rows[-1].h * self.roundings[-1][-1]

    def entries(self, small: Row | None) -> list[Entry]:
        """Return all entries that something is known about, from the rows or a smaller step."""
        if len(self.rows) == 1 and small is not None:
            first = self.rows[0]
            error = _gap(first.difference, small.difference) + first.rounding
            return [Entry(first.difference, error, first.h)]
        return [self.entry(k, j) for k in range(1, len(self.rows)) for j in range(k + 1)]

    def entry(self, k: int, j: int) -> Entry:
        """Return the entry in row k, column j; there must be another row above."""
        row, rounding = self.rows[k], self.roundings[k][j]
        if not self.noise:
            return Entry(self.values[k][j], self.truncation(k, j) + rounding, row.h)
        grown = rounding / row.rounding if row.rounding else 1.0
        error = self.moves(k, j)[0] + rounding + NOISE * grown * self.noise / row.h
        return Entry(self.values[k][j], error, row.h)

    def changed(self) -> float:
        """Return the noise of f, if the last changes are noise."""
        change = _gap(self.values[-1][-2], self.values[-2][-1]) * self.rows[-1].h
        return max(change, abs(float(self.misses[-1][-1])))

    def moves(self, k: int, j: int) -> tuple[float, float]:
        """Return how far an entry moves without its largest step, and without its smallest."""
        value = self.values[k][j]
        largest = self.values[k][j - 1 if j else 1]
        return _gap(value, largest), _gap(value, self.values[k - 1][max(j - 1, 0)])

    def truncation(self, k: int, j: int) -> float:
        """Return what truncation may do to an entry.

        Leaving out a step s from the polynomial multiplies its truncation by ``(R / s)**order``,
        with a length R that f does not tell. So the truncation is that without the largest step
        times that without the smallest, divided by that without both; all three are known, as the
        entry itself is so much better. Extrapolated means have the same series, and a known
        limit: their truncation is that of the differences, times a length of f. The larger of
        what both say is taken; of fewer than three rows, the move without the largest step.
        """
        largest, smallest = self.moves(k, j)
        if j < 2:
            return largest
        rounding, h = self.roundings[k][j], self.rows[k].h
        both = max(_gap(self.values[k][j], self.values[k - 1][j - 2]), rounding)
        series = max(largest, rounding) * max(smallest, rounding) / both if both else largest
        return max(series, abs(float(self.misses[k][j])) * min(1 / h, self._per_miss(k, j)))

    def _per_miss(self, k: int, j: int) -> float:
        """Return the largest truncation in the columns before j, in units of that of the means."""
        values, misses = self.values[k], self.misses[k]
        least = self.roundings[k][j] * self.rows[k].h
        found = [
            (_gap(values[i], values[i - 1]), max(abs(float(misses[i - 1])), least))
            for i in range(1, j + 1)
        ]
        return max((moved / miss for moved, miss in found if miss), default=0.0)


def _gap(one: Any, other: Any) -> float:
    return float(abs(one - other))

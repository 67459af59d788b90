"""Differences at falling steps, extrapolated to the step 0, and what the values may be off by."""

from __future__ import annotations

import math
from typing import NamedTuple

LEFT = 0.5
"""What a column leaves of truncation at least, for each power of the step that it removes."""


class Entry(NamedTuple):
    """A value of a table, what truncation and rounding may do to it, its smallest step."""

    value: float
    truncation: float
    rounding: float
    h: float

    @property
    def error(self) -> float:
        """Return what the value may be off by."""
        return self.truncation + self.rounding

    def spoiled(self, error: float) -> Entry:
        """Return the entry with an error more."""
        return self._replace(truncation=self.truncation + error)


class Table:
    """Difference quotients extrapolated by polynomials in the step (Neville's scheme).

    Parameters
    ----------
    order : {2, 1}
        Truncation is a series in ``h**order``: 2 for central differences, 1 for one-sided ones.

    References
    ----------
    L. F. Richardson, J. A. Gaunt, The deferred approach to the limit, Philosophical Transactions
    of the Royal Society A 226 (1927), 299-361; C. J. F. Ridders, Accurate computation of F'(x) and
    F'(x) F''(x), Advances in Engineering Software 4 (1982), 75-76.
    """

    def __init__(self, order: int) -> None:
        self.order = order
        self.steps: list[float] = []
        self.values: list[list[float]] = []
        self.roundings: list[list[float]] = []

    def add(self, quotients: list[tuple[float, float, float]]) -> None:
        """Add a row for each step; column j is free of the first j terms of the series."""
        for step, quotient, noise in quotients:
            value, rounding = [quotient], [noise]
            for j in range(1, len(self.steps) + 1):
                share = self.steps[-j] / step
                ratio = (share if self.order == 1 else share * share) - 1
                above = self.values[-1][j - 1]
                value.append(value[-1] + (value[-1] - above) / ratio)
                # The weights alternate in sign: their absolute values add up.
                shared = rounding[-1] + self.roundings[-1][j - 1]
                rounding.append(rounding[-1] + shared / ratio)
            self.steps.append(step)
            self.values.append(value)
            self.roundings.append(rounding)

    def with_row(self, quotient: tuple[float, float, float]) -> tuple[float, float]:
        """Return what all rows and one more say together, and what rounding may do to that."""
        self.add([quotient])
        self.steps.pop()
        return self.values.pop()[-1], self.roundings.pop()[-1]

    def best(self) -> Entry:
        """Return the entry of the last row with the smallest error."""
        values, roundings = self.values[-1], self.roundings[-1]
        least, found = math.inf, (0.0, math.inf, 0)
        for j, rounding in enumerate(roundings):
            truncation = self._truncation(j)
            if truncation + rounding < least:
                least, found = truncation + rounding, (truncation, rounding, j)
        truncation, rounding, j = found
        return Entry(values[j], truncation, rounding, self.steps[-1])

    def change(self) -> float:
        """Return how far the last row lies from the one before, in the column that moved least."""
        return min(
            abs(value - above)
            for value, above in zip(self.values[-1], self.values[-2], strict=False)
        )

    def _truncation(self, j: int) -> float:
        """Return what truncation may do to an entry of the last row.

        A step s that is left out multiplies truncation by ``(R / s)**order``, with a length R that
        f does not tell. So the truncation is that without the largest step times that without the
        smallest, divided by that without both. All three are known, as the entry itself is so much
        better.
        """
        row, rounding = self.values[-1], self.roundings[-1][j]
        if len(row) == 1:
            return abs(row[0])
        above = self.values[-2]
        largest = abs(row[j] - row[j - 1 if j else 1])
        if j < 2:
            return largest
        smallest = abs(row[j] - above[j - 1])
        both = max(abs(row[j] - above[j - 2]), rounding)
        series = max(largest, rounding) * (max(smallest, rounding) / both) if both else largest
        return max(series, LEFT ** (j * self.order) * (smallest - rounding))

"""Differences at falling steps, extrapolated to the step 0, and what the values may be off by."""

from __future__ import annotations

from fastgrad._formulas.line import Entry

LEFT = 0.5
"""What a column leaves of truncation at least, for each power of the step that it removes."""


class Table:
    """Difference quotients extrapolated by polynomials in ``h**order`` (Neville's scheme)."""

    def __init__(self, order: int) -> None:
        self.order = order
        self.steps: list[float] = []
        self.values: list[list[float]] = [[]]
        self.roundings: list[float] = []

    def add(self, step: float, quotient: float, rounding: float) -> None:
        """Add a row for a smaller step; column j is free of the first j terms of the series."""
        values, roundings = [quotient], [rounding]
        above = zip(reversed(self.steps), self.values[-1], self.roundings, strict=True)
        for larger, value, noise in above:
            share = larger / step
            ratio = (share if self.order == 1 else share * share) - 1
            values.append(values[-1] + (values[-1] - value) / ratio)
            # The weights alternate in sign: their absolute values add up.
            roundings.append(roundings[-1] + (roundings[-1] + noise) / ratio)
        self.steps.append(step)
        self.values.append(values)
        self.roundings = roundings

    def best(self) -> Entry:
        """Return the entry of the last row with the smallest error."""
        entries = [
            Entry(value, self._truncation(j), rounding, self.steps[-1])
            for j, (value, rounding) in enumerate(zip(self.values[-1], self.roundings, strict=True))
        ]
        return min(entries, key=lambda entry: entry.error)

    def change(self) -> float:
        """Return how far the last row lies from the one before, in the column that moved least."""
        above, row = self.values[-2:]
        return min(abs(value - other) for value, other in zip(row, above, strict=False))

    def _truncation(self, j: int) -> float:
        """Return what truncation may do to an entry of the last row.

        A step s that is left out multiplies it by ``(R / s)**order``, with a length R that f does
        not tell: so it is that without the largest step times that without the smallest, divided
        by that without both. All three are known, as the entry itself is so much better.
        """
        row, rounding = self.values[-1], self.roundings[j]
        if len(row) == 1:
            return abs(row[0])
        largest = abs(row[j] - row[j - 1 if j else 1])
        if j < 2:
            return largest
        above = self.values[-2]
        smallest = abs(row[j] - above[j - 1])
        both = max(abs(row[j] - above[j - 2]), rounding)
        series = max(largest, rounding) * (max(smallest, rounding) / both) if both else largest
        return max(series, LEFT ** (j * self.order) * (smallest - rounding))

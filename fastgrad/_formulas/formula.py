"""What all formulas share: which points they name, item by item."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastgrad._typing import Array


class Formula:
    """Points and weights; an item is what a few consecutive points make a derivative of.

    Parameters
    ----------
    steps
        How far x moves: it has ``x, eps, used(), target()``.
    counts : array_like of int
        How many points each item has.
    value_first : bool
        Whether f(x) is evaluated as well. x then is the first point, before all items.

    Attributes
    ----------
    total, items : int
        How many points, and how many items.
    entries : int
        About how many numbers of x a point changes.
    """

    entries = 1

    def __init__(self, steps: Any, counts: Any, value_first: bool) -> None:
        self.steps, self.value_first, self.items = steps, value_first, len(counts)
        self._starts = np.append(0, np.cumsum(counts)).astype(np.int64) + value_first
        self.total = self.first(self.items)

    @property
    def x(self) -> Array:
        """The long vector that points change."""
        x: Array = self.steps.x
        return x

    @property
    def eps(self) -> float:
        """The coarsest relative precision of f that the steps allow for."""
        return float(self.steps.eps)

    def used(self) -> Any:
        """Return the step, or the structure of all steps where coordinates differ."""
        return self.steps.used()

    def target(self) -> Array:
        """Return a long vector whose coordinates have all been moved as for some point."""
        target: Array = self.steps.target()
        return target

    def first(self, item: int) -> int:
        """Return the place of the first point of an item."""
        return int(self._starts[item])

    def complete(self, points: int) -> int:
        """Return how many items have all their points among so many first points."""
        return max(int(self._starts.searchsorted(points, side="right")) - 1, 0)

"""What all formulas share: which points they name, item by item."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from fastgrad._formulas.points import Points, joined, unmoved
from fastgrad._typing import Array


class Formula:
    """Points and weights; an item is what a few consecutive points make a derivative of.

    `steps` say how far x moves, `starts` where the points of each item begin, and where the last
    ones end. If `value_first`, x itself is the first point, before all items.
    """

    entries = 1
    """About how many numbers of x a point changes."""

    def __init__(self, steps: Any, starts: Sequence[int], value_first: bool) -> None:
        self.steps, self.value_first, self.items = steps, value_first, len(starts) - 1
        self._starts = starts
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
        """Return a new long vector whose coordinates have all been moved as for some point."""
        target: Array = self.steps.target()
        return target

    def first(self, item: int) -> int:
        """Return the place of the first point of an item."""
        return self._starts[item] + self.value_first

    def complete(self, points: int) -> int:
        """Return how many items have all their points among so many first points."""
        return max(bisect_right(self._starts, points - self.value_first) - 1, 0)

    def points(self, block: range) -> Points:
        """Return some of the points."""
        parts = [unmoved(self.x.dtype)] if block.start < self.value_first else []
        rest = range(max(block.start, self.value_first), block.stop)
        while rest:
            item = self.complete(rest.start)
            first, stop = self.first(item), min(self.first(item + 1), rest.stop)
            parts.append(self.of_item(item, range(rest.start - first, stop - first)))
            rest = range(stop, rest.stop)
        return joined(parts)

    def of_item(self, item: int, some: range) -> Points:
        """Return some of the points of an item."""
        raise NotImplementedError

    def combine(self, out: Array, items: range, values: Array, value: Any) -> None:
        """Write the derivatives of some items, from f at their points and f(x)."""
        begin = self.first(items.start)
        for item in items:
            mine = values[self.first(item) - begin : self.first(item + 1) - begin]
            self.combine_item(out, item, mine, value)

    def combine_item(self, out: Array, item: int, values: Array, value: Any) -> None:
        """Write the derivative of an item."""
        raise NotImplementedError

"""Points near x: each is x with a few numbers changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fastgrad._typing import Array, Integers


@dataclass(slots=True)
class Points:
    """Point k is the long vector x with ``x[index] = value`` on its part of both arrays.

    That part is ``start[k]`` to ``start[k + 1]``; where `start` is None, each point changes one
    coordinate.
    """

    index: Integers
    value: Array
    start: Integers | None = None

    @property
    def count(self) -> int:
        """How many points."""
        return len(self.index) if self.start is None else len(self.start) - 1

    def bounds(self) -> Integers:
        """Return where the part of each point begins, and where the last one ends."""
        return np.arange(len(self.index) + 1) if self.start is None else self.start

    def changes(self) -> Iterator[tuple[Any, Any]]:
        """Yield for each point what to index the long vector with, and what to write there."""
        if self.start is None:
            # Python's numbers: NumPy's would take longer than a cheap f.
            wide = self.value.dtype.itemsize > 16 or self.value.dtype.char == "g"
            return zip(
                self.index.tolist(), self.value if wide else self.value.tolist(), strict=True
            )
        ends = self.start.tolist()
        parts = (slice(*pair) for pair in pairwise(ends))
        return ((self.index[part], self.value[part]) for part in parts)

    def only(self, k: int) -> Points:
        """Return point k alone."""
        first, last = self.bounds()[k : k + 2]
        return Points(self.index[first:last], self.value[first:last], np.array([0, last - first]))


def joined(parts: list[Points]) -> Points:
    """Return the points of all parts, one part after the other."""
    if len(parts) == 1:
        return parts[0]
    index = np.concatenate([part.index for part in parts])
    value = np.concatenate([part.value for part in parts])
    if all(part.start is None for part in parts):
        return Points(index, value)
    lengths = np.concatenate([np.diff(part.bounds()) for part in parts])
    return Points(index, value, np.append(0, np.cumsum(lengths)))


def unmoved(dtype: np.dtype[Any]) -> Points:
    """Return x itself as the only point."""
    return Points(np.empty(0, np.int64), np.empty(0, dtype), np.zeros(2, np.int64))

"""The book's functions, which read x from outside: the only place where the caller's x moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastgrad._evaluation.callable import Calls, Values
from fastgrad._formulas.points import Points
from fastgrad._structures import Parameters
from fastgrad._typing import Array


class InPlace(Calls):
    """f, called with the caller's own x, which is moved for every point and put back."""

    def __call__(self, points: Points) -> Values:
        """Return f at all points. x is restored whatever happens."""
        with self.parameters.held():
            saved = [leaf.copy() for leaf in self.parameters.leaves]
            try:
                return super().__call__(points)
            finally:
                restore(self.parameters, saved)

    def at(self, index: Any, value: Any) -> Any:
        """Return f's value, read, where x is changed at `index` to `value`."""
        return self.reading()(index, value)

    def reading(self) -> Callable[[Any, Any], Any]:
        """Return what reads f while x is changed at an index to a value.

        f still gets an array of its own. What it returns may be x itself: it is read before x is
        put back.
        """
        at, parameters = super().reading(), self.parameters

        def moved(index: Any, value: Any) -> Any:
            try:
                write(parameters, index, value)
                return at(index, value)
            finally:
                write(parameters, index, self.x[index])

        return moved


def restore(parameters: Parameters, saved: list[Array]) -> None:
    """Put the arrays of x back."""
    for leaf, copy in zip(parameters.leaves, saved, strict=True):
        if leaf.flags.writeable:
            leaf[...] = copy


def write(parameters: Parameters, index: Any, value: Any) -> None:
    """Change coordinates of the caller's own arrays; their indices ascend."""
    index, value = np.atleast_1d(index), np.atleast_1d(value)
    ends = index.searchsorted(parameters.starts).tolist()
    for k, leaf in enumerate(parameters.leaves):
        mine = slice(ends[k], ends[k + 1])
        if mine.start < mine.stop:
            leaf.flat[index[mine] - parameters.starts[k]] = value[mine]

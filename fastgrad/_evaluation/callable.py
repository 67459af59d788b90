"""Any Python callable, called once for every point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastgrad._evaluation.values import Reader
from fastgrad._formulas.points import Points
from fastgrad._structures import Parameters
from fastgrad._typing import Array

Errors = tuple[type[BaseException], ...]


class Values(NamedTuple):
    """f at some points, one a row, and what it raised at which of them.

    Where f raised, the row is NaN.
    """

    rows: Array
    failures: list[tuple[int, Exception]]


class EvaluationError(Exception):
    """f raised `error` at point `first` of those that were to be evaluated, or up to `last`."""

    def __init__(self, first: int, error: Exception, last: int | None = None) -> None:
        super().__init__(first, error, last)
        self.error = error
        self.where = range(first, (first if last is None else last) + 1)


class Calls:
    """f, called with an array of its own at every point: it may keep it, or write into it.

    Pickled, f and x travel in one piece, so that a closure over x still is one when it arrives.

    Parameters
    ----------
    f : callable
        Of x alone.
    parameters : Parameters
        x.
    x : ndarray
        The long vector that points change, real or complex. It is never changed.
    reader : Reader
        What f returns.
    caught : tuple of exceptions
        After these the value is NaN, after others the evaluation ends.
    keep : bool
        Whether the evaluation goes on after a value that is not finite.
    """

    def __init__(
        self,
        f: Callable[[Any], Any],
        parameters: Parameters,
        x: Array,
        reader: Reader,
        caught: Errors = (),
        *,
        keep: bool = True,
    ) -> None:
        self.f, self.parameters, self.x = f, parameters, x
        self.reader, self.caught, self.keep = reader, caught, keep
        self._build = None if parameters.is_vector else parameters.build

    def at(self, index: Any, value: Any) -> Any:
        """Return what f returns where x is changed at `index` to `value`."""
        point = self.x.copy()
        point[index] = value
        return self.f(point if self._build is None else self._build(point))

    def _caller(self) -> Callable[[Any, Any], Any]:
        """Return `at`; where x is a plain vector, without what takes time beside a cheap f."""
        if self._build is not None or type(self) is not Calls:
            return self.at
        f, copy = self.f, self.x.copy

        def at(index: Any, value: Any) -> Any:
            point = copy()
            point[index] = value
            return f(point)

        return at

    def __call__(self, points: Points) -> Values:
        """Return f at all points."""
        values: list[Any] = []
        failures: list[tuple[int, Exception]] = []
        at, read, append = self._caller(), self.reader.read, values.append
        keep, finite, ready = self.keep, self.reader.finite, self.reader.ready
        for index, value in points.changes():
            try:
                one: Any = at(index, value)
                one = one if isinstance(one, ready) else read(one)
                append(one)
            except self.caught as error:
                failures.append((len(values), error))  # type: ignore[arg-type]
                append(None)
            except Exception as error:
                raise EvaluationError(len(values), error) from error
            else:
                # math.isfinite knows no number beyond the range of float64.
                if not (keep or finite(one) or np.isfinite(one).all()):
                    break
        return Values(self.reader.stack(values), failures)

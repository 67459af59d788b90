"""Any Python callable, called once for every point."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastgrad._evaluation.values import Reader
from fastgrad._formulas.points import Points
from fastgrad._structures import Parameters
from fastgrad._typing import Array

Errors = tuple[type[BaseException], ...]


class Values(NamedTuple):
    """f at some points, one a row, and what it raised at which of them: their rows are NaN."""

    rows: Array
    failures: list[tuple[int, Exception]]


class EvaluationError(Exception):
    """f raised `error` at point `first` of those that were to be evaluated, or up to `last`."""

    def __init__(self, first: int, error: Exception, last: int | None = None) -> None:
        super().__init__(first, error, last)
        self.error = error
        self.where = range(first, (first if last is None else last) + 1)


class Calls:
    """``f(x, *args)``, called with an array of its own at every point.

    Pickled, f and x travel in one piece: a closure over x still is one when it arrives. Points
    change a copy of the long vector `x`, real or complex. After the `caught` exceptions f's value
    is NaN; others end the evaluation, and so does a value that is not finite, unless kept.
    """

    nogil = False
    """Whether f is evaluated without Python's lock."""

    def __init__(
        self,
        f: Callable[..., Any],
        parameters: Parameters,
        x: Array,
        reader: Reader,
        caught: Errors = (),
        *,
        args: tuple[Any, ...] = (),
        keep: bool = True,
    ) -> None:
        self.f, self.args, self.parameters, self.x = f, args, parameters, x
        self.reader, self.caught, self.keep = reader, caught, keep

    def instead(self, f: Callable[..., Any]) -> Calls:
        """Return the same for another f."""
        other = copy.copy(self)
        other.f = f
        return other

    def at(self, index: Any, value: Any) -> Any:
        """Return what f returns where x is changed at `index` to `value`."""
        point = self.x.copy()
        point[index] = value
        plain = self.parameters.is_vector
        return self.f(point if plain else self.parameters.build(point), *self.args)

    def reading(self) -> Callable[[Any, Any], Any]:
        """Return what evaluates f at a point: attributes looked up each time slow a cheap f."""
        f, args, copy, read = self.f, self.args, self.x.copy, self.reader.read
        build = None if self.parameters.is_vector else self.parameters.build

        def at(index: Any, value: Any) -> Any:
            point = copy()
            point[index] = value
            return read(f(point if build is None else build(point), *args))

        return at

    def __call__(self, points: Points) -> Values:
        """Return f at all points."""
        values: list[Any] = []
        failures: list[tuple[int, Exception]] = []
        at = self.reading()
        for index, value in points.changes():
            try:
                one = at(index, value)
                values.append(one)
            except self.caught as error:
                failures.append((len(values), error))  # type: ignore[arg-type]
                values.append(None)
            except Exception as error:
                raise EvaluationError(len(values), error) from error
            else:
                finite = isinstance(one, float) and math.isfinite(one)  # a microsecond less
                if not (self.keep or finite or np.isfinite(one).all()):
                    break
        return Values(self.reader.stack(values), failures)

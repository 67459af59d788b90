"""The lines through x along all coordinates, which h="auto" and h="quick" search along."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastgrad._derivatives.arguments import Request
from fastgrad._formulas.auto import auto
from fastgrad._formulas.formula import Formula
from fastgrad._formulas.line import Line, Search
from fastgrad._formulas.quick import quick
from fastgrad._formulas.step_sizes import first_steps
from fastgrad._typing import Array

RULES: dict[str, Callable[[Line], Search]] = {"auto": auto, "quick": quick}

ESTIMATE = np.dtype([("derivative", float), ("error", float), ("step", float)])


class Lines:
    """What is known of f along each coordinate; one that has no room to move is refused."""

    eps = 1.0
    """No precision of f asks for other points than x."""

    def __init__(self, request: Request, rule: str) -> None:
        self.parameters, self.bounds = request.parameters, request.bounds
        self.x = self.parameters.vector()
        self.value, self.precision = math.nan, 0.0  # of f(x), unknown at first
        self._rule = RULES[rule]
        if not request.keep:
            self.parameters.vector_of(self.parameters.rebuild(self.parameters.leaves), "x")
        self._fixed = np.zeros(len(self.x), bool) if self.bounds is None else self.bounds.fixed
        self.moving: list[int] = np.flatnonzero(np.isfinite(self.x) & ~self._fixed).tolist()
        for i in self.moving if self.bounds else ():
            line = self._line(i)
            if not (line.roomy(1) or line.roomy(-1)):
                raise ValueError(
                    f"{self.parameters.name(i)} = {line.x} has no room between its bounds, "
                    f"{line.lower} and {line.upper}; pass wider bounds or a more precise dtype"
                )

    def _line(self, i: int) -> Line:
        ((leaf, _, _),) = self.parameters.split(range(i, i + 1))
        info = np.finfo(self.parameters.dtypes[leaf])
        grid, largest = float(info.eps), min(float(info.max), float(np.finfo(float).max))
        lower, upper = -largest, largest
        if self.bounds is not None:
            lower = max(lower, float(self.bounds.lower[i]))
            upper = min(upper, float(self.bounds.upper[i]))
        return Line(float(self.x[i]), self.value, max(self.precision, grid), grid, lower, upper)

    def search(self, i: int) -> Search:
        """Begin the search along a coordinate."""
        return self._rule(self._line(i))

    def estimates(self) -> Array:
        """Return an array for the estimates: 0 by fixed coordinates, others are unknown yet."""
        estimates = np.zeros(len(self.x), ESTIMATE)
        estimates[~self._fixed] = math.nan, math.inf, math.nan
        return estimates

    def target(self) -> Array:
        """Return a long vector near x, within the bounds."""
        h = first_steps(self.x, np.finfo(float).eps)
        with np.errstate(invalid="ignore"):  # of an infinite x
            up, down = self.x + h, self.x - h
        if self.bounds is None:
            return up
        near: Array = np.where(up <= self.bounds.upper, up, down).clip(*self.bounds)
        return near


class Value(Formula):
    """The formula of f(x) alone: one point, no derivative."""

    def __init__(self, lines: Lines) -> None:
        super().__init__(lines, [0], True)

    def allocate(self, outputs: tuple[int, ...], dtype: Any) -> Array:
        """Return no derivatives."""
        return np.empty(0, dtype)

"""The lines through x along all coordinates, which h="auto" and h="quick" search along."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastgrad._derivatives.arguments import Request
from fastgrad._formulas.formula import Formula
from fastgrad._formulas.line import Line
from fastgrad._formulas.points import Points
from fastgrad._formulas.rules import RULES, Counted
from fastgrad._formulas.step_sizes import first_steps
from fastgrad._typing import Array


class Lines:
    """What is known of f along each coordinate, before the search for a step.

    Refuses a coordinate that is not finite, or has no room between its bounds.
    """

    eps = 1.0
    """No precision of f asks for other points than x."""

    def __init__(self, request: Request, rule: str) -> None:
        self.parameters, self.bounds = request.parameters, request.bounds
        self.x = self.parameters.vector()
        self.value, self.precision = math.nan, 0.0  # of f(x), unknown at first
        self._rule = RULES[rule]
        for i, x in enumerate(self.x.tolist()):
            if not (request.keep or math.isfinite(x)):
                raise ValueError(f"{self.parameters.name(i)} must be finite, got {x}")
            if self.bounds is None:
                continue
            line = self._line(i)
            if not (line.lower == line.upper or line.roomy(1) or line.roomy(-1)):
                raise ValueError(
                    f"{self.parameters.name(i)} = {x} has no room between its bounds, "
                    f"{self.bounds.lower[i]} and {self.bounds.upper[i]}; pass wider bounds or a "
                    "more precise dtype"
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

    def search(self, i: int) -> Counted:
        """Begin the search along a coordinate."""
        return self._rule(self._line(i))

    def points(self, i: int, moves: list[float]) -> Points:
        """Return x with one coordinate moved, a point for each move."""
        x = self.x.item(i)
        return Points(np.full(len(moves), i), np.array([x + move for move in moves], self.x.dtype))

    def target(self) -> Array:
        """Return a long vector near x, within the bounds."""
        h = first_steps(self.x, np.finfo(float).eps)
        h[1::2] *= -1.0  # to both sides
        up = self.x + h
        if self.bounds is None:
            return up
        inside = (up >= self.bounds.lower) & (up <= self.bounds.upper)
        near: Array = np.where(inside, up, self.x - h).clip(self.bounds.lower, self.bounds.upper)
        return near


class Value(Formula):
    """The formula of f(x) alone: one point, no derivative."""

    def __init__(self, lines: Lines) -> None:
        super().__init__(lines, [0], True)

    def allocate(self, outputs: tuple[int, ...], dtype: Any) -> Array:
        """Return no derivatives."""
        return np.empty(0, dtype)

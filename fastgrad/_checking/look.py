"""A closer look at f along one coordinate: its noise, its derivative, its kinks."""

from __future__ import annotations

import functools
import math
import numbers
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastgrad._evaluation.callable import Calls
from fastgrad._evaluation.in_place import InPlace
from fastgrad._evaluation.values import Reader, number, precision
from fastgrad._formulas.bounds import read_bounds
from fastgrad._formulas.stencils import Stencil
from fastgrad._structures import Parameters
from fastgrad._typing import Array, Floats

RATIO, TIMES = 2.9, 12
"""Steps fall by it, so often at most. No whole number: whole periods would follow each other."""

NOISE = 8
"""Standard deviations that the noise of f may reach."""


class Limit(NamedTuple):
    """A derivative, what it may be off by, how much of that is noise, the step beside the first."""

    value: Any
    error: Any
    noise: Any
    step: Any

    @property
    def settled(self) -> Any:
        """Whether it is known to two digits, or as well as noise allows."""
        return (self.error <= 1e-2 * np.abs(self.value)) | (self.error <= 4 * self.noise)


@dataclass(eq=False)
class Problem:
    """f, x, and what else all arrays share.

    `numerical` returns the numerical gradient with other steps than `h`, `name` is how the caller
    writes x.
    """

    f: Callable[[Any], Any]
    parameters: Parameters
    numerical: Callable[[Any], Any]
    h: Any
    stencil: Stencil
    bounds: Any
    rtol: float | None
    atol: float | None
    name: str

    def __post_init__(self) -> None:
        self.steps = self.parameters.spread(self.h, "h")
        self.bounds = read_bounds(self.parameters, self.bounds, may_fix=False)
        # What errors of f are multiplied by, over h; near bounds by one-sided formulas.
        formulas = self.stencil, *(self.stencil.sided if self.bounds else ())
        self.weight = float(max(sum(map(abs, formula.weights)) for formula in formulas))
        x = self.f, self.parameters, self.parameters.vector(), Reader(numbers=True)
        self._calls, self._in_place = Calls(*x), InPlace(*x)
        self._known = None if all(self.parameters.movable) else self._calls
        returned = self._calls.at(slice(0), 0.0)
        self.value, self.eps = float(number(returned)), precision(returned)
        self._scaled: dict[float, list[Floats]] = {}

    @functools.cached_property
    def random(self) -> tuple[float, float] | None:
        """Two different values of f at the same x, if there are any."""
        values = [self.value, *(float(number(self._calls.at(slice(0), 0.0))) for _ in range(3))]
        low, high = min(values), max(values)
        return (low, high) if high - low > 1e-12 * max(abs(low), abs(high)) else None

    @property
    def taken_anew(self) -> bool:
        """Whether the whole gradient was taken once more, with steps that fall from h."""
        return 1.0 in self._scaled

    def scaled(self, factor: float) -> list[Floats]:
        """Return the numerical gradient with all steps times a factor."""
        if factor not in self._scaled:
            one = isinstance(self.h, numbers.Real)
            h = self.h * factor if one else self.parameters.assemble(self.steps * factor)
            found = self.parameters.matching(self.numerical(h), "f")
            self._scaled[factor] = list(map(flat, found))
        return self._scaled[factor]

    def at(self, i: int, point: Any) -> float:
        """Return f where coordinate `i` is `point`; x itself moves if f reads x from outside."""
        with self.parameters.held():
            if self._known is not None:
                return float(number(self._known.at(i, point)))
            copy, moved = (float(number(f.at(i, point))) for f in (self._calls, self._in_place))
        if moved != copy:
            self._known = self._in_place
        elif copy != self.value:
            self._known = self._calls
        return moved


def flat(array: Array) -> Floats:
    """Return an array of float64 with one axis."""
    return array.astype(float).reshape(-1)


class Line:
    """f along coordinate `i` of an array of x, with room to go `down` and `up`.

    `h` is the step, `gradient` the entry that is checked.
    """

    def __init__(self, problem: Problem, leaf: int, i: int, h: float, gradient: float) -> None:
        array = problem.parameters.leaves[leaf]
        self.problem, self.i = problem, problem.parameters.starts[leaf] + i
        self.h, self.gradient = h, gradient
        self.x, self.span = array.flat[i], float(np.abs(array).max())
        self.spacing = 2 * abs(float(np.spacing(self.x)))
        self.down = self.up = math.inf
        if problem.bounds is not None:
            low, high = (float(bound[self.i]) for bound in problem.bounds)
            slack = 4 * self.spacing if self.x else 0.0
            self.down, self.up = float(self.x) - low - slack, high - float(self.x) - slack

    def __call__(self, move: float) -> tuple[float, float]:
        """Return how far the coordinate moves, rounded, and f there."""
        if not move:
            return 0.0, self.problem.value
        point = self.x + self.x.dtype.type(move)
        return float(point - self.x), self.problem.at(self.i, point)

    def slope(self, low: float, high: float) -> float:
        """Return the slope of f between two moves, over the distance really taken."""
        (a, f_a), (b, f_b) = self(low), self(high)
        return (f_b - f_a) / (b - a) if b > a else math.nan

    def noise(self) -> float:
        """Return the standard deviation of the noise in f, from 32 evaluations, or twice as many.

        Where neighbouring values repeat, as of a float32 within f, they are taken further apart.
        """
        near, step = self._roughness(self.h / 2**16)
        far = self._roughness(self.h / 16)[0] if step or not near else 0.0
        rounding = max(2.0**-52, self.problem.eps) * abs(self.problem.value)
        return max(0.29 * max(rounding, step), near, far)

    def _roughness(self, spacing: float) -> tuple[float, float]:
        """Return the noise, of the quieter side of x alone where f seems to have a kink there.

        Sixth differences of neighbouring values, in which a smooth f vanishes and noise is
        multiplied by ``sqrt(12!) / 6!`` (J. J. Moré, S. M. Wild, SIAM J. Sci. Comput. 33 (2011),
        1292-1314). And the step between values of which most repeat, or 0.
        """
        # A multiple of the grid that x lies on: neighbours are equally far apart.
        grid = max(self.spacing, spacing * 2.0**-24)
        spacing = min(grid * math.ceil(spacing / grid + 8), max(self.down, self.up) / 17)
        rough, step = [], 0.0
        for side, room in ((-1, self.down), (1, self.up)):
            if room < 16 * spacing:
                continue
            values = [self(side * k * spacing)[1] for k in range(1, 17)]  # f may jump at x.
            sixth, distinct = np.diff(values, 6), np.unique(values)
            peak = float(np.abs(sixth).max())
            rough.append(peak and peak * float(np.linalg.norm(sixth / peak)) / 96)
            if 1 < len(distinct) <= 8:
                step = max(step, float(np.diff(distinct).min()))
        quiet, loud = min(rough, default=0.0), max(rough, default=0.0)
        return loud if loud <= 30 * quiet else quiet, step

    def limit(self, sigma: float, tolerance: float, size: float) -> Limit:
        """Return the derivative to the tolerance, if noise allows, from steps that fall.

        They begin at h, or above it where noise would hide a part in a million of `size`.
        """
        h, enough = self.h, max(tolerance, 1e-6 * size, 1e-300)
        largest = max(h, 0.01 * (self.span or 1e4 * h))
        near, far = sorted((self.down, self.up))
        start = min(max(h, 4 * NOISE * sigma / enough), largest, max(h, near), far)
        both = near >= start
        low = -start if both or self.down > self.up else 0.0
        high = start if both or self.down <= self.up else 0.0
        found = settle(
            lambda scale: np.float64(self.slope(low * scale, high * scale)),
            (2, 4, 6) if both else (1, 2, 3),
            NOISE * sigma * (1 if both else 2) / start,
            tolerance,
            self.gradient,
        )
        return found._replace(step=found.step * start / h)

    def kink(self, sigma: float) -> tuple[float, float] | None:
        """Return the slopes below and above if they stay apart, and hold the gradient between."""
        if min(self.up, self.down) < self.h:
            return None
        slopes: list[tuple[float, float]] = []
        gaps: list[float] = []
        for k in range(2, 8):
            step = self.h / 4**k
            below, above = self.slope(-step, 0.0), self.slope(0.0, step)
            gap, noise = abs(above - below), 4 * NOISE * sigma / step
            if not gap > noise:
                if gaps and gaps[-1] > 2 * noise:
                    return None
                break
            slopes.append((below, above))
            gaps.append(gap)
        if len(gaps) < 3:
            return None
        # Where f is smooth the gap falls like the step; at a kink it stays, at a jump it grows.
        before, last = gaps[-2] / gaps[-3], gaps[-1] / gaps[-2]
        if min(before, last) < 0.8 or not 0.8 < last / before < 1.25:
            return None
        slack = float(np.abs(np.subtract(slopes[-1], slopes[-2])).max()) + noise
        inside = min(slopes[-1]) - slack <= self.gradient <= max(slopes[-1]) + slack
        return slopes[-1] if inside else None


def settle(
    difference: Callable[[float], Any],
    powers: Iterable[float],
    noise: Any,
    tolerance: Any,
    gradient: Any,
    most: int = TIMES,
) -> Limit:
    """Return the limit of differences as their step goes from 1 to 0, by Richardson.

    Terms of these powers of the step are taken away one after the other. That value is taken that
    differs least from those it is made of, noise added (C. J. F. Ridders, Advances in Engineering
    Software 4 (1982), 75-76). Near a kink differences seem to have another limit until the step is
    shorter than the way there: so, if it is not the gradient, steps fall until noise hides it.
    """
    above = [difference(1.0)]
    one = np.ones_like(above[0])
    best = Limit(above[0], np.inf * one, noise * one, one)
    for k in range(1, most + 1):
        row = [difference(RATIO**-k)]
        hidden = noise * one * RATIO**k + 1e-15 * np.abs(above[0])  # Extrapolation rounds, too.
        for old, power in zip(above, powers, strict=False):
            row.append(row[-1] + (row[-1] - old) / (RATIO**power - 1))
            change = np.maximum(np.abs(row[-1] - row[-2]), np.abs(row[-1] - old))
            new = Limit(row[-1], change + hidden, hidden, one * RATIO**-k)
            gap, rest = np.abs(best.value - gradient), np.abs(new.value - gradient)
            near = (rest <= tolerance + 2 * new.error) & (2.5 * new.error <= gap)
            better = (new.error < best.error) | near
            best = Limit(*(np.where(better, *pair) for pair in zip(new, best, strict=True)))
        above, gap = row, np.abs(best.value - gradient)
        known = best.settled & (best.error <= np.maximum(tolerance, 2 * hidden))
        if (known & ~((gap > tolerance + 2 * best.error) & (4 * hidden < gap))).all():
            break
    return best

"""Finds out which entries of a gradient are wrong.

An entry is right where it differs from the numerical one by no more than the tolerance, and `blur`:
what rounding of f may make of the numerical one. At others the derivative is found with steps of
its own. Where many differ, and the step matters at some of them, the whole gradient is taken anew
with smaller steps. What still differs is wrong, but for differences that are spread thinly over the
whole gradient, as of a small constant that it leaves out.
"""

from __future__ import annotations

import functools
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastgrad._evaluation.callable import Calls
from fastgrad._evaluation.in_place import InPlace
from fastgrad._evaluation.values import Reader, number, precision
from fastgrad._formulas.auto import auto
from fastgrad._formulas.bounds import read_bounds
from fastgrad._formulas.line import Entry, Line
from fastgrad._formulas.stencils import Stencil
from fastgrad._structures import Parameters
from fastgrad._typing import Array, Floats, Integers

RTOL = 1e-5
"""A part in so many passes."""

LOOKED, KINKS = 16, 64
"""Wrong entries of an array that are all looked at; so many of the worst may lie at kinks."""

KNOWN = 1e-2
"""Relative error with which a derivative counts as known."""

NOISE = 8
"""Standard deviations that the noise of f may reach."""

THIN, SPREAD = 3e-4, 16
"""Differences as of a constant left out: below so much of the largest entry, and no further above
their root mean square."""


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
        self.scaled = functools.cache(self._scaled)
        self.anew = False  # whether the whole gradient was taken again
        self.found: list[float] = []  # steps that single looks found, beside those of `h`

    @functools.cached_property
    def random(self) -> tuple[float, float] | None:
        """Two different values of f at the same x, if there are any."""
        values = [self.value, *(float(number(self._calls.at(slice(0), 0.0))) for _ in range(3))]
        low, high = min(values), max(values)
        return (low, high) if high - low > 1e-12 * max(abs(low), abs(high)) else None

    def _scaled(self, factor: float) -> list[Floats]:
        """Return the numerical gradient with all steps times a factor."""
        self.anew, one = True, isinstance(self.h, numbers.Real)
        h = self.h * factor if one else self.parameters.assemble(self.steps * factor)
        return [flat(found) for found in self.parameters.matching(self.numerical(h), "f")]

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


class Along:
    """f along coordinate `i` of an array of x; `h` is the step of the numerical gradient."""

    def __init__(self, problem: Problem, leaf: int, i: int, h: float) -> None:
        parameters = problem.parameters
        self.problem, self.i, self.h = problem, parameters.starts[leaf] + i, h
        self.x, grid = parameters.leaves[leaf].flat[i], parameters.epsilons[leaf]
        high = min(float(np.finfo(self.x.dtype).max), float(np.finfo(float).max))
        ends = [-high, high]
        if problem.bounds is not None:
            ends = [float(bound[self.i]) for bound in problem.bounds]
        self.line = Line(float(self.x), problem.value, max(problem.eps, grid), grid, *ends)

    def __call__(self, move: float) -> tuple[float, float]:
        """Return how far the coordinate moves, rounded, and f there."""
        if not move:
            return 0.0, self.problem.value
        point = self.x + self.x.dtype.type(self.line.move(move))
        try:
            return float(point - self.x), self.problem.at(self.i, point)
        except (ArithmeticError, ValueError):  # f is not defined there
            return float(point - self.x), math.nan

    def derivative(self) -> Entry:
        """Return the derivative by steps that are learnt from f, and what it may be off by.

        Where none are found, those near the given one may agree to a hundredth.
        """
        search = auto(self.line)
        moves = next(search)
        while True:
            try:
                moves = search.send([self(move)[1] for move in moves])
            except StopIteration as end:
                found: Entry = end.value
                break
        if not math.isnan(found.value):
            return found
        down, up = (float(self.line.room(side) >= self.h) for side in (-1, 1))
        slopes = [self.slope(-down * h, up * h) for h in (self.h, self.h / 2, self.h / 8)]
        error = float(np.ptp(slopes))
        known = 2 * error <= KNOWN * abs(slopes[1])
        return Entry(slopes[1], error, 0.0, self.h) if known else found

    def slope(self, low: float, high: float) -> float:
        """Return the slope of f between two moves, over the distance really taken."""
        (a, f_a), (b, f_b) = self(low), self(high)
        return (f_b - f_a) / (b - a) if b > a else math.nan

    def noise(self) -> float:
        """Return the standard deviation of the noise in f, from 16 evaluations, or twice as many.

        Sixth differences of neighbouring values, in which a smooth f vanishes and noise is
        multiplied by ``sqrt(12!) / 6!`` (J. J. Moré, S. M. Wild, SIAM J. Sci. Comput. 33 (2011),
        1292-1314). Where values repeat, as of a float32 within f, they are taken further apart.
        """
        side = 1 if self.line.room(1) >= self.line.room(-1) else -1
        for spacing in (self.h / 2**16, self.h / 16):
            # A multiple of the grid that x lies on: neighbours are equally far apart.
            grid = max(2 * abs(float(np.spacing(self.x))), spacing * 2.0**-24)
            spacing = min(grid * math.ceil(spacing / grid + 8), self.line.room(side) / 17)
            values = [self(side * k * spacing)[1] for k in range(1, 17)]  # f may jump at x.
            distinct = np.unique(values)
            if len(distinct) > 8:
                break
        sixth = np.diff(values, 6)
        peak = float(np.abs(sixth).max())
        found = peak and peak * float(np.linalg.norm(sixth / peak)) / 96
        coarse = np.diff(distinct).min() if 1 < len(distinct) <= 8 else 0.0
        rounding = max(2.0**-52, self.problem.eps) * abs(self.problem.value)
        return max(0.29 * rounding, 0.29 * float(coarse), found)

    def kink(self, sigma: float) -> tuple[float, float, float] | None:
        """Return the slopes below and above x if they stay apart, and what they may be off by."""
        if self.line.room(0) < self.h:
            return None
        steps = self.h / 4.0 ** np.arange(2, 8)
        slopes = np.array([(self.slope(-step, 0.0), self.slope(0.0, step)) for step in steps])
        gaps, noise = np.abs(np.diff(slopes)[:, 0]), 4 * NOISE * sigma / steps
        count = int(np.argmin([*(gaps > noise), False]))
        if count < 3 or (count < len(gaps) and gaps[count - 1] > 2 * noise[count]):
            return None
        # Where f is smooth the gap falls like the step; at a kink it stays, at a jump it grows.
        before, last = gaps[count - 2 : count] / gaps[count - 3 : count - 1]
        if min(before, last) < 0.8 or not 0.8 < last / before < 1.25:
            return None
        (below, above), other = slopes[count - 1], slopes[count - 2]
        if last > 2 and min(abs(below), abs(above)) > 0.4 * gaps[count - 1]:
            return None  # f(x) alone is off: rounding
        slack = np.abs(slopes[count - 1] - other).max() + noise[count - 1]
        return float(below), float(above), float(slack)


@dataclass(eq=False)
class Side:
    """One array of both gradients, flat, with what is found out about it.

    `limit` is the numerical gradient, or what is known better, and `blur` what it may be off by.
    `thin` are entries that pass as differences spread thinly.
    """

    problem: Problem
    leaf: int
    gradient: Floats
    numerical: Floats
    looked: set[int] = field(default_factory=set)  # entries that were looked at one by one
    kinks: dict[int, tuple[float, float]] = field(default_factory=dict)  # the slopes beside x
    random: bool = False  # whether f itself differs as much
    anew: bool = False  # whether all entries were taken with other steps

    def __post_init__(self) -> None:
        problem, own = self.problem, precision(self.gradient)
        self.eps = eps = max(2.0**-52, problem.eps, *problem.parameters.epsilons)
        self.gradient, self.numerical = flat(self.gradient), flat(self.numerical)
        self.h = problem.parameters.parts(problem.steps)[self.leaf]
        self.default = max(RTOL, eps**0.5, own**0.5)
        self.rtol = self.default if problem.rtol is None else float(problem.rtol)
        finite = np.abs(self.gradient[np.isfinite(self.gradient)])
        self.own = 4 * own * finite.max(initial=0.0)
        rounding = 2 * eps * abs(problem.value) * problem.weight
        self.blur = self.own + rounding / np.maximum(self.h, eps**0.5)
        if problem.atol is not None:
            self.blur = np.full(len(self.h), float(problem.atol))
        self.limit = self.numerical.copy()
        self.thin = np.zeros(len(self.h), bool)
        self.wrong = self.excess > 0
        self.failed = self.wrong.copy()  # before any closer look

    @property
    def size(self) -> Floats:
        """The larger of both, each entry."""
        size: Floats = np.maximum(np.abs(self.gradient), np.abs(self.limit))
        return size

    @property
    def excess(self) -> Floats:
        """By how much each entry differs more than passes."""
        excess = np.abs(self.gradient - self.limit) - self.blur - self.rtol * self.size
        return np.where(np.isfinite(self.gradient) & ~np.isnan(excess), excess, np.inf)

    @property
    def worst(self) -> Integers:
        """The wrong entries, the worst first."""
        order = np.argsort(-self.excess, kind="stable")
        return order[self.wrong[order]]

    @functools.cached_property
    def noise(self) -> Floats:
        """What the noise of f makes of 0 in the numerical gradient."""
        return NOISE * self.sigma * self.problem.weight / self.h

    @functools.cached_property
    def sigma(self) -> float:
        """The noise of f."""
        return self.along(int(np.argmax(self.excess))).noise()

    @property
    def share(self) -> Floats:
        """The differences beside the largest entry, 0 where rounding may have made them."""
        difference = np.abs(self.gradient - self.limit)
        seen = ~(difference <= self.blur)
        shares = np.where(seen, difference, 0.0) / self.size.max(initial=0.0)
        return np.where(np.isfinite(shares), shares, np.where(seen, np.inf, 0.0))

    @property
    def steep(self) -> Array:
        """Where f is rough, and so steep that the spacing of numbers near x shows it no better."""
        x = self.problem.parameters.leaves[self.leaf].reshape(-1)
        rough = self.sigma > 1e12 * self.eps * max(1.0, abs(self.problem.value))
        steep: Array = np.abs(self.gradient * np.spacing(x)) > 3e-5 * self.sigma
        return rough & self.wrong & steep

    def place(self, i: int) -> str:
        """Return how the caller would write the coordinate of an entry."""
        parameters = self.problem.parameters
        return self.problem.name + parameters.name(parameters.starts[self.leaf] + i)[1:]

    def along(self, i: int) -> Along:
        """Return f along the coordinate of an entry."""
        return Along(self.problem, self.leaf, i, float(self.h[i]))

    def look(self, places: Integers) -> None:
        """Find the derivatives of some entries one by one."""
        for i in places.tolist():
            along = self.along(i)
            self.looked.add(i)
            found = along.derivative()
            if math.isfinite(found.h):
                self.problem.found.append(found.h / along.h)
            size = max(abs(self.gradient[i]), abs(found.value))
            if 2 * found.error <= KNOWN * size or not along.kink(self.sigma):
                self.take(np.array([i]), found.value, 2 * found.error)
            if self.wrong[i]:
                self._look_closely(i, along)

    def _look_closely(self, i: int, along: Along) -> None:
        """Let an entry pass that two short steps agree with: kinks may lie further out."""
        before, size = math.nan, self.size[i]
        for step in self.h[i] / 4.0 ** np.arange(2, 7):
            rounding = self.own + 2 * self.eps * abs(self.problem.value) / step
            if along.line.room(0) < step or rounding > KNOWN * size:
                return
            slope = along.slope(-step, step)
            apart = max(abs(slope - before), abs(slope - self.gradient[i]))
            if apart <= rounding + self.rtol * abs(slope):
                self.limit[i], self.blur[i], self.wrong[i] = slope, rounding, False
                return
            before = slope

    def take(self, places: Integers, value: Any, error: Any) -> None:
        """Judge entries by better derivatives, which may be off by `error`.

        Where that is too much the numerical gradient stays. It may be off by noise, and by twice as
        much as both differ; by anything where there is no other.
        """
        size = np.maximum(np.abs(self.gradient[places]), np.abs(value))
        known = error <= KNOWN * size
        apart = 2 * np.abs(value - self.limit[places]) + self.noise[places]
        blur = np.where(known, error, np.where(np.isnan(apart), np.inf, apart))
        self.limit[places] = np.where(known, value, self.limit[places])
        self.blur[places] = self.own + blur
        self.wrong[places] = self.excess[places] > 0


def judge(side: Side) -> None:
    """Find out which entries are wrong."""
    problem = side.problem
    if not side.wrong.any() or problem.atol is not None or not np.isfinite(side.gradient).all():
        return
    if problem.random:
        low, high = problem.random
        by_itself = 4 * (high - low) * problem.weight / side.h
        side.random = bool((side.excess <= by_itself).all())
        if side.random:
            return
        side.blur = np.maximum(side.blur, by_itself)
    side.blur[side.steep] = np.inf
    side.wrong = side.excess > 0
    places = side.worst
    if not problem.anew:
        few = len(places) <= LOOKED
        side.look(places if few else places[:: -(-len(places) // (LOOKED // 2))])
        apart = np.abs(side.numerical - side.limit)
        if few or not np.any(4 * apart > side.blur + side.rtol * side.size):
            return
    if len(places):
        _take_anew(side, places)


def _take_anew(side: Side, places: Integers) -> None:
    """Take the whole gradient with two steps more, and look at what they do not settle."""
    if side.problem.bounds is None:
        # As small as noise allows, since kinks may be near; of few sizes, that arrays share them.
        aim = max(side.rtol / 100, 1e-10) * side.size.max()
        usual = float(np.median(side.problem.found or [1.0]))
        least = min(max(side.noise.max() / aim, 1e-9), usual) if aim > 0 else usual
        ratio = 4.0 ** (round(math.log(least, 16)) or -1)
        side.anew = True
        better, error = _extrapolated(side, sorted((1.0, ratio, ratio**2), reverse=True))
        side.take(np.arange(len(better)), better, error)
        gap, noise = np.abs(side.gradient - better), 2 * side.noise / min(1.0, ratio**2)
        places = places[(~side.wrong & (gap > noise + side.rtol * side.size))[places]]
    side.look(places)


def _extrapolated(side: Side, factors: list[float]) -> tuple[Floats, Floats]:
    """Return the better one of two extrapolations for each entry, and what it may be off by."""
    scaled, leaf = side.problem.scaled, side.leaf
    gradients = [side.numerical if s == 1 else scaled(s)[leaf] for s in factors]
    shrink = (factors[0] / factors[1]) ** side.problem.stencil.order - 1
    found = []
    for k in (1, 2):
        change = (gradients[k] - gradients[k - 1]) / shrink
        found.append((gradients[k] + change, np.abs(change) + 2 * side.noise / factors[k]))
    (first, its_error), (second, error) = found
    finer = ~(its_error < error)
    return np.where(finer, second, first), np.where(finer, error, its_error)


def spare(problem: Problem, sides: list[Side]) -> None:
    """Let differences pass that are spread thinly, and stay with smaller steps."""
    if not any(side.wrong.any() for side in sides):
        return
    given = problem.rtol is not None or problem.atol is not None
    stay = [_stays(side) for side in sides if not (given or side.anew)]
    may_pass = not given and stay.count(False) <= stay.count(True)
    for side, part in zip(sides, _spread(problem, sides), strict=True):
        # Those that stand out may lie so near a kink that the steps of all are too large.
        odd = np.flatnonzero(side.wrong & ~(part & may_pass))
        if side.anew and len(odd) <= max(LOOKED, len(part) // 64):
            side.look(odd)
    for side, part in zip(sides, _spread(problem, sides), strict=True):
        side.thin = side.wrong & part & may_pass
        side.wrong &= ~side.thin


def _spread(problem: Problem, sides: list[Side]) -> list[Array]:
    """Tell which differences are small, in proportion, and spread over the whole gradient.

    They are measured against the root mean square of the others: a fault of one entry stands out.
    """
    share = np.concatenate([np.empty(0), *(side.share for side in sides)])
    small = np.where(share < THIN, share, 0.0)
    squares = small**2
    count = np.count_nonzero(small) - (small > 0)
    others = np.sqrt(np.maximum(squares.sum() - squares, 0) / np.maximum(count, 1))
    seen = sum(np.count_nonzero(side.size > side.blur) for side in sides)
    many = 4 * np.count_nonzero(small) >= seen
    return problem.parameters.parts(many & (share < np.minimum(THIN, SPREAD * others)))


def _stays(side: Side) -> bool | None:
    """Tell whether the largest difference that passed is more than that of a step."""
    passed = np.where(side.wrong, 0.0, side.share)
    if not passed.any():
        return None
    i = np.argmax(passed, keepdims=True)
    side.look(i)
    return bool(side.share[i] > passed[i] / 2)


def find_kinks(side: Side) -> None:
    """Look for kinks of f where a gradient is still wrong, the worst entries first."""
    if side.looked:
        for i in side.worst[:KINKS].tolist():
            if kink := side.along(i).kink(side.sigma):
                below, above, slack = kink
                if min(below, above) - slack <= side.gradient[i] <= max(below, above) + slack:
                    side.kinks[i] = below, above

"""Which entries of a gradient are wrong.

An entry passes where it differs from the numerical one by no more than a part in 1e5, or than what
the rounding of f makes of 0 at that step: ``2 eps |f| sum|weights| / h``. The others are looked at:
the noise of f is measured, and where the numerical gradient moves with the step, its limit counts.
What still differs is wrong, but for differences that are spread thinly over the whole gradient, in
proportion to it, as of a small constant that the gradient leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fastgrad._checking.look import NOISE, Limit, Line, Problem, flat, settle
from fastgrad._evaluation.values import precision
from fastgrad._typing import Floats, Integers

RTOL = 1e-5
"""A part in so many passes."""

LOOKED, KINKS = 16, 64
"""Entries that are looked at one by one, of more the whole gradient is taken anew; and so many of
the worst that may lie at kinks."""

THIN, SPREAD = 3e-4, 16
"""Differences as of a term left out: below so much of the largest entry, and no further above their
root mean square."""


@dataclass(eq=False)
class Side:
    """One array of both gradients, flat, with what is found out about it.

    `rounding` is what rounding and noise of f make of 0, `limit` the numerical gradient, or its
    limit where that was needed. `thin` are entries that pass as differences spread thinly.
    """

    problem: Problem
    leaf: int
    gradient: Floats
    numerical: Floats
    steps: dict[int, Limit] = field(default_factory=dict)  # of entries that were looked at
    kinks: dict[int, tuple[float, float]] = field(default_factory=dict)  # the slopes beside x
    sigma: float = 0.0  # the noise of f, where it was measured
    random: bool = False  # whether f itself differs as much

    def __post_init__(self) -> None:
        problem, own = self.problem, precision(self.gradient)
        eps = max(2.0**-52, problem.eps, *problem.parameters.epsilons)
        self.gradient, self.numerical = flat(self.gradient), flat(self.numerical)
        self.h = problem.parameters.parts(problem.steps)[self.leaf]
        self.default = max(RTOL, eps**0.5, own**0.5)
        self.rtol = self.default if problem.rtol is None else float(problem.rtol)
        self.rounding = 2 * eps * abs(problem.value) * problem.weight / np.maximum(self.h, eps**0.5)
        finite = np.abs(self.gradient[np.isfinite(self.gradient)])
        self.rounding += 4 * own * finite.max(initial=0.0)
        if problem.atol is not None:
            self.rounding = np.full(len(self.h), float(problem.atol))
        self.limit = self.numerical.copy()
        self.wrong = self.excess > 0
        self.thin = np.zeros_like(self.wrong)

    @property
    def size(self) -> Floats:
        """The larger of both, each entry."""
        size: Floats = np.maximum(np.abs(self.gradient), np.abs(self.limit))
        return size

    @property
    def excess(self) -> Floats:
        """By how much each entry differs more than passes."""
        excess = np.abs(self.gradient - self.limit) - self.rounding - self.rtol * self.size
        return np.where(np.isfinite(self.gradient) & ~np.isnan(excess), excess, np.inf)

    @property
    def worst(self) -> Integers:
        """The wrong entries, the worst first."""
        order = np.argsort(-self.excess, kind="stable")
        return order[self.wrong[order]]

    def place(self, i: int) -> str:
        """Return how the caller would write the coordinate of an entry."""
        parameters = self.problem.parameters
        return self.problem.name + parameters.name(parameters.starts[self.leaf] + i)[1:]

    def line(self, i: int) -> Line:
        """Return f along the coordinate of an entry."""
        return Line(self.problem, self.leaf, i, float(self.h[i]), float(self.gradient[i]))

    def look(self, places: Integers) -> None:
        """Judge entries one by one."""
        for i in places.tolist():
            size = float(self.size[i])
            self.take(i, self.line(i).limit(self.sigma, self.rtol * size / 4, size))

    def take(self, i: int, found: Limit) -> None:
        """Judge an entry by the limit of its differences."""
        self.steps[i] = found
        size = max(abs(self.gradient[i]), abs(found.value))
        gap = abs(self.gradient[i] - found.value)
        self.wrong[i] = not (found.settled and gap <= self.rtol * size + 2 * found.error)
        if found.settled:
            self.limit[i] = found.value

    def moved(self, i: int) -> bool:
        """Tell whether the numerical gradient is another one with other steps."""
        gap = abs(self.numerical[i] - self.steps[i].value)
        return not 4 * gap <= self.rounding[i] + self.rtol * self.size[i]


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
        side.rounding = np.maximum(side.rounding, by_itself)
        side.wrong = side.excess > 0
    side.sigma = side.line(int(side.worst[0])).noise()
    noise = NOISE * side.sigma * problem.weight / side.h
    # Where noise would hide a part in a thousand, larger steps may tell.
    if noise.max() <= 1e-3 * side.size.max():
        side.rounding = np.maximum(side.rounding, noise)
        side.wrong = side.excess > 0
    # What was taken anew for another array is known for this one; noise may want larger steps.
    known = problem.taken_anew and noise.max() <= side.rtol * side.size.max()
    places = side.worst
    if len(places) <= LOOKED:
        side.look(places)
    elif known or _any_moves(side, places):
        _look_at_all(side, places)


def _any_moves(side: Side, places: Integers) -> bool:
    """Look at a few entries, from the worst to the least, until one moves with the step."""
    for i in np.linspace(0, len(places) - 1, LOOKED // 2).astype(int):
        side.look(places[i : i + 1])
        if side.moved(int(places[i])):
            return True
    return False


def find_kinks(side: Side) -> None:
    """Look for kinks of f where a gradient is still wrong, the worst entries first."""
    if side.steps:
        if len(side.worst) <= LOOKED:  # The steps of whole gradients may settle before a kink.
            side.look(side.worst)
        for i in side.worst[:KINKS].tolist():
            if kink := side.line(i).kink(side.sigma):
                side.kinks[i] = kink


def _look_at_all(side: Side, places: Integers) -> None:
    """Take the whole gradient with smaller steps, until few are left, and those one by one."""
    problem = side.problem
    if problem.bounds is None:
        p, offsets = problem.stencil.order, set(problem.stencil.offsets)
        more = 2 if offsets == {-offset for offset in offsets} else 1
        # Where noise hides what is to be seen, the steps of those looked at are larger.
        steps = [found.step for found in side.steps.values()]
        first = max(1.0, float(np.median(steps or [1.0])))
        found = settle(
            lambda scale: problem.scaled(first * scale)[side.leaf][places],
            (p, p + more, p + 2 * more),
            NOISE * side.sigma * problem.weight / side.h[places] / first,
            side.rtol * side.size[places] / 4, side.gradient[places], 4,
        )  # fmt: skip
        found = found._replace(step=found.step * first)
        for i, limit in zip(places.tolist(), zip(*found, strict=True), strict=True):
            side.take(i, Limit(*limit))
        # Near a kink these few steps may settle too early.
        few = side.wrong[places].sum() <= LOOKED
        places = places[side.wrong[places] & (few | ~found.settled)]
    side.look(places)


def spare(problem: Problem, sides: list[Side]) -> None:
    """Let differences pass that are small, in proportion, and spread over the whole gradient.

    They are measured against the root mean square of the others: a fault of one entry stands out.
    """
    if problem.rtol is not None or problem.atol is not None or not sides:
        return
    share = np.concatenate([_share(side) for side in sides])
    small = np.where(share < THIN, share, 0.0)
    squares = small**2
    count = np.count_nonzero(small) - (small > 0)
    others = np.sqrt(np.maximum(squares.sum() - squares, 0) / np.maximum(count, 1))
    spread = problem.parameters.parts(share < np.minimum(THIN, SPREAD * others))
    for side, part in zip(sides, spread, strict=True):
        side.thin = side.wrong & part & (not side.random)
    if any(side.thin.any() for side in sides) and _stay(sides, problem.parameters.parts(small)):
        for side in sides:
            side.wrong &= ~side.thin


def _stay(sides: list[Side], shares: list[Floats]) -> bool:
    """Tell whether the differences that passed stay with smaller steps, where they are largest."""
    moved = []
    for side, share in zip(sides, shares, strict=True):
        passed = np.where(side.wrong, 0.0, share)
        if passed.any():
            i = int(np.argmax(passed))
            gap = abs(side.numerical[i] - side.gradient[i])
            found = side.line(i).limit(side.sigma, 0.0, float(side.size[i]))
            moved.append(bool(abs(found.value - side.gradient[i]) < gap / 2))
    return len(moved) > 2 * sum(moved)


def _share(side: Side) -> Floats:
    """Return the differences beside the largest entry, 0 where rounding may have made them."""
    difference = np.abs(side.gradient - side.limit)
    seen = ~(difference <= side.rounding)
    shares = np.where(seen, difference, 0.0) / side.size.max(initial=0.0)
    return np.where(np.isfinite(shares), shares, np.where(seen, np.inf, 0.0))

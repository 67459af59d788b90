"""A closer look at single coordinates: whether it is the numerical derivative that is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastgrad._typing import Floats
from fastgrad.agreement import coarsest
from fastgrad.bounds import safe
from fastgrad.gradient import numerical_gradient
from fastgrad.limit import HALVINGS, NOISE, Limit, Look, limit
from fastgrad.objectives.values import number
from fastgrad.stencils import STENCILS, Stencil
from fastgrad.structures import Parameters

FINER = 16
"""A second step that is so much smaller tells truncation from what stays."""

KINK = 30
"""Noise on one side of x that is so many times that on the other is not noise."""


class Evidence(NamedTuple):
    """Why the numerical derivative differs: a kind, and words. "" where it does not explain it.

    `settled` tells that the gradient may be right all the same, `change` by how much the numerical
    derivative changes with a finer step.
    """

    kind: str
    text: str
    settled: bool
    change: float = 0.0


class Line:
    """f along one coordinate; x is put back after every call.

    Parameters
    ----------
    f : callable
        Of x.
    parameters : Parameters
        x.
    leaf, i : int
        Which array, and which of its entries.
    bounds : list of tuple of ndarray, or None
        As in `Steps`: what is asked for below stays within them.
    """

    def __init__(
        self,
        f: Callable[[Any], Any],
        parameters: Parameters,
        leaf: int,
        i: int,
        bounds: list[tuple[Floats, Floats]] | None = None,
    ) -> None:
        self.f, self.x, self.i = f, parameters.x, i
        self.array = parameters.leaves[leaf]
        self.origin = self.array.flat[i]
        self._known: dict[tuple[float, Stencil], float] = {}
        self.room = {1: math.inf, -1: math.inf}
        if bounds is not None:
            x = float(self.origin)
            for side, bound in zip((-1, 1), bounds[leaf], strict=True):
                room = side * (float(bound[i]) - x)
                self.room[side] = float(safe(room, abs(x), self.array.dtype))

    def __call__(self, point: Any) -> float:
        """Return f where the coordinate is `point`."""
        try:
            self.array.flat[self.i] = point
            return number(self.f(self.x))
        finally:
            self.array.flat[self.i] = self.origin

    def derivative(self, h: float, stencil: Stencil) -> float:
        """Return the finite difference along the line; it is evaluated once."""
        if (h, stencil) not in self._known:
            x = np.asarray(self.origin).copy()
            self._known[h, stencil] = float(numerical_gradient(self, x, h, stencil=stencil))
        return self._known[h, stencil]

    def noise(self, h: float) -> float:
        """Return the standard deviation of the noise in f, from 35 evaluations.

        Sixth differences of neighbouring values, in which a smooth f vanishes and noise is
        multiplied by ``sqrt(12!) / 6!`` (J. J. Moré, S. M. Wild, SIAM J. Sci. Comput. 33 (2011),
        1292-1314), on either side of x. Where one side is far noisier it has a kink. Added to it is
        that x - h and x + h, rounded to the grid of x, are not equally far away, nor by 2 h apart.
        """
        spacing = min(h / 8, 1e-5 * max(1.0, abs(float(self.origin))))
        spacing = max(spacing, 2 * abs(float(np.spacing(self.origin))))
        sides = [side for side in (1, -1) if self.room[side] >= 15 * spacing]
        if not sides:
            sides = [self.roomier]
            spacing = self.room[self.roomier] / 15
        noises = [self._noise(side * spacing) for side in sides]
        quiet, loud = min(noises), max(noises)
        bend, slope = self.shape(h)
        uneven = (bend + slope / 4) / h * abs(float(np.spacing(self.origin)))
        return uneven + (loud if loud <= KINK * quiet else quiet)

    @property
    def roomier(self) -> int:
        """The side on which there is more room."""
        return 1 if self.room[1] >= self.room[-1] else -1

    def both(self, h: float) -> bool:
        """Tell whether there is room for the step h on both sides."""
        return min(self.room.values()) >= h

    def shape(self, h: float) -> tuple[float, float]:
        """Return how far f bends over the step h, and how far it changes."""
        value, number = self(self.origin), self.array.dtype.type
        if self.both(h):
            above, below = self(self.origin + number(h)), self(self.origin - number(h))
            return abs(above - 2 * value + below), abs(above - below) / 2
        far = min(h, self.room[self.roomier])
        end, middle = (self(self.origin + number(self.roomier * d)) for d in (far, far / 2))
        return 4 * abs(end - 2 * middle + value) * (h / far) ** 2, abs(end - value) * h / far

    def _noise(self, spacing: float) -> float:
        moves = (spacing * np.arange(16)).astype(self.array.dtype)
        values = np.array([self(self.origin + move) for move in moves], float)
        return float(np.sqrt(np.mean(np.diff(values, 6) ** 2) / math.comb(12, 6)))


def examine(line: Line, look: Look) -> Evidence:
    """Tell whether noise, a kink or truncation makes the difference.

    At most 16 evaluations of f with the central difference, and 6 more where the limit of the
    differences takes more than two of them.
    """
    evidence = _noise(line, look)
    if evidence is not None or not _moves(line, look.h / FINER):
        return evidence or Evidence("", "", False)
    return kink(line, look) or _truncation(line, look)


def _limit(line: Line, look: Look, most: int = HALVINGS) -> Limit:
    return limit(look, lambda k: line.derivative(look.h / 2**k, look.stencil), most)


def _noise(line: Line, look: Look) -> Evidence | None:
    if not abs(look.difference) <= look.reach:
        return None
    second = line.shape(look.h)[0] - 4 * NOISE * look.sigma
    # A gradient of 0 has no size of its own: how fast it changes has.
    size = max(look.size, second / look.h**2 * look.span)
    harmless = look.reach <= coarsest(look.eps) * size
    relative = look.sigma / abs(look.value) if look.value else np.inf
    single = 2**-28 < relative < 2**-18
    better = max(look.eps, min(1.0, relative)) ** (1 / (look.stencil.order + 1))
    text = (
        f"rounding and noise change f by {look.sigma:.1e}, which h = {look.h:.1g} makes "
        f"{look.reach:.1e} in the derivative"
    )
    if single:
        text += "; that is the rounding of float32: compute in float64"
    if not harmless:
        text += f"; h is too small: take {better * look.span:.1g}"
    return Evidence("float32 precision" if single else "rounding noise", text, bool(harmless))


def kink(line: Line, look: Look) -> Evidence | None:
    """Compare the slopes on both sides, for two steps, where bounds leave room for that.

    Where f is smooth their gap falls like h. It stays at a kink in x itself; at one between x and
    x + h it is gone with the finer step, and then was once or twice the error, depending on the
    formula.
    """
    if _limit(line, look, 1).halvings or not line.both(look.h):
        return None
    finer = look.h / FINER
    (above, below), (above_finer, below_finer) = (
        [line.derivative(h, STENCILS[side]) for side in ("forward", "backward")]
        for h in (look.h, finer)
    )
    gap, gap_finer = abs(above - below), abs(above_finer - below_finer)
    floor = 4 * NOISE * look.sigma / finer + 4 * look.eps * abs(look.value) / finer
    slack = look.allowed + 0.05 * gap
    between = min(above, below) - slack <= look.gradient <= max(above, below) + slack
    here = gap_finer > max(gap / 2, floor)
    error = abs(look.difference)
    beside = any(abs(abs(gap - FINER * gap_finer) - n * error) <= 0.05 * error for n in (1, 2))
    near = abs(look.gradient - line.derivative(finer, look.stencil)) <= error / 10
    if not (between and (here or (beside and near))):
        return None
    return Evidence(
        "kink",
        f"f has a kink within h = {look.h:.1g}: its slope is {below:.3g} on one side and "
        f"{above:.3g} on the other, the gradient says {look.gradient:.3g}; it may be right: check "
        "it at another x",
        False,
    )


def _truncation(line: Line, look: Look) -> Evidence:
    fine, found = line.derivative(look.h / FINER, look.stencil), _limit(line, look)
    right, change = bool(found.halvings), abs(look.numerical - fine)
    # Where the limit is known, and another number, it is not the step that is to blame.
    if not right and abs(look.gradient - found.value) > 2 * found.change:
        return Evidence("", "", False, change)
    text = (
        f"the difference is {look.difference:.1e} with h = {look.h:.1g} and "
        f"{look.gradient - fine:.1e} with h = {look.h / FINER:.1g}"
    )
    words = "it vanishes with h, the gradient is right" if right else "h is too large for f"
    return Evidence("truncation", f"{text}: {words}", right, change)


def _moves(line: Line, h: float) -> bool:
    step = line.array.dtype.type(h)
    return bool(line.origin + step != line.origin and line.origin - step != line.origin)

"""A closer look at single coordinates: whether it is the numerical derivative that is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastgrad.agreement import coarsest, total_weight
from fastgrad.gradient import numerical_gradient
from fastgrad.objectives.values import number
from fastgrad.stencils import STENCILS, Stencil
from fastgrad.structures import Parameters

FINER = 16
"""A second step that is so much smaller tells truncation from what stays."""

NOISE = 8
"""Standard deviations that the noise of f may reach."""

KINK = 30
"""Noise on one side of x that is so many times that on the other is not noise."""


class Evidence(NamedTuple):
    """Why the numerical derivative differs: a kind, and words. "" where it does not explain it.

    `settled` tells that the gradient is right all the same, `change` by how much the numerical
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
    """

    def __init__(self, f: Callable[[Any], Any], parameters: Parameters, leaf: int, i: int) -> None:
        self.f, self.x, self.i = f, parameters.x, i
        self.array = parameters.leaves[leaf]
        self.origin = self.array.flat[i]

    def __call__(self, point: Any) -> float:
        """Return f where the coordinate is `point`."""
        try:
            self.array.flat[self.i] = point
            return number(self.f(self.x))
        finally:
            self.array.flat[self.i] = self.origin

    def derivative(self, h: float, stencil: Stencil) -> float:
        """Return the finite difference along the line."""
        return float(numerical_gradient(self, np.asarray(self.origin).copy(), h, stencil=stencil))

    def noise(self, h: float) -> float:
        """Return the standard deviation of the noise in f, from 35 evaluations.

        Sixth differences of neighbouring values, in which a smooth f vanishes and noise is
        multiplied by ``sqrt(12!) / 6!`` (J. J. Moré, S. M. Wild, SIAM J. Sci. Comput. 33 (2011),
        1292-1314), on either side of x. Where one side is far noisier it has a kink. Added to it is
        that x - h and x + h, rounded to the grid of x, are not equally far away, nor by 2 h apart.
        """
        spacing = min(h / 8, 1e-5 * max(1.0, abs(float(self.origin))))
        spacing = max(spacing, 2 * abs(float(np.spacing(self.origin))))
        step = self.array.dtype.type(h)
        quiet, loud = sorted(self._noise(side * spacing) for side in (1, -1))
        above, below = self(self.origin + step), self(self.origin - step)
        bend, slope = abs(above - 2 * self(self.origin) + below), abs(above - below) / 2
        uneven = (bend + slope / 4) / h * abs(float(np.spacing(self.origin)))
        return uneven + (loud if loud <= KINK * quiet else quiet)

    def _noise(self, spacing: float) -> float:
        moves = (spacing * np.arange(16)).astype(self.array.dtype)
        values = np.array([self(self.origin + move) for move in moves], float)
        return float(np.sqrt(np.mean(np.diff(values, 6) ** 2) / math.comb(12, 6)))


class Look(NamedTuple):
    """What is known of an entry, or of several in arrays, before it is looked at.

    `sigma` is the noise of f, `allowed` what may differ, `size` the largest entry of either
    gradient, `eps` that of the coarsest dtype, `value` f(x), `span` the
    largest coordinate of the array.
    """

    gradient: Any
    numerical: Any
    h: Any
    stencil: Stencil
    sigma: float
    allowed: Any
    size: float
    eps: float
    value: float
    span: float

    @property
    def reach(self) -> Any:
        """How far the noise of f carries the derivative."""
        return NOISE * self.sigma * total_weight(self.stencil) / self.h

    @property
    def difference(self) -> Any:
        """Gradient minus numerical gradient."""
        return self.gradient - self.numerical


def examine(line: Line, look: Look) -> Evidence:
    """Tell whether noise, a kink or truncation makes the difference.

    At most 14 evaluations of f with the central difference.
    """
    evidence = _noise(line, look)
    if evidence is not None or not _moves(line, look.h / FINER):
        return evidence or Evidence("", "", False)
    fine = line.derivative(look.h / FINER, look.stencil)
    right = bool(settled(look, line.derivative(look.h / 2, look.stencil)))
    if right:
        return _truncation(look, fine, right)
    return _kink(line, look, fine) or _truncation(look, fine, right)


def settled(look: Look, half: Any) -> Any:
    """Tell whether the gradient agrees with the limit of the differences with h and h / 2.

    The limit is Richardson's: the truncation at h is ``(numerical - half) / (1 - 2**-order)``.
    """
    power = 2.0**look.stencil.order
    truncation = (look.numerical - half) * power / (power - 1)
    rest = np.abs(look.gradient - (look.numerical - truncation))
    # The noise of both differences, that of `half` being twice as large.
    noise = look.reach * (2 * power + 1) / (power - 1)
    # The next term of the truncation is smaller, but not nothing, also where the first is 0.
    next_term = min(np.abs(truncation).max() / power, coarsest(look.eps) * look.size)
    return rest <= look.allowed + noise + next_term


def _noise(line: Line, look: Look) -> Evidence | None:
    if not abs(look.difference) <= look.reach:
        return None
    above, below = (line(line.origin + side * look.h) for side in (1, -1))
    second = abs(above - 2 * look.value + below) - 4 * NOISE * look.sigma
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


def _kink(line: Line, look: Look, fine: float) -> Evidence | None:
    """Compare the slopes on both sides, for two steps.

    Where f is smooth their gap falls like h. It stays at a kink in x itself; at one between x and
    x + h it is gone with the finer step, and then was once or twice the error, depending on the
    formula.
    """
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
    near = abs(look.gradient - fine) <= error / 10
    if not (between and (here or (beside and near))):
        return None
    return Evidence(
        "kink",
        f"f has a kink within h = {look.h:.1g}: its slope is {below:.3g} on one side and "
        f"{above:.3g} on the other, the gradient says {look.gradient:.3g}; it may be right: check "
        "it at another x",
        False,
    )


def _truncation(look: Look, fine: float, right: bool) -> Evidence:
    rest = look.gradient - fine
    change, difference = abs(look.numerical - fine), abs(look.difference)
    if not right and abs(rest) > difference / 5 and change < difference / 2:
        return Evidence("", "", False, change)
    text = (
        f"the difference is {look.difference:.1e} with h = {look.h:.1g} and {rest:.1e} with "
        f"h = {look.h / FINER:.1g}"
    )
    words = "it vanishes with h, the gradient is right" if right else "h is too large for f"
    return Evidence("truncation", f"{text}: {words}", right)


def _moves(line: Line, h: float) -> bool:
    step = line.array.dtype.type(h)
    return bool(line.origin + step != line.origin and line.origin - step != line.origin)

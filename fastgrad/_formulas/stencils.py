"""Stencils: where a function is evaluated, and how the values make a derivative."""

from __future__ import annotations

import contextlib
import functools
import math
import numbers
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastgrad._typing import Floats, Integers

Table = tuple[Integers, Floats, Floats, Floats]


@dataclass(frozen=True)
class Stencil:
    """A finite-difference formula ``f'(x) ~ sum_k weights[k] f(x + offsets[k] h) / h``.

    Parameters
    ----------
    offsets : tuple of float
        Where to evaluate, in units of the step.
    weights : tuple of float
        One for each offset.
    order : int
        The truncation error falls like ``h**order``: the formula is exact for polynomials up to
        that degree.

    Raises
    ------
    TypeError, ValueError
        If these are no numbers, or if that does not hold: ``sum_k weights[k] offsets[k]**d`` has to
        be 1 for ``d = 1``, and 0 for every other d from 0 to `order`.

    Examples
    --------
    >>> Stencil(offsets=(0.0, 1.0, 2.0), weights=(-1.5, 2.0, -0.5), order=2).order
    2
    """

    offsets: tuple[float, ...]
    weights: tuple[float, ...]
    order: int

    derivative: ClassVar[int] = 1
    """Which derivative the formula is for."""

    def __post_init__(self) -> None:
        for name in ("offsets", "weights"):
            object.__setattr__(self, name, _floats(name, getattr(self, name)))
        if isinstance(self.order, bool) or not isinstance(self.order, int):
            raise TypeError(f"order must be a whole number, got {self.order!r}")
        if len(self.offsets) != len(self.weights) or len(set(self.offsets)) != len(self.offsets):
            raise ValueError(
                f"a stencil needs distinct offsets and as many weights, got {self.offsets} and "
                f"{self.weights}"
            )
        # With order + 1 conditions on the weights, n points cannot do more.
        if not 1 <= self.order <= len(self.offsets):
            raise ValueError(
                "order must be a whole number from 1 to the number of offsets, "
                f"{len(self.offsets)}, got {self.order!r}"
            )
        for degree in range(self.order + self.derivative):
            with np.errstate(all="ignore"):
                terms = np.array(self.weights) * np.array(self.offsets) ** degree
                total, allowed = float(terms.sum()), 1e-12 * max(1.0, abs(terms).max())
            wanted = float(degree == self.derivative) * math.factorial(degree)
            if not abs(total - wanted) < allowed:  # of infinities neither holds
                raise ValueError(
                    f"the stencil is not of order {self.order}: sum of weights * "
                    f"offsets**{degree} must be {wanted:g}, got {total!r}"
                )

    @functools.cached_property
    def moves(self) -> tuple[tuple[float, float], ...]:
        """The (offset, weight) pairs that need an evaluation of their own, away from x."""
        pairs = zip(self.offsets, self.weights, strict=True)
        return tuple((offset, weight) for offset, weight in pairs if offset != 0.0)

    @functools.cached_property
    def center(self) -> float:
        """The weight of f(x) itself, which all coordinates share; 0 where it is not used."""
        return dict(zip(self.offsets, self.weights, strict=True)).get(0.0, 0.0)

    @property
    def sided(self) -> tuple[Stencil, Stencil]:
        """The formulas of the same order that look to one side only, up and down."""
        return one_sided(self.order, +1), one_sided(self.order, -1)


@functools.lru_cache(maxsize=64)
def tables(formulas: tuple[Stencil, ...]) -> Table:
    """Return each formula's count of moves, offsets and weights, padded, and weight of f(x)."""
    counts = np.array([len(formula.moves) for formula in formulas])
    offsets, weights = np.zeros((2, len(formulas), counts.max()))
    for k, formula in enumerate(formulas):
        if formula.moves:
            offsets[k, : counts[k]], weights[k, : counts[k]] = zip(*formula.moves, strict=True)
    return counts, offsets, weights, np.array([formula.center for formula in formulas])


def _floats(name: str, values: object) -> tuple[float, ...]:
    """Return `values` as a tuple of floats; it is a key of caches."""
    if isinstance(values, list | tuple) and all(isinstance(v, numbers.Real) for v in values):
        with contextlib.suppress(OverflowError):
            return tuple(float(value) for value in values)
    raise TypeError(f"{name} must be a tuple of floats, got {values!r}")


@functools.cache
def one_sided(order: int, side: int) -> Stencil:
    """Return the formula of that order on equidistant points to one side only, +1 or -1."""
    away = range(1, order + 1)
    weights = [side * (-1) ** (k + 1) * math.comb(order, k) / k for k in away]
    return Stencil((*(float(side * k) for k in away), 0.0), (*weights, -math.fsum(weights)), order)


CENTRAL = Stencil(offsets=(1.0, -1.0), weights=(0.5, -0.5), order=2)
"""The book's formula, and in its order: f(x + h) first."""

STENCILS = {
    "forward": one_sided(1, +1),
    "backward": one_sided(1, -1),
    "central": CENTRAL,
    "five-point": Stencil((1.0, -1.0, 2.0, -2.0), (8 / 12, -8 / 12, -1 / 12, 1 / 12), order=4),
    "six-point": Stencil(
        (1.0, -1.0, 2.0, -2.0, 3.0, -3.0),
        (45 / 60, -45 / 60, -9 / 60, 9 / 60, 1 / 60, -1 / 60),
        order=6,
    ),
}
"""The formulas that have a name (Fornberg, Mathematics of Computation 51 (1988), 699-706)."""


def named(stencil: str | Stencil, *others: str) -> Stencil:
    """Return the stencil of that name, or a `Stencil` as it is; `others` the message names too."""
    if isinstance(stencil, Stencil):
        return stencil
    if not isinstance(stencil, str) or stencil not in STENCILS:
        names = ", ".join((*STENCILS, *others))
        raise ValueError(f"stencil must be one of {names} or a fastgrad.Stencil, got {stencil!r}")
    return STENCILS[stencil]

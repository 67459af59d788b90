"""Formulas for the second derivative, made from those for the first."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastgrad._formulas.stencils import Stencil


@dataclass(frozen=True)
class SecondStencil(Stencil):
    """A finite-difference formula ``f''(x) ~ sum_k weights[k] f(x + offsets[k] h) / h**2``.

    The moves of `first`, the formula of the same order for the first derivative, stand first.
    """

    first: Stencil

    derivative: ClassVar[int] = 2

    @property
    def sided(self) -> tuple[Stencil, Stencil]:
        """The formulas of the same order that look to one side only, up and down."""
        above, below = self.first.sided
        return second(above), second(below)


@functools.cache
def second(first: Stencil) -> SecondStencil:
    """Return the formula for the second derivative on the points of one for the first.

    It is the second derivative at 0 of the polynomial through these points and 0: twice the
    coefficient of ``t**2`` in Lagrange's polynomials. That is of the order of `first` with
    ``order + 1`` points that lie symmetrically, and with ``order + 2`` that do not; where there
    are fewer, points further out join them.

    >>> second(Stencil((1.0, -1.0), (0.5, -0.5), order=2)).weights
    (1.0, 1.0, -2.0)
    """
    away = [offset for offset, _ in first.moves]
    symmetric = {-offset for offset in away} == set(away)
    while len(away) < first.order + (0 if symmetric else 1):
        away.append(max(away, key=abs) * (len(away) + 1) / len(away))
    points = np.array([*away, 0.0])
    weights = []
    for k, point in enumerate(points):
        others = np.delete(points, k)
        weights.append(2 * np.poly(others)[-3] / np.prod(point - others))
    return SecondStencil(tuple(points.tolist()), tuple(map(float, weights)), first.order, first)

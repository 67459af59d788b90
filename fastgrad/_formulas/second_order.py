"""Second derivatives by every pair of coordinates: formulas, points and weights of a Hessian."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from fastgrad._formulas.coordinates import weighted_sums
from fastgrad._formulas.formula import Formula
from fastgrad._formulas.points import Points, joined
from fastgrad._formulas.stencils import Stencil, tables
from fastgrad._formulas.steps import Steps
from fastgrad._typing import Array


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
    ``order + 1`` points that lie symmetrically, and one more otherwise; points further out join.

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


class SecondOrder(Formula):
    """The upper triangle of a Hessian, row after row; `steps` are those of a `SecondStencil`.

    Row i holds the second derivative along i, the sum of ``w_a f(x + o_a h_i)``, and for each j
    after i the sum of ``w_a w_b f(x + o_a h_i + o_b h_j)``, both without the offset 0: `hessian`
    adds what that makes of other rows.
    """

    def __init__(self, steps: Steps, with_value: bool) -> None:
        items = steps.parameters.size
        self.plan = steps.plan(range(items))
        formulas = cast("tuple[SecondStencil, ...]", steps.formulas)
        counts, _, weights, centers = tables(tuple(formula.first for formula in formulas))
        which = self.plan.which
        self.counts, self.slopes, self.centers = counts[which], weights[which], centers[which]
        after = self.counts[::-1].cumsum()[::-1] - self.counts
        rows = steps.counts[which] + self.counts * after
        value_first = with_value or bool(items and steps.centers.any())
        super().__init__(steps, [0, *rows.cumsum().tolist()], value_first)

    def of_item(self, i: int, some: range) -> Points:
        """Return some of the points of a row: along i alone, then along i and each j after it."""
        value, alone = self.plan.value, int(self.steps.counts[self.plan.which[i]])
        j, a, b = self._corners(i)
        k = np.arange(some.start, some.stop)
        own, pair = k[k < alone], k[k >= alone] - alone
        other = i + 1 + j[pair]
        corners = np.stack([value[i, a[pair]], value[other, b[pair]]], axis=1)
        index = np.stack([np.full(len(pair), i), other], axis=1)
        pairs = Points(index.reshape(-1), corners.reshape(-1), 2 * np.arange(len(pair) + 1))
        return joined([Points(np.full(len(own), i), value[i, own]), pairs])

    def _corners(self, i: int) -> tuple[Array, Array, Array]:
        """Return for each pair's points: which j after i, and which moves of i and of j."""
        width = self.slopes.shape[1]
        used = np.arange(width) < self.counts[i + 1 :, np.newaxis, np.newaxis]
        shape = (self.items - i - 1, int(self.counts[i]), width)
        j, a, b = np.nonzero(np.broadcast_to(used, shape))
        return j, a, b

    def allocate(self, outputs: tuple[int, ...], dtype: Any) -> Array:
        """Return an array for all rows, one after the other."""
        return np.empty(self._place(self.items), dtype)

    def _place(self, row: int) -> int:
        return row * (self.items + 1) - row * (row - 1) // 2

    def combine_item(self, out: Array, i: int, values: Array, value: Any) -> None:
        """Write a row."""
        out = out[self._place(i) : self._place(i + 1)]
        alone = int(self.steps.counts[self.plan.which[i]])
        j, a, b = self._corners(i)
        weights, others = self.slopes[i, : self.counts[i]], self.slopes[i + 1 :]
        corners = np.zeros((len(others), len(weights), others.shape[1]), out.dtype)
        corners[j, a, b] = values[alone:]
        which, divisor = self.plan.which[[i]], self.plan.divisor[[i]]
        out[:1] = weighted_sums(self.steps, which, divisor, values[:alone], value)
        out[1:] = 0
        for k, weight in enumerate(weights):
            out[1] += weight * values[k]
            for column in range(others.shape[1]):
                out[2:] += weight * others[:, column] * corners[:, k, column]

    def hessian(self, rows: Array, value: Any) -> Array:
        """Return the Hessian of all rows, both triangles from the same numbers."""
        n, h, centers = self.items, np.sqrt(self.plan.divisor), self.centers
        parts = [rows[self._place(i) : self._place(i + 1)] for i in range(n)]
        alone = np.array([part[1] for part in parts])
        hessian = np.empty((n, n), rows.dtype)
        for i, part in enumerate(parts):
            beside = slice(i + 1, n)
            sums = part[2:] + _terms(centers[beside], alone[i]) + _terms(centers[i], alone[beside])
            sums += _terms(centers[i] * centers[beside], value)
            hessian[i, i] = part[0]
            hessian[i, beside] = hessian[beside, i] = sums / (h[i] * h[beside])
        return hessian


def _terms(weights: Any, values: Any) -> Any:
    """Return weights times values: 0 where the weight is, whatever the value."""
    with np.errstate(invalid="ignore"):
        return np.where(weights, weights * values, 0.0)

"""Second derivatives of a function, from its values alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from itertools import starmap
from typing import Any, cast

import numpy as np

from fastgrad._typing import Array, Floats, Integers
from fastgrad.objectives.batched import BATCH_BYTES, Batched
from fastgrad.objectives.black_box import BlackBox
from fastgrad.objectives.values import all_finite, not_finite
from fastgrad.second_stencils import SecondStencil
from fastgrad.stencils import tables
from fastgrad.steps import Plan, Steps
from fastgrad.structures import Parameters


class Triangle(ABC):
    """The upper triangle of the Hessian of ``f(x)``; one work item is one of its rows.

    By two coordinates it is the formula for the first derivative taken along both,
    ``sum_ab w_a w_b f(x + o_a h_i + o_b h_j) / (h_i h_j)``. What uses the offset 0 stands in
    other rows: row i holds the second derivative along i, the sum of ``w_a f(x + o_a h_i)``, and
    for each j after i the sum over a and b, all without that offset; `assemble` joins them.

    A mixin: the other base is an objective that knows how f is called.

    Parameters
    ----------
    *arguments
        Of the other base. x is one array, the steps are those of a `SecondStencil`.
    """

    parameters: Parameters
    steps: Steps
    keep: bool
    value: Any
    dtype: np.dtype[Any]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        n, steps = self.parameters.size, self.steps
        moves, h, which = steps.plan(self.parameters, 0, range(n))
        moves = np.broadcast_to(moves, (n, moves.shape[1]))
        self.all = Plan(moves, np.broadcast_to(h, n), np.broadcast_to(which, n))
        formulas = cast("tuple[SecondStencil, ...]", steps.formulas)
        counts, _, weights, centers = tables(tuple(formula.first for formula in formulas))
        self.counts, self.slopes = counts[self.all.which], weights[self.all.which]
        self.centers = centers[self.all.which]

    @abstractmethod
    def _at(self, where: Integers, moves: Array) -> Array:
        """Return f at points, each with two coordinates moved, or one that is named twice.

        Parameters
        ----------
        where : ndarray of int, shape (points, 2)
        moves : ndarray, shape (points, 2)
        """

    @property
    def items(self) -> int:
        """Number of rows."""
        return self.parameters.size

    @property
    def size(self) -> int:
        """Length of all rows together."""
        return self._start(self.parameters.size)

    def span(self, block: range) -> slice:
        """Return where the block's rows stand."""
        return slice(self._start(block.start), self._start(block.stop))

    def _start(self, row: int) -> int:
        return row * (self.parameters.size + 1) - row * (row - 1) // 2

    def weights(self) -> Floats:
        """Return how many evaluations each row takes."""
        after = self.counts[::-1].cumsum()[::-1] - self.counts
        return (self.steps.counts[self.all.which] + self.counts * after).astype(float)

    def partials(self, block: range, out: Array) -> None:
        """Write the block's rows. x is restored whatever happens."""
        first = self.span(block).start
        for i in block:
            self._row(i, out[self._start(i) - first : self._start(i + 1) - first])

    def _row(self, i: int, out: Array) -> None:
        plan, alone = self.all.of([i]), self.steps.counts[self.all.which[i]]
        own, others = self.slopes[i, : self.counts[i]], self.slopes[i + 1 :]
        corners = np.zeros((len(others), len(own), others.shape[1]), self.dtype)
        no_padding = np.arange(others.shape[1]) < self.counts[i + 1 :, np.newaxis, np.newaxis]
        used = np.broadcast_to(no_padding, corners.shape)
        j, a, b = np.nonzero(used)
        sides = self.all.moves[i, a], self.all.moves[i + 1 + j, b]
        where = np.full((alone + len(j), 2), i)
        where[alone:, 1] += 1 + j
        moves = np.concatenate([plan.moves[[0, 0], :alone].T, np.stack(sides, axis=1)])
        values = self._at(where, moves)
        if not (self.keep or all_finite(values)):
            k = int(np.isfinite(values).argmin())
            raise not_finite(values[k].item(), self._point(where[k], moves[k]))
        self.steps.combine(plan, values[:alone], out[:1], self.value)
        corners[used] = values[alone:]
        out[1:] = 0
        for k, weight in enumerate(own):
            out[1] += weight * values[k]
            for column, weights in enumerate(others.T):
                out[2:] += weight * weights * corners[:, k, column]

    def _point(self, where: Integers, moves: Array) -> str:
        """Return words for the place where one coordinate or two have been moved."""
        x = self.parameters.leaves[0].flat
        return " and ".join(
            self.parameters.moved(0, i, x[i].item(), (x[i] + move).item())
            for i, move in dict(zip(where.tolist(), moves, strict=True)).items()
        )

    def assemble(self, vector: Array) -> Array:
        """Return the Hessian, both triangles from the same numbers."""
        (x,) = self.parameters.leaves
        n, h, centers = x.size, self.all.h, self.centers
        rows = [vector[self._start(i) : self._start(i + 1)] for i in range(n)]
        alone = np.array([row[1] for row in rows])
        hessian = np.empty((n, n), x.dtype)
        for i, row in enumerate(rows):
            beside = slice(i + 1, n)
            sums = row[2:] + _terms(centers[beside], alone[i]) + _terms(centers[i], alone[beside])
            sums += _terms(centers[i] * centers[beside], self.value)
            hessian[i, i] = row[0]
            hessian[i, beside] = hessian[beside, i] = sums / (h[i] * h[beside])
        return hessian.reshape(x.shape + x.shape)


def _terms(weights: Any, values: Any) -> Any:
    """Return weights times values: 0 where the weight is, whatever the value."""
    with np.errstate(invalid="ignore"):
        return np.where(weights, weights * values, 0.0)


class SecondOrder(Triangle, BlackBox):
    """The rows of any callable, called once for every point; see `BlackBox`."""

    def _at(self, where: Integers, moves: Array) -> Array:
        return np.array([
            self._together(both, shifts, partial(self._point, both, shifts))
            for both, shifts in zip(where, moves, strict=True)
        ])  # fmt: skip


class BatchedSecondOrder(Triangle, Batched):
    """The rows of a callable that takes many points at once; see `Batched`."""

    def _at(self, where: Integers, moves: Array) -> Array:
        (x,) = self.parameters.leaves
        length = max(1, BATCH_BYTES // max(1, x.nbytes))
        values = np.empty(len(where))
        for first in range(0, len(where), length):
            both, shifts = where[first : first + length], moves[first : first + length]
            points = np.tile(x.reshape(-1), (len(both), 1))
            for i, move in zip(both.T, shifts.T, strict=True):
                points[np.arange(len(both)), i] = x.flat[i] + move
            places = zip(both[[0, -1]], shifts[[0, -1]], strict=True)
            values[first : first + length] = self._called(
                points.reshape(-1, *x.shape), starmap(self._point, places)
            )
        return values

"""Which step and which formula every coordinate gets."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np

from fastgrad._formulas.bounds import FIXED, Bounds, fit
from fastgrad._formulas.stencils import Stencil, tables
from fastgrad._formulas.step_sizes import BOOK_STEP, StepSizes
from fastgrad._structures import Parameters
from fastgrad._typing import Array, Floats, Integers

LOST = 1e-9
"""A step that rounding of x changes by a larger share is replaced by the step taken."""


class Plan(NamedTuple):
    """What to evaluate for some coordinates, one row each.

    Evaluation k changes coordinate r to ``value[r, k]``; shorter formulas are padded with x itself.
    `h` is its step, `which` the place of its formula. The sum of weights times values is divided by
    `divisor`: the step that x really takes, or its square for a second derivative.
    """

    value: Array
    h: Floats
    which: Integers
    divisor: Floats


class Steps:
    """Steps and formulas for the coordinates of `Parameters`.

    `stencil` is the formula wherever it fits between the bounds, from x, or from the lowest and the
    highest x in `between`; elsewhere it is one-sided, of the same order. An x that is not finite,
    or a step that is lost in rounding, is a ValueError.
    """

    def __init__(
        self,
        parameters: Parameters,
        stencil: Stencil,
        sizes: StepSizes,
        bounds: Bounds | None = None,
        *,
        between: tuple[Array, Array] | None = None,
        keep_nan: bool = False,
    ) -> None:
        self.parameters, self.sizes, self.bounds = parameters, sizes, bounds
        self.x = parameters.vector()
        self.formulas = (stencil, *stencil.sided, FIXED) if bounds else (stencil,)
        self.counts, self._offsets, self.weights, self.centers = tables(self.formulas)
        with np.errstate(all="ignore"):  # refused in words
            self._plan = self._planned(between or (self.x, self.x))
        self._check(keep_nan)

    def plan(self, block: range) -> Plan:
        """Return what to evaluate for these coordinates."""
        return Plan._make(side[block.start : block.stop] for side in self._plan)

    def _planned(self, between: tuple[Array, Array]) -> Plan:
        """Return what to evaluate for all coordinates."""
        x, every = self.x, range(len(self.x))
        h, which = self.sizes.of(every, x), np.zeros(len(x), np.int64)

        def rounded(values: Array) -> Array:
            return self.parameters.round(values.astype(x.dtype, copy=False), every)

        if self.bounds is not None:
            eps = self.parameters.eps(every)
            fit(self.formulas, between, h, which, self.bounds, eps, rounded)
        moves = rounded(self._offsets[which] * h[:, np.newaxis])
        value = rounded(x[:, np.newaxis] + moves)
        return Plan(value, h, which, self._divisor(value - x[:, np.newaxis], h, which))

    def _divisor(self, moves: Array, h: Floats, which: Integers) -> Floats:
        """Return what divides the sum: by the moves that were made where h is not one of them."""
        degree = self.formulas[0].derivative
        given, taken = h**degree, moves.astype(float) ** degree / degree
        taken = (taken * self.weights[which]).sum(axis=1)
        close = np.abs(taken - given) <= LOST * given
        return np.where(close | ~np.isfinite(taken) | (taken <= 0), given, taken)

    def _check(self, keep_nan: bool) -> None:
        """Name the first coordinate that is not finite, or that its step does not move."""
        x, (value, h, _, _) = self.x, self._plan
        finite, within = np.isfinite(x), np.isfinite(value).all(axis=1)
        moved = (value[:, 0] != x) | (self.counts[self._plan.which] == 0)
        if not (finite.all() or keep_nan):
            k = int(finite.argmin())
            raise ValueError(f"{self.parameters.name(k)} must be finite, got {x[k]}")
        step = np.isfinite(h) & ((h > 0) | (self.bounds is not None))
        for right, reason in (
            (step, "has the step {h}; every step h must be finite and above 0"),
            (within, "leaves the range of {dtype} with the step {h:.3g}; pass a smaller h or a "
             "dtype of larger range"),
            (moved, "does not move by the step {h:.3g}: x + h == x in {dtype}; pass a larger h, "
             "wider bounds or a more precise dtype"),
        ):  # fmt: skip
            if (finite & ~right).any():
                k = int((finite & ~right).argmax())
                ((leaf, _, _),) = self.parameters.split(range(k, k + 1))
                told = reason.format(h=h[k], dtype=self.parameters.dtypes[leaf])
                raise ValueError(f"{self.parameters.name(k)} = {x[k]} {told}")

    def moved_to(self, x: Array) -> Steps:
        """Return the same steps and formulas, at another x."""
        moved = copy.copy(self)
        value = x[:, np.newaxis] + (self._plan.value - self.x[:, np.newaxis])
        moved.x = x
        moved._plan = self._plan._replace(value=self.parameters.round(value, range(len(x))))
        return moved

    @property
    def eps(self) -> float:
        """The coarsest relative precision of f that the steps allow for."""
        if not self.sizes.default:
            return 1.0
        return max(self.sizes.eps, *self.parameters.epsilons, 0.0)

    def target(self) -> Array:
        """Return a long vector with the coordinates at their first and second points in turn."""
        row = np.arange(len(self.x))
        target: Array = self._plan.value[row, row % self.counts[self._plan.which].clip(1, 2)]
        return target

    def used(self) -> Any:
        """Return the step, or the structure of all steps taken where coordinates differ."""
        if self.parameters.size == 0 or (self.sizes.one is not None and self.bounds is None):
            return self.sizes.one or BOOK_STEP
        # Of the square of a number that is the root, to the bit.
        h = self._plan.divisor ** (1 / self.formulas[0].derivative)
        if self.sizes.shared and (h == h[0]).all():
            return float(h[0])
        return self.parameters.assemble(h.astype(self.parameters.dtype))

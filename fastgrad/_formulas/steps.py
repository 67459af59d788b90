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


BLOCK = 2**16
"""Coordinates that are planned together: memory for plans does not grow with x."""


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
        self._keep_nan = keep_nan
        self.x = parameters.vector()
        self._between = between or (self.x, self.x)
        self.formulas = (stencil, *stencil.sided, FIXED) if bounds else (stencil,)
        self.counts, self._offsets, self.weights, self.centers = tables(self.formulas)
        self._kept: tuple[range, Plan] | None = None
        for block in self._blocks():
            self.plan(block)

    def _blocks(self) -> list[range]:
        size = len(self.x)
        return [range(k, min(k + BLOCK, size)) for k in range(0, size, BLOCK)] or [range(0)]

    def plan(self, block: range) -> Plan:
        """Return what to evaluate for these coordinates; the last plan is kept."""
        if self._kept is not None:
            whole, plan = self._kept
            if block == whole:
                return plan
            if whole.start <= block.start and block.stop <= whole.stop:
                part = slice(block.start - whole.start, block.stop - whole.start)
                return Plan(plan.value[part], plan.h[part], plan.which[part], plan.divisor[part])
        with np.errstate(all="ignore"):  # refused in words
            plan = self._planned(block)
        self._kept = block, plan
        return plan

    def _planned(self, block: range) -> Plan:
        """Return what to evaluate for these coordinates, after a check of what that is."""
        part = slice(block.start, block.stop)
        x = self.x[part]
        h, which = self.sizes.of(block, x), np.zeros(len(x), np.int64)

        def rounded(values: Array) -> Array:
            return self.parameters.round(values.astype(x.dtype, copy=False), block)

        offsets, weights = self._offsets, self.weights
        if self.bounds is not None:
            lowest, highest = self._between
            bounds = Bounds(self.bounds.lower[part], self.bounds.upper[part])
            eps = self.parameters.eps(block)
            fit(self.formulas, (lowest[part], highest[part]), h, which, bounds, eps, rounded)
            offsets, weights = offsets[which], weights[which]
        column = x[:, np.newaxis]
        value = rounded(column + rounded(offsets * h[:, np.newaxis]))
        given, moves = h, (value - column).astype(float, copy=False)
        if self.formulas[0].derivative == 2:
            given, moves = h**2, moves**2 / 2
        taken = (moves * weights).sum(axis=1)
        close = np.abs(taken - given) < LOST * given
        if np.count_nonzero(close) == len(x):  # Then all is finite, and every coordinate moves.
            return Plan(value, h, which, given)
        self._check(block, value, h, which)
        lost = ~close & np.isfinite(taken) & (taken > 0)
        return Plan(value, h, which, np.where(lost, taken, given))

    def _check(self, block: range, value: Array, h: Floats, which: Integers) -> None:
        """Name the first coordinate that is not finite, or that its step does not move."""
        x = self.x[block.start : block.stop]
        finite, within = np.isfinite(x), np.isfinite(value).all(axis=1)
        moved = (value[:, 0] != x) | (self.counts[which] == 0)
        if not (finite.all() or self._keep_nan):
            k = int(finite.argmin())
            name = self.parameters.name(block[k])
            raise ValueError(f"{name} must be finite, got {x[k]}")
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
                ((leaf, _, _),) = self.parameters.split(block[k : k + 1])
                told = reason.format(h=h[k], dtype=self.parameters.dtypes[leaf])
                raise ValueError(f"{self.parameters.name(block[k])} = {x[k]} {told}")

    def moved_to(self, x: Array) -> Steps:
        """Return the same steps and formulas, at another x."""
        moved, every = copy.copy(self), range(len(x))
        plan = self.plan(every)
        value = x[:, np.newaxis] + (plan.value - self.x[:, np.newaxis])
        moved.x = x
        moved._kept = every, plan._replace(value=self.parameters.round(value, every))
        return moved

    @property
    def eps(self) -> float:
        """The coarsest relative precision of f that the steps allow for."""
        if not self.sizes.default:
            return 1.0
        return max(self.sizes.eps, *self.parameters.epsilons, 0.0)

    def target(self) -> Array:
        """Return a long vector with the coordinates at their first and second points in turn."""
        target = self.x.copy()
        # Formulas of one move have no second point, and those of others are padded with x.
        second = 0 if 1 in self.counts.tolist() else 1
        for block in self._blocks():
            value = self.plan(block).value
            target[block.start : block.stop : 2] = value[::2, 0]
            target[block.start + 1 : block.stop : 2] = value[1::2, second]
        return target

    def used(self) -> Any:
        """Return the step, or the structure of all steps taken where coordinates differ."""
        if self.parameters.size == 0 or (self.sizes.one is not None and self.bounds is None):
            return self.sizes.one or BOOK_STEP
        # Of the square of a number that is the root, to the bit.
        h = self.plan(range(len(self.x))).divisor ** (1 / self.formulas[0].derivative)
        if self.bounds is not None:
            h[self.bounds.fixed] = 0.0
        if self.sizes.shared and (h == h[0]).all():
            return float(h[0])
        return self.parameters.assemble(h.astype(self.parameters.dtype))

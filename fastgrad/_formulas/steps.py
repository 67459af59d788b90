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

BLOCK = 2**14
"""Coordinates that are planned at a time, at most: memory stays flat."""


class Plan(NamedTuple):
    """What to evaluate for some coordinates, one row each.

    Attributes
    ----------
    value : ndarray, shape (rows, width)
        ``value[r, k]`` is what coordinate r is changed to for evaluation k of its formula. Shorter
        formulas are padded with x itself.
    h, which : ndarray
        The step of each coordinate, and the place of its formula.
    divisor : ndarray
        What the sum of weights times values is divided by: ``h``, or ``h**2`` for a second
        derivative, of the step that x really takes.
    """

    value: Array
    h: Floats
    which: Integers
    divisor: Floats

    def part(self, rows: slice) -> Plan:
        """Return the plan of some of the coordinates."""
        return Plan(self.value[rows], self.h[rows], self.which[rows], self.divisor[rows])


class Steps:
    """Steps and formulas for the coordinates of `Parameters`, worked out block by block.

    Parameters
    ----------
    parameters : Parameters
        Where the derivative is taken.
    stencil : Stencil
        The formula wherever it fits between the bounds.
    sizes : StepSizes
        How long the steps are to be.
    bounds : Bounds, optional
        Nothing outside is evaluated.
    between : tuple of two ndarray, optional
        The lowest and the highest x that the formula is used at: it stays within the bounds from
        all of these.

    Attributes
    ----------
    x : ndarray
        A copy of x as one long vector.
    formulas : tuple of Stencil
        `stencil`, and with bounds the two one-sided formulas of its order, and `FIXED`.
    counts, weights, centers : ndarray
        How many evaluations each formula needs, their weights in one row, padded with zeros, and
        the weight of f(x) itself.

    Raises
    ------
    ValueError
        If x is not finite, or a step is lost in rounding.
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
        self._between, self._keep_nan = between, keep_nan
        self.formulas = (stencil, *stencil.sided, FIXED) if bounds else (stencil,)
        self.counts, self._offsets, self.weights, self.centers = tables(self.formulas)
        self._whole: Plan | None = None
        for block in blocks(parameters.size):
            plan = self.plan(block)
            self._check(block, plan)
            if len(block) == parameters.size:
                self._whole = plan

    def plan(self, block: range) -> Plan:
        """Return what to evaluate for these coordinates."""
        whole, part = self._whole, slice(block.start, block.stop)
        if whole is not None:
            return whole if len(block) == len(self.x) else whole.part(part)
        x = self.x[part]
        with np.errstate(all="ignore"):  # refused in words
            return self._plan(block, x, self.sizes.of(block, x))

    def _plan(self, block: range, x: Array, h: Floats) -> Plan:
        which = np.zeros(len(x), np.int64)
        if self.bounds is None and self.parameters.one_dtype:
            value = x[:, np.newaxis] + (self._offsets * h[:, np.newaxis]).astype(
                x.dtype, copy=False
            )
            return Plan(value, h, which, self._divisor(value, x, h, which))

        def rounded(values: Array) -> Array:
            return self.parameters.round(values.astype(x.dtype, copy=False), block)

        if self.bounds is not None:
            ends = (x, x) if self._between is None else self._between
            part = slice(block.start, block.stop) if self._between is not None else slice(None)
            between = ends[0][part], ends[1][part]
            eps = self.parameters.eps(block)
            fit(self.formulas, between, h, which, self.bounds.part(block), eps, rounded)
        moves = rounded(self._offsets[which] * h[:, np.newaxis])
        value = rounded(x[:, np.newaxis] + moves)
        return Plan(value, h, which, self._divisor(value, x, h, which))

    def _divisor(self, value: Array, x: Array, h: Floats, which: Integers) -> Floats:
        """Return what divides the sum: by the steps that were taken where h is not one of them."""
        degree = self.formulas[0].derivative
        # Rounding moves x by eps |x| at most.
        if len(x) and max(self.parameters.epsilons) * abs(x).max() < LOST * h.min():
            return h**degree if degree > 1 else h
        taken = (value - x[:, np.newaxis]).astype(float) ** degree / degree
        taken = (taken * self.weights[which]).sum(axis=1)
        given = h**degree
        close = np.abs(taken - given) <= LOST * given
        return np.where(close | ~np.isfinite(taken) | (taken <= 0), given, taken)

    def _check(self, block: range, plan: Plan) -> None:
        """Name the first coordinate that is not finite, or that its step does not move."""
        x, h = self.x[block.start : block.stop], plan.h
        moved = (plan.value[:, 0] != x) | (self.counts[plan.which] == 0)
        # Of a sum that is finite all terms are; it may overflow, and then each is looked at.
        with np.errstate(all="ignore"):
            if moved.all() and np.isfinite(plan.value.sum()) and h.min(initial=1.0) > 0:
                return
        finite, within = np.isfinite(x), np.isfinite(plan.value).all(axis=1)
        if not (finite.all() or self._keep_nan):
            k = int(finite.argmin())
            raise ValueError(f"{self.parameters.name(block[k])} must be finite, got {x[k]}")
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
                name = self.parameters.name(block[k])
                ((leaf, _, _),) = self.parameters.split(block[k : k + 1])
                told = reason.format(h=h[k], dtype=self.parameters.dtypes[leaf])
                raise ValueError(f"{name} = {x[k]} {told}")

    def moved_to(self, x: Array) -> Steps:
        """Return the same steps and formulas, at another x."""
        plan = [self.plan(block) for block in blocks(len(x))]
        moved = copy.copy(self)
        moved.x = x
        whole = Plan(*(np.concatenate(side) for side in zip(*plan, strict=True)))
        moves = whole.value - self.x[:, np.newaxis]
        value = self.parameters.round(x[:, np.newaxis] + moves, range(len(x)))
        moved._whole = whole._replace(value=value)
        return moved

    @property
    def eps(self) -> float:
        """The coarsest relative precision of f that the steps allow for."""
        if not self.sizes.default:
            return 1.0
        return max(self.sizes.eps, *self.parameters.epsilons, 0.0)

    def target(self) -> Array:
        """Return a long vector with the coordinates at their first and second points in turn."""
        parts = [self.x[:0]]
        for block in blocks(len(self.x)):
            plan, row = self.plan(block), np.arange(len(block))
            parts.append(plan.value[row, row % self.counts[plan.which].clip(1, 2)])
        return np.concatenate(parts)

    def used(self) -> Any:
        """Return the step, or the structure of all steps taken where coordinates differ."""
        if self.parameters.size == 0 or (self.sizes.one is not None and self.bounds is None):
            return self.sizes.one or BOOK_STEP
        plans = [self.plan(block) for block in blocks(self.parameters.size)]
        # Of the square of a number that is the root, to the bit.
        h = np.concatenate([p.divisor for p in plans]) ** (1 / self.formulas[0].derivative)
        if self.sizes.shared and (h == h[0]).all():
            return float(h[0])
        return self.parameters.assemble(h.astype(self.parameters.dtype))


def blocks(size: int) -> list[range]:
    """Return coordinates in blocks that are planned together."""
    return [range(k, min(k + BLOCK, size)) for k in range(0, size, BLOCK)]

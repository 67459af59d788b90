"""Which step and which formula every coordinate gets."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from fastgrad._typing import Array, Floats, Integers
from fastgrad.bounds import check_inside, fit, pairs
from fastgrad.objectives.values import REAL
from fastgrad.stencils import Stencil, moves, tables
from fastgrad.step_sizes import BOOK_STEP, StepSizes, refuse
from fastgrad.structures import Parameters


class Plan(NamedTuple):
    """What to evaluate for some coordinates: one row each, or one row for all of them.

    ``x[r] + moves[r, k]`` is the value that coordinate r takes in evaluation k of its formula,
    ``formulas[which[r]].moves[k]``; the sum of weights times values is divided by ``h[r]``.
    `moves` has the dtype of x, shorter formulas are padded.
    """

    moves: Array
    h: Floats
    which: Integers

    def move(self, row: int, k: int) -> Any:
        """Return how far coordinate `row` is moved for evaluation `k`, in the dtype of x."""
        return self.moves[min(row, len(self.moves) - 1), k]

    def of(self, rows: Any) -> Plan:
        """Return the plan of some of its coordinates."""
        if len(self.moves) == 1:
            return self
        return Plan(self.moves[rows], self.h[rows], self.which[rows])


class Steps:
    """Steps and formulas for the coordinates of `Parameters`, worked out piece by piece.

    Parameters
    ----------
    parameters : Parameters
        Where the derivative is taken.
    stencil : Stencil
        The formula wherever it fits between the bounds.
    h, relative_step
        As for `StepSizes`.
    bounds : tuple or None
        ``(lower, upper)``, numbers or structures like x: nothing outside is evaluated.
    between : tuple of two lists of ndarray, optional
        Arrays like those of x, the lowest and the highest that x will be moved to as a whole:
        one formula is chosen that stays within the bounds from all of these.

    Attributes
    ----------
    formulas : tuple of Stencil
        `stencil`, and with bounds the two one-sided formulas of its order.
    counts, weights, centers : ndarray
        How many evaluations each formula needs, their weights in one row, padded with zeros, and
        the weight of f(x) itself.
    needs_value : bool
        Whether a formula uses f(x) itself, which is then evaluated once for all coordinates.

    Raises
    ------
    TypeError, ValueError
        If the steps or `bounds` are no steps and bounds, if x is not finite, if a coordinate lies
        outside its bounds or has no room between them, or if a step is lost in rounding.
    """

    def __init__(
        self,
        parameters: Parameters,
        stencil: Stencil,
        h: Any,
        bounds: tuple[object, object] | None,
        relative_step: float | None = None,
        between: tuple[list[Array], list[Array]] | None = None,
    ) -> None:
        self.sizes = StepSizes(parameters, h, relative_step)
        self.bounds = pairs(parameters, bounds)
        self._between = between
        self.formulas = (stencil, *stencil.sided) if self.bounds else (stencil,)
        table = tables(self.formulas) if self.bounds else stencil.table
        self.counts, self._offsets, self.weights, self.centers = table
        self.needs_value = any(self.centers.tolist())
        # The plan of each array whose coordinates all have one step and one formula.
        self._shared: list[Plan | None] = []
        self._validate(parameters)

    kinds = REAL
    """Of the dtypes that f may return."""

    def value(self, evaluate: Callable[[], Any]) -> Any:
        """Return f(x)."""
        return evaluate()

    def evaluated(self, plan: Plan, rows: int) -> Array:
        """Tell which moves of a plan are no padding, shape (rows, width)."""
        counts = self.counts[plan.which, np.newaxis]
        width = self.weights.shape[1]
        return np.broadcast_to(np.arange(width) < counts, (rows, width))

    def moves(self, plan: Plan) -> Iterable[list[float]]:
        """Return the moves of each coordinate of a plan, without padding."""
        rows = plan.moves.tolist()
        if len(self.counts) > 1:
            counts = self.counts[plan.which].tolist()
            rows = [row[:count] for row, count in zip(rows, counts, strict=True)]
        return repeat(rows[0]) if len(rows) == 1 else rows

    def combine(self, plan: Plan, values: Array, out: Array, value: Any) -> None:
        """Write the derivatives of a plan's coordinates to `out`.

        Parameters
        ----------
        plan : Plan
            What was evaluated.
        values : ndarray, shape (evaluations, *outputs)
            f for all moves of the plan that are `evaluated`.
        out : ndarray, shape (coordinates, *outputs)
        value : float or ndarray
            f(x), where a formula needs it; of a shape that goes with that of `out`.
        """
        shape = len(out), self.weights.shape[1], *values.shape[1:]
        # The weight of a coordinate is that of all its outputs.
        beside = (slice(None),) + (np.newaxis,) * (values.ndim - 1)
        weights: Any
        centers: Any
        if len(self.formulas) == 1:
            columns = values.reshape(shape)
            weights, centers = self.weights[0].tolist(), self.formulas[0].center
        else:
            columns = np.zeros(shape, values.dtype)
            columns[self.evaluated(plan, len(out))] = values
            weights = self.weights.T[:, plan.which][(slice(None), *beside)]
            centers = self.centers[plan.which][beside]
        # Term by term, as the formula is written: a matrix product would round differently.
        totals = weights[0] * columns[:, 0]
        for k in range(1, shape[1]):
            totals += weights[k] * columns[:, k]
        if self.needs_value:
            totals += np.where(centers, centers * value, 0.0)
        h = plan.h if self.formulas[0].derivative == 1 else plan.h**2
        np.divide(totals, h[beside], out=out)

    def plan(self, parameters: Parameters, leaf: int, indices: range) -> Plan:
        """Return what to evaluate for these coordinates of a leaf."""
        shared = self._shared[leaf]
        if shared is not None:
            return shared
        x = parameters.leaves[leaf].flat[indices.start : indices.stop]
        h = self.sizes.of(leaf, indices, x)
        which = np.zeros(len(x), np.int64)
        if self.bounds is not None:
            lower, upper = (side[indices.start : indices.stop] for side in self.bounds[leaf])
            fit(self.formulas, self._ends(leaf, indices, x), h, which, lower, upper)
        return Plan(moves(self._offsets[which], h, x.dtype), h, which)

    def _ends(self, leaf: int, indices: range, x: Array) -> tuple[Array, Array]:
        """Return the lowest and the highest values of some coordinates to move from."""
        if self._between is None:
            return x, x
        low, high = (side[leaf].flat[indices.start : indices.stop] for side in self._between)
        return low, high

    @property
    def one_step(self) -> float | None:
        """The step of all coordinates, where they share one."""
        return None if None in self._shared else self.sizes.one or BOOK_STEP

    def used(self, parameters: Parameters) -> Any:
        """Return the step, or the structure of all steps where coordinates differ."""
        if self.one_step is not None:
            return self.one_step
        h = np.empty(parameters.size)
        for leaf, indices, where in parameters.pieces(range(parameters.size)):
            h[where] = self.plan(parameters, leaf, indices).h
        return parameters.assemble(h)

    def evaluations(self, parameters: Parameters) -> int:
        """Return how often f is evaluated for all coordinates, f(x) itself left out."""
        if self.bounds is None:
            return int(self.counts[0]) * parameters.size
        return sum(
            int(self.evaluated(self.plan(parameters, leaf, indices), len(indices)).sum())
            for leaf, indices, _ in parameters.pieces(range(parameters.size))
        )

    def _validate(self, parameters: Parameters) -> None:
        """Look at all coordinates before anything is evaluated."""
        sizes, formula, sure = self.sizes, self.formulas[0], True
        share = self.bounds is None and (sizes.default or sizes.one is not None)
        for x in parameters.leaves:
            plan, limit = None, -1.0
            if share and (sizes.one is not None or x.dtype.itemsize >= 8):
                step = sizes.one or BOOK_STEP
                plan, limit = one_for_all(formula.moves, formula.reach, step, x.dtype)
            self._shared.append(plan)
            sure = sure and within(x, limit)
        if not sure:
            # What overflows is refused in words.
            with np.errstate(over="ignore", invalid="ignore"):
                self._validate_each(parameters)

    def _validate_each(self, parameters: Parameters) -> None:
        """Look at each coordinate, to name the first that cannot be moved."""
        self.sizes.check(parameters)
        if self.bounds is not None:
            check_inside(parameters, self.bounds)
        for leaf, indices, where in parameters.pieces(range(parameters.size)):
            x = parameters.leaves[leaf].flat[indices.start : indices.stop]
            refused = partial(refuse, parameters, where.start, x)
            moves, h, _ = self.plan(parameters, leaf, indices)
            steps = np.broadcast_to(h, x.shape)
            refused(
                ~np.isfinite(x[:, np.newaxis] + moves).all(axis=1),
                f"= {{x}} leaves the range of {x.dtype} with the step {{h:.3g}}; pass a smaller h "
                "or a dtype of larger range",
                steps,
            )
            refused(
                x + moves[:, 0] == x,
                "= {x} does not move by the step {h:.3g}: x + h == x in " + str(x.dtype) + "; pass "
                "a larger h, wider bounds or a more precise dtype",
                steps,
            )


@functools.lru_cache(maxsize=64)
def one_for_all(
    ways: tuple[tuple[float, float], ...], reach: float, h: float, dtype: np.dtype[Any]
) -> tuple[Plan, float]:
    """Return the plan of coordinates of that dtype that share the step and the formula.

    And up to which |x| they are sure to move and to stay finite; below 0 if it is not sure of any.
    """
    offsets, step = np.array([[offset for offset, _ in ways]]), np.array([h])
    with np.errstate(all="ignore"):  # What overflows has no room, and what underflows is 0.
        plan = Plan(moves(offsets, step, dtype), step, np.zeros(1, np.int64))
    info = np.finfo(dtype)
    room = float(min(info.max, np.finfo(float).max)) - h * reach
    # The distance to the next number is at most eps |x|.
    surely = room > 0 and dtype.type(h) > 0
    return plan, min(room, h / (2 * float(info.eps))) if surely else -1.0


def within(x: Array, limit: float) -> bool:
    """Tell whether all of x is finite and no larger than that: a look at its ends."""
    # Where they stand is found sooner than how large |x| is, and without a copy.
    return not x.size or bool(-limit <= x.item(x.argmin()) and x.item(x.argmax()) <= limit)

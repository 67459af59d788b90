"""The complex step: x moves along the imaginary axis, and nothing is subtracted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastgrad._typing import Array, Floats
from fastgrad.objectives.values import COMPLEX
from fastgrad.step_sizes import StepSizes
from fastgrad.steps import Plan, Steps
from fastgrad.structures import Parameters

COMPLEX_STEP = 1e-20

LEAST_STEP = 1e-292
"""With a smaller one f's imaginary part would lose digits: tiny numbers have fewer of them."""


class ComplexSteps(Steps):
    """Steps along the imaginary axis, for objectives that move a complex copy of x.

    By default ``1e-20 * min(1, |x|)``, and 1e-20 where x is 0. What is neglected is of the size of
    ``h**2 f'''(x) / 6``, so that the step has to be small beside x, where f changes over lengths
    of the size of x, and beside 1. Being small costs nothing: nothing is subtracted.

    Parameters
    ----------
    parameters : Parameters
        The caller's x.
    h, relative_step
        As for `StepSizes`.
    bounds : None
        Anything else is refused.
    """

    kinds = COMPLEX

    def __init__(
        self, parameters: Parameters, h: Any, relative_step: float | None, bounds: object
    ) -> None:
        refuse_bounds(bounds)
        self.sizes, self.bounds = StepSizes(parameters, h, relative_step), None
        self.sizes.check(parameters)
        self.counts, self.weights = np.ones(1, np.int64), np.ones((1, 1))
        self._step = max(self.sizes.one or 0.0, LEAST_STEP)
        self._real = parameters.leaves
        # f(x) is evaluated first, to see what else f reads.
        self.needs_value = parameters.size > 0

    def __getstate__(self) -> dict[str, Any]:
        """Leave the caller's x out of what travels to workers: f(x) is known by then."""
        return {**vars(self), "_real": []}

    def value(self, evaluate: Callable[[], Any]) -> Any:
        """Return f(x), and refuse an f that reads x otherwise than by its argument.

        Only the argument is complex: by what reaches f on another way the derivative would be
        wrong without a word. So f is called while the caller's x holds nothing but NaN.
        """
        value = self._while_x_is_nan(evaluate)
        if np.isfinite(value).all():
            return value
        again = evaluate()
        if (np.isfinite(again) & ~np.isfinite(value)).any():
            raise TypeError(
                "f reads x in another way than by its argument (from outside, or from args), "
                "where it stays real; let f use its argument alone, or pass another stencil"
            )
        return again

    def _while_x_is_nan(self, evaluate: Callable[[], Any]) -> Any:
        """Return f at the complex copy of x while x itself is NaN; NaN if f raises then."""
        saved = [leaf.copy() for leaf in self._real]
        try:
            for leaf in self._real:
                leaf.fill(math.nan)
            return evaluate()
        except Exception:
            return math.nan
        finally:
            for leaf, copy in zip(self._real, saved, strict=True):
                leaf[...] = copy

    @property
    def one_step(self) -> float | None:
        """The step of all coordinates, where they share one."""
        return None if self.sizes.one is None else self._step

    def plan(self, parameters: Parameters, leaf: int, indices: range) -> Plan:
        """Return how far to go from these coordinates of a leaf, of x or of its complex copy."""
        x = parameters.leaves[leaf].flat[indices.start : indices.stop].real
        if self.sizes.default:
            h = COMPLEX_STEP * np.where(x == 0, 1.0, np.minimum(1.0, np.abs(x))).astype(float)
        else:
            h = self.sizes.of(leaf, indices, x)
        h = np.maximum(h, LEAST_STEP)
        # -0.0 is what can be added to any number, 0.0 and -0.0 too, and leaves its bits alone.
        moves = np.full((len(h), 1), -0.0, np.result_type(x.dtype, complex))
        moves.imag[:, 0] = h
        return Plan(moves, h, np.zeros(len(h), np.int64))

    def combine(self, plan: Plan, values: Array, out: Array, value: Any) -> None:
        """Write ``Im f(x + ih) / h`` to `out`; parameters as for `Steps`."""
        h: Floats = plan.h.reshape(-1, *(1,) * (values.ndim - 1))
        out[:] = values.imag / h


def refuse_bounds(bounds: object) -> None:
    """Refuse bounds, which mean nothing to the complex step."""
    if bounds is not None:
        raise ValueError(
            f"bounds do not matter where stencil='complex', got {bounds!r}: the real part of x "
            "never moves; leave them out"
        )

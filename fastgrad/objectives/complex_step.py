"""Derivatives of analytic functions by a step along the imaginary axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastgrad._typing import Array, Floats
from fastgrad.objectives.base import OneEach
from fastgrad.objectives.values import complex_number, explain, not_finite
from fastgrad.step_sizes import StepSizes
from fastgrad.structures import Parameters, entries

COMPLEX_STEP = 1e-20

LEAST_STEP = 1e-292
"""With a smaller one f's imaginary part would lose digits: tiny numbers have fewer of them."""


class ComplexSteps:
    """Steps along the imaginary axis.

    By default ``1e-20 * min(1, |x|)``, and 1e-20 where x is 0. What is neglected is of the size of
    ``h**2 f'''(x) / 6``, so that the step has to be small beside x, where f changes over lengths
    of the size of x, and beside 1. Being small costs nothing: nothing is subtracted.

    Parameters
    ----------
    parameters, h, relative_step
        As for `StepSizes`.
    """

    def __init__(self, parameters: Parameters, h: Any, relative_step: float | None) -> None:
        self.sizes = StepSizes(parameters, h, relative_step)
        self.sizes.check(parameters)

    def of(self, parameters: Parameters, leaf: int, indices: range) -> Floats:
        """Return the steps of some coordinates of a leaf."""
        x = parameters.leaves[leaf].flat[indices.start : indices.stop]
        if self.sizes.default:
            h = COMPLEX_STEP * np.where(x == 0, 1.0, np.minimum(1.0, np.abs(x))).astype(float)
        else:
            h = self.sizes.of(leaf, indices, x)
        return np.maximum(h, LEAST_STEP)

    def used(self, parameters: Parameters) -> Any:
        """Return the step, or the structure of all steps where coordinates may differ."""
        if self.sizes.one is not None:
            return self.sizes.one
        pieces = parameters.pieces(range(parameters.size))
        h = [self.of(parameters, leaf, indices) for leaf, indices, _ in pieces]
        return parameters.assemble(np.concatenate(h) if h else np.empty(0))

    def evaluations(self, parameters: Parameters) -> int:
        """Return how often f is evaluated for all coordinates."""
        return parameters.size


class ComplexStep(OneEach):
    """``Im f(x + ih) / h`` as an objective; one work item is one coordinate.

    Parameters
    ----------
    f : callable
        Takes a complex copy of x and returns a complex number.
    parameters : Parameters
        x, which stays as it is.
    steps : ComplexSteps
        How far to go.
    keep : bool
        Whether values that are not finite are kept, not refused.
    """

    shareable = False  # Blocks side by side would move the same copy.

    def __init__(
        self, f: Callable[[Any], Any], parameters: Parameters, steps: ComplexSteps, keep: bool
    ) -> None:
        self.f, self.parameters, self.steps, self.keep = f, parameters, steps, keep
        self.items = self.size = parameters.size
        self.dtype = parameters.dtype
        leaves = parameters.leaves
        self.leaves = [leaf.astype(np.result_type(leaf.dtype, np.complex128)) for leaf in leaves]
        self.z = parameters.rebuild(self.leaves)
        self.evaluations = 0
        self.value = math.nan
        if self.size:
            self.evaluate()

    def evaluate(self) -> None:
        """Set ``value`` to f(x), and refuse an f that reads x otherwise than by its argument.

        Only the argument is complex: by what reaches f on another way the derivative would be
        wrong without a word. So f is called while the caller's x holds nothing but NaN.
        """
        value = self._while_x_is_nan()
        if not np.isfinite(value):
            self.evaluations += 1
            again = complex_number(self.f(self.z))
            if np.isfinite(again):
                raise TypeError(
                    "f reads x in another way than by its argument (from outside, or from args), "
                    "where it stays real; let f use its argument alone, or pass another stencil"
                )
            if not self.keep:
                raise not_finite(again, "x")
        self.value = float(value.real)

    def _while_x_is_nan(self) -> complex:
        """Return f at the complex copy of x while x itself is NaN; NaN if f raises then."""
        saved = [leaf.copy() for leaf in self.parameters.leaves]
        self.evaluations += 1
        try:
            for leaf in self.parameters.leaves:
                leaf.fill(math.nan)
            return complex_number(self.f(self.z))
        except Exception:
            return complex(math.nan)
        finally:
            for leaf, copy in zip(self.parameters.leaves, saved, strict=True):
                leaf[...] = copy

    def cost(self) -> None:
        """Return None: how long f takes is seen when it is called."""

    def prepare(self) -> bool:
        """Nothing to prepare: f sees its argument and nothing else of x."""
        return True

    def verify(self) -> None:
        """Nothing to verify, for the same reason."""

    def partials(self, block: range, out: Array) -> None:
        """Write the block's partial derivatives."""
        # The first piece is one coordinate: how long f takes is not known yet.
        for leaf, indices, where in self.parameters.pieces(block, 1):
            h = self.steps.of(self.parameters, leaf, indices)
            first = block.start + where.start
            values = self._evaluate(leaf, indices, h, first)
            if not (self.keep or np.isfinite(values).all()):
                k = int(np.isfinite(values).argmin())
                raise not_finite(values[k], self._place(first + k, h[k]))
            out[where] = values.imag / h

    def _evaluate(self, leaf: int, indices: range, h: Floats, first: int) -> Array:
        """Return f at x with one coordinate after the other moved along the imaginary axis."""
        entry = entries(self.leaves[leaf].imag)
        values = []
        for i, step in zip(indices, h.tolist(), strict=True):
            entry[i] = step
            try:
                values.append(complex_number(self.f(self.z)))
            except Exception as error:
                explain(error, self._place(first + len(values), step))
                raise
            finally:
                entry[i] = 0.0
        return np.array(values)

    def _place(self, coordinate: int, step: float) -> str:
        """Return words for where a coordinate has been moved."""
        return f"{self.parameters.name(coordinate)} moved by {step:.3g}j"

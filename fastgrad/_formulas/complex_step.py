"""The complex step: x moves along the imaginary axis, and nothing is subtracted."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastgrad._formulas.step_sizes import StepSizes
from fastgrad._formulas.steps import Plan
from fastgrad._structures import Parameters
from fastgrad._typing import Array, Floats

COMPLEX_STEP = 1e-20

LEAST_STEP = 1e-292
"""With a smaller one f's imaginary part would lose digits: tiny numbers have fewer of them."""


def complex_steps(x: Array, eps: float) -> Floats:
    """Return the default steps, small beside x and beside 1: nothing is subtracted."""
    return COMPLEX_STEP * np.where(x == 0, 1.0, np.minimum(1.0, np.abs(x))).astype(float)


class ComplexSteps:
    """Steps along the imaginary axis, for `Coordinates`: ``Im f(x + ih) / h``."""

    counts, weights, centers = np.ones(1, np.int64), np.ones((1, 1)), np.zeros(1)
    formulas, bounds = (None,), None

    eps = 1.0
    """No precision of f asks for another step."""

    def __init__(self, parameters: Parameters, sizes: StepSizes) -> None:
        self.parameters, self.sizes = parameters, sizes
        x = parameters.vector_of(parameters.rebuild(parameters.leaves), "x")
        self.x = x.astype(np.result_type(parameters.dtype, complex))
        h = sizes.of(range(parameters.size), x)
        usable = np.isfinite(h) & ((h > 0) | sizes.default)
        if not usable.all():
            k = int(usable.argmin())
            raise ValueError(
                f"{parameters.name(k)} = {x[k]} has the step {h[k]}; every step h must be finite "
                "and above 0"
            )
        self._h = np.maximum(h, LEAST_STEP)

    def plan(self, block: range) -> Plan:
        """Return what to evaluate for these coordinates."""
        part = slice(block.start, block.stop)
        h, value = self._h[part], self.x[part, np.newaxis].copy()
        value.imag[:, 0] = h
        return Plan(value, h, np.zeros(len(h), np.int64), h)

    def target(self) -> Array:
        """Return a long vector near x."""
        x: Array = self.x.real
        return x + 1e-4 * np.maximum(1, np.abs(x))

    def used(self) -> Any:
        """Return the step, or the structure of all steps where coordinates differ."""
        if self.sizes.one is not None:
            return max(self.sizes.one, LEAST_STEP)
        return self.parameters.assemble(self._h.astype(self.parameters.dtype))


def refuse_bounds(bounds: object) -> None:
    """Refuse bounds, which mean nothing to the complex step."""
    if bounds is not None:
        raise ValueError(
            f"bounds do not matter where stencil='complex', got {bounds!r}: the real part of x "
            "never moves; leave them out"
        )

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
    formulas = (None,)
    bounds = None

    def __init__(self, parameters: Parameters, sizes: StepSizes) -> None:
        self.parameters, self.sizes = parameters, sizes
        self.x = parameters.vector().astype(np.result_type(parameters.dtype, complex))
        finite = np.isfinite(self.x)
        if not finite.all():
            k = int(finite.argmin())
            raise ValueError(f"{parameters.name(k)} must be finite, got {self.x[k].real}")
        h = sizes.of(range(parameters.size), self.x.real)
        usable = np.isfinite(h) & (h > 0)
        if not (usable.all() or sizes.default):
            k = int(usable.argmin())
            raise ValueError(
                f"{parameters.name(k)} = {self.x[k].real} has the step {h[k]}; every step h must "
                "be finite and above 0"
            )

    def plan(self, block: range) -> Plan:
        """Return what to evaluate for these coordinates."""
        x = self.x[block.start : block.stop]
        h = np.maximum(self.sizes.of(block, x.real), LEAST_STEP)
        value = x[:, np.newaxis].copy()
        value.imag[:, 0] = h
        return Plan(value, h, np.zeros(len(h), np.int64), h)

    eps = 1.0
    """No precision of f asks for another step."""

    def target(self) -> Array:
        """Return a long vector near x."""
        x = self.x.real
        target: Array = x + 1e-4 * np.maximum(1, np.abs(x))
        return target

    def used(self) -> Any:
        """Return the step, or the structure of all steps where coordinates differ."""
        h = self.plan(range(self.parameters.size)).h
        if self.sizes.one is not None:
            return max(self.sizes.one, LEAST_STEP)
        return self.parameters.assemble(h.astype(self.parameters.dtype))


def refuse_bounds(bounds: object) -> None:
    """Refuse bounds, which mean nothing to the complex step."""
    if bounds is not None:
        raise ValueError(
            f"bounds do not matter where stencil='complex', got {bounds!r}: the real part of x "
            "never moves; leave them out"
        )

"""How long the step of each coordinate is to be, before bounds shorten it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastgrad._checks import positive
from fastgrad._structures import Parameters
from fastgrad._typing import Array, Floats

BOOK_STEP = 1e-4

EPS = float(np.finfo(float).eps)

BOOK_RANGE = 10.0
"""Up to this |x| the book's step is taken; beyond, rounding of x would spoil it."""

Default = Callable[[Array, float], Floats]
"""Takes coordinates and their relative precision, returns their steps."""


def first_steps(x: Array, eps: float) -> Floats:
    """Return the default steps of first derivatives: the book's 1e-4 wherever that is good.

    That is float64 with ``|x| <= 10``. Below float64 it is ``eps**(1/3)``, at which truncation and
    rounding are about equal. From there on steps grow with |x|, as powers of 2: x + h is exact.
    """
    unit, reach = (BOOK_STEP, BOOK_RANGE) if eps <= EPS else (np.cbrt(eps), 1.0)
    size, h = np.abs(x) / reach, np.empty(len(x))
    h.fill(unit)
    small = size <= 1.0
    if np.count_nonzero(small) < len(x):
        large = ~small
        # |x| of infinity is refused later, in words.
        with np.errstate(over="ignore", invalid="ignore"):
            h[large] = np.exp2(np.round(np.log2(unit * size[large])))
    return h


def second_steps(order: int) -> Default:
    """Return what returns the default steps of second derivatives; see `hessian`."""

    def steps(x: Array, eps: float) -> Floats:
        h = eps ** (1 / (order + 2)) * np.maximum(1, np.abs(x))
        return np.asarray((x + h) - x, float)

    return steps


class StepSizes:
    """The steps that the caller asked for: `h`, or ``relative_step * |x|``, or those of `default`.

    `eps` is the precision of f, where coarser than that of x, `one` the step of all, or None.
    """

    def __init__(
        self,
        parameters: Parameters,
        h: Any,
        relative_step: float | None,
        default: Default = first_steps,
        eps: float = 0.0,
    ) -> None:
        self._parameters, self._default, self.eps = parameters, default, eps
        self.one: float | None = None
        self._each: Floats | None = None
        self._relative: float | None = None
        if relative_step is not None:
            if h is not None:
                raise ValueError(
                    f"pass h or relative_step, not both; got {h!r} and {relative_step!r}"
                )
            self._relative = positive("relative_step", relative_step)
        elif h is not None and (isinstance(h, str) or not hasattr(h, "__len__")):
            self.one = positive("h", h)
        elif h is not None:
            self._each = parameters.spread(h, "h")

    @property
    def default(self) -> bool:
        """Whether the caller asked for no steps."""
        return self.shared and self.one is None

    @property
    def shared(self) -> bool:
        """Whether the caller asked for no step of each coordinate."""
        return self._each is None and self._relative is None

    def of(self, block: range, x: Array) -> Floats:
        """Return the steps of some coordinates, whose values are `x`, as a new array."""
        if self.one is not None:
            return np.full(len(x), self.one)
        if self._each is not None:
            return self._each[block.start : block.stop].copy()
        h = np.empty(len(x))
        for leaf, _, where in self._parameters.split(block):
            eps = max(self._parameters.epsilons[leaf], self.eps)
            if self._relative is None:
                h[where] = self._default(x[where], eps)
            else:  # An f of size 1 sees no steps below eps.
                size = np.where(x[where] == 0, 1.0, np.abs(x[where]))
                h[where] = np.maximum(self._relative * size, min(self._relative, eps))
        return h

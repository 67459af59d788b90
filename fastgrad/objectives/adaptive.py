"""Any Python callable, with a step for each coordinate that is found while it is evaluated."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastgrad.adaptive import Estimate, Line, auto, quick
from fastgrad.bounds import pairs
from fastgrad.extrapolation import NotFiniteError
from fastgrad.objectives.black_box import BlackBox
from fastgrad.objectives.values import explain, not_finite, number
from fastgrad.structures import Parameters, entries

RULES: dict[str, Callable[[Line], Estimate]] = {"auto": auto, "quick": quick}


class Adaptive(BlackBox):
    """``f(x)`` as an objective; one work item is one coordinate.

    What is written for each is an `fastgrad.adaptive.Estimate`: the vector is a structured array.

    Parameters
    ----------
    f : callable
        As for `BlackBox`.
    parameters : Parameters
        x.
    rule : {"auto", "quick"}
        How steps are chosen.
    bounds : tuple or None
        As for `fastgrad.steps.Steps`.
    keep : bool
        Whether derivatives next to values that are not finite are NaN, not refused.

    Raises
    ------
    ValueError
        If x is not finite, lies outside its bounds, or has no room between them.
    """

    def __init__(
        self,
        f: Callable[[Any], Any],
        parameters: Parameters,
        rule: str,
        bounds: tuple[object, object] | None,
        keep: bool,
    ) -> None:
        self.f, self.parameters, self.rule, self.keep = f, parameters, rule, keep
        self.bounds = pairs(parameters, bounds)
        number_type = parameters.dtype
        self.dtype = np.dtype(
            [("derivative", number_type), ("error", number_type), ("step", float), ("count", int)]
        )
        self.evaluations = 0
        self.value = math.nan
        self._validate()
        self.evaluate()

    def evaluate(self) -> None:
        """Set ``value`` to f(x)."""
        self._set_value(self._counted())

    def _read(self, returned: Any) -> float:
        return number(returned)

    def _validate(self) -> None:
        """Look at all coordinates before anything is evaluated."""
        for leaf, indices, where in self.parameters.pieces(range(self.size)):
            for k, i in enumerate(indices):
                x = self.parameters.leaves[leaf].flat[i]
                lower, upper = self._limits(leaf, i)
                name = self.parameters.name
                if not math.isfinite(x):
                    raise ValueError(f"{name(where.start + k)} must be finite, got {x}")
                if not lower <= x <= upper:
                    raise ValueError(
                        f"{name(where.start + k)} must lie within its bounds, {lower} to {upper}, "
                        f"got {x}"
                    )
                line = self._line(leaf, i)
                if line.most[line.roomy] < 16 * line.least:
                    raise ValueError(
                        f"{name(where.start + k)} = {x} has no room between its bounds, {lower} "
                        f"and {upper}; pass wider bounds or a more precise dtype"
                    )

    def _limits(self, leaf: int, i: int) -> tuple[float, float]:
        """Return the bounds of a coordinate: at least those of its dtype."""
        largest = float(np.finfo(self.parameters.leaves[leaf].dtype).max)
        if self.bounds is None:
            return -largest, largest
        lower, upper = (float(side[i]) for side in self.bounds[leaf])
        return max(lower, -largest), min(upper, largest)

    def _line(self, leaf: int, i: int) -> Line:
        """Return f along a coordinate."""
        array = self.parameters.leaves[leaf]
        entry, original = entries(array), array.flat[i].item()

        def phi(move: float) -> float:
            point = original + move
            try:
                entry[i] = point
                return number(self.f(self.parameters.x))
            except Exception as error:
                explain(error, self.parameters.moved(leaf, i, original, point))
                raise
            finally:
                entry[i] = original

        eps = float(np.finfo(array.dtype).eps)
        return Line(phi, original, self.value, eps, *self._limits(leaf, i))

    def _first_moves(self, leaf: int, indices: range) -> Any:
        """Return how far `_all_moved` may move each coordinate."""
        lines = [self._line(leaf, i) for i in indices]
        moves = [line.roomy * min(line.scale / 4, line.most[line.roomy]) for line in lines]
        return np.array(moves).astype(self.parameters.leaves[leaf].dtype)

    def partials(self, block: range, out: Any) -> None:
        """Write the block's estimates."""
        for leaf, indices, where in self.parameters.pieces(block):
            for k, i in enumerate(indices, start=where.start):
                out[k] = self._estimate(leaf, i)

    def _estimate(self, leaf: int, i: int) -> Estimate:
        if not math.isfinite(self.value):
            return Estimate(math.nan, math.inf, math.nan, 0)
        line = self._line(leaf, i)
        try:
            return RULES[self.rule](line)
        except NotFiniteError as error:
            if self.keep:
                return Estimate(math.nan, math.inf, abs(error.move), line.evaluations)
            original = self.parameters.leaves[leaf].flat[i].item()
            place = self.parameters.moved(leaf, i, original, original + error.move)
            raise not_finite(error.value, place) from None


def check_rule(h: str, relative_step: object, stencil: object, batched: bool) -> None:
    """Refuse an unknown rule, and the options that mean nothing to the rules."""
    if h not in RULES:
        raise TypeError(f"h must be a number, 'auto', 'quick' or None, got {h!r}")
    if relative_step is not None:
        raise ValueError(f"pass either h or relative_step, got h={h!r} and {relative_step!r}")
    if stencil != "central":
        raise ValueError(
            f"stencil must be 'central' where h={h!r}, which has a formula of its own; got "
            f"{stencil!r}"
        )
    if batched:
        raise ValueError(
            f"batched=True needs one step for all points of a batch, got h={h!r}; pass a number or "
            "a function of one point"
        )

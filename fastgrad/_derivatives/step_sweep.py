"""The error of a derivative against its step: rounding on one side, truncation on the other."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgrad._arrays import as_numbers
from fastgrad._derivatives.gradient import numerical_gradient
from fastgrad._evaluation.callable import Calls
from fastgrad._evaluation.in_place import InPlace
from fastgrad._evaluation.values import Reader
from fastgrad._formulas.stencils import Stencil, named
from fastgrad._structures import Parameters
from fastgrad._typing import Array, Floats

STEPS = 10.0 ** np.arange(-15, 0.1, 0.5)


@dataclass(frozen=True)
class StepSweep:
    """Derivatives by many steps, and the truth that they are compared with.

    Attributes
    ----------
    steps : ndarray, shape (k,)
        The steps h, ascending.
    derivatives : ndarray, shape (k, n)
        Along n coordinates: of an array in C order, of a structure array by array. NaN where the
        step is lost (``x + h == x``) and where f was not finite.
    truth : ndarray, shape (n,)
        What they are compared with. `source` says where it comes from: "exact" or 'h="auto"'.
    names : tuple of str
        The coordinates, as ``x[0]``.
    order : int
        The truncation error falls like ``h**order``.
    """

    steps: Floats
    derivatives: Array
    truth: Array
    source: str
    names: tuple[str, ...]
    order: int

    @property
    def errors(self) -> Array:
        """The absolute errors, shape (k, n)."""
        errors: Array = np.abs(self.derivatives - self.truth)
        return errors

    @property
    def best(self) -> Floats:
        """The step of the smallest error along each coordinate, shape (n,); NaN without any."""
        errors = np.where(np.isnan(self.errors), math.inf, self.errors)
        least = self.steps[errors.argmin(axis=0)]
        return np.where(np.isfinite(errors.min(axis=0)), least, math.nan)


def step_sweep(
    f: Callable[..., Any],
    x: Any,
    steps: Any = STEPS,
    *,
    exact: Any = None,
    stencil: str | Stencil = "central",
    coordinate: int | tuple[int, ...] | None = None,
    args: tuple[Any, ...] = (),
    workers: int | None = None,
    backend: str | None = None,
) -> StepSweep:
    """Return the derivatives of `f` at `x` by each of many steps, and their errors.

    A finite difference errs by truncation, ``h**order`` times a higher derivative, and by rounding,
    ``eps |f| / h`` [1]_: on log axes a V, whose tip is the best step. `fastgrad.plotting` draws it.

    Parameters
    ----------
    f, x, stencil, args, workers, backend
        As for `fastgrad.numerical_gradient`; the stencil "complex" has no rounding branch.
    steps : array_like, shape (k,)
        By default 31 steps from 1e-15 to 1, two a decade.
    exact : float, or array or structure like x, optional
        The true derivatives. By default those of `numerical_gradient` with ``h="auto"``: to some
        1e-13, relative, where f is smooth, which is too little to see the tip of "six-point". For
        an analytic f ``numerical_gradient(f, x, stencil="complex")`` is exact.
    coordinate : int or tuple, optional
        The one coordinate to look at: its place in the long vector, or its index in an array. By
        default all.

    Returns
    -------
    StepSweep

    Notes
    -----
    Costs k gradients by `stencil`, 2 k evaluations of f a coordinate for "central", and one by
    ``h="auto"`` without `exact`; nothing for steps that are lost in ``x + h`` everywhere. Long
    steps may take f where it is not finite.

    References
    ----------
    .. [1] P. E. Gill, W. Murray, M. H. Wright, Practical Optimization, Academic Press (1981),
       section 8.5.1.

    Examples
    --------
    >>> sweep = step_sweep(np.exp, np.array(0.0), [1e-8, 1e-5, 1e-2], exact=1.0)
    >>> sweep.best
    array([1.e-05])
    >>> sweep.errors[2].round(8)  # h**2 / 6
    array([1.667e-05])
    """
    steps = _checked(steps)
    order = 2 if stencil == "complex" else named(stencil, "complex").order
    parameters = Parameters(x)
    if not parameters.size:
        raise ValueError("x must have a coordinate, got none")
    names = tuple(parameters.name(k) for k in range(parameters.size))
    truth = None if exact is None else parameters.spread(exact, "exact")
    if coordinate is not None:
        if stencil == "complex":
            raise ValueError("coordinate must be None where stencil='complex': all cost no more")
        f, parameters, k = _along(f, args, parameters, coordinate)
        args = ()
        names, truth = names[k : k + 1], None if truth is None else truth[k : k + 1]
    gradient = functools.partial(
        numerical_gradient, f, parameters.x, args=args, workers=workers, backend=backend,
        nonfinite="keep",
    )  # fmt: skip
    derivatives, source = _derivatives(gradient, parameters, steps, stencil), "exact"
    if truth is None:
        truth, source = Parameters(gradient("auto")).vector(), 'h="auto"'
    return StepSweep(steps, derivatives, truth, source, names, order)


def _checked(steps: Any) -> Floats:
    given = as_numbers(steps, "steps")
    if given.ndim != 1 or not len(given) or given.dtype.kind not in "iuf":
        raise TypeError(f"steps must be a list or 1-D array of numbers, got {steps!r}")
    ascending: Floats = np.unique(given.astype(float))
    if not (np.isfinite(ascending) & (ascending > 0)).all():
        raise ValueError(f"steps must be finite and above 0, got {given}")
    return ascending


def _along(
    f: Callable[..., Any], args: tuple[Any, ...], parameters: Parameters, coordinate: Any
) -> tuple[Callable[..., Any], Parameters, int]:
    """Return `f` by a coordinate alone, which moves in place if it can, where it is, and k."""
    try:
        if isinstance(coordinate, tuple):
            (leaf,) = parameters.leaves
            coordinate = int(np.ravel_multi_index(coordinate, leaf.shape))
        k = range(parameters.size)[coordinate]
    except (TypeError, ValueError, IndexError):
        raise ValueError(
            f"coordinate must be a place below {parameters.size}, or an index where x is one "
            f"array; got {coordinate!r}"
        ) from None
    ((place, (i, *_), _),) = parameters.split(range(k, k + 1))
    kind = InPlace if parameters.movable[place] else Calls
    calls = kind(f, parameters, parameters.vector(), Reader(numbers=True), args=args)
    return functools.partial(calls.at, k), Parameters(np.array(parameters.leaves[place].flat[i])), k


def _derivatives(
    gradient: Callable[..., Any], parameters: Parameters, steps: Floats, stencil: str | Stencil
) -> Array:
    """Return the gradient for each step, NaN where that is lost, shape (steps, coordinates)."""
    derivatives = np.full((len(steps), parameters.size), np.nan, parameters.dtype)
    x, every = parameters.vector(), range(parameters.size)
    other = np.sqrt(parameters.eps(every)) * np.maximum(1, np.abs(x))
    offset = 0.0 if stencil == "complex" else named(stencil).moves[0][0]
    for row, h in zip(derivatives, steps.tolist(), strict=True):
        moves = parameters.round(np.full_like(x, offset * h), every)
        lost = (parameters.round(x + moves, every) == x) & bool(offset)
        if not lost.all():
            # A step that is lost would be refused: take some other, and forget what comes of it.
            taken = parameters.assemble(np.where(lost, other, h)) if lost.any() else h
            found = Parameters(gradient(taken, stencil=stencil)).vector()
            row[:] = np.where(lost, np.nan, found)
    return derivatives

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
from fastgrad._evaluation.values import number
from fastgrad._formulas.stencils import STENCILS, Stencil, named
from fastgrad._structures import Parameters
from fastgrad._typing import Array, Floats

STEPS = 10.0 ** np.arange(-15, 0.1, 0.5)

Gradient = Callable[..., Any]


@dataclass(frozen=True)
class StepSweep:
    """Derivatives by many steps, and the truth that they are compared with.

    Attributes
    ----------
    steps : ndarray, shape (k,)
        The steps h, ascending.
    derivatives : ndarray, shape (k, n)
        The derivatives along n coordinates: of an array in C order, of a structure array by array.
        NaN where the step is lost (``x + h == x``) and where f was not finite.
    truth : ndarray, shape (n,)
        What they are compared with.
    source : str
        Where that comes from: "exact" or "six-point, extrapolated".
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
        best: Floats = np.where(
            np.isfinite(errors).any(axis=0), self.steps[errors.argmin(axis=0)], math.nan
        )
        return best


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
    f, x, args, workers, backend
        As for `fastgrad.numerical_gradient`.
    steps : array_like, shape (k,)
        By default 31 steps from 1e-15 to 1, two a decade.
    exact : float, or array or structure like x, optional
        The true derivatives. By default they are estimated: at each step by the "six-point"
        formula, whose leading error is extrapolated away with the next step [2]_; of these the one
        that differs least from its neighbour. That is good to some 1e-13, relative, where f is
        smooth on the scale of the steps: enough for "central", too little to see the tip of
        "six-point". For an analytic f ``numerical_gradient(f, x, stencil="complex")`` is exact.
    stencil : str or Stencil
        As for `fastgrad.numerical_gradient`; also "complex", which has no rounding branch.
    coordinate : int or tuple, optional
        The one coordinate to look at: its place in the long vector, or its index in an array. By
        default all.

    Returns
    -------
    StepSweep

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; f has not been evaluated then.

    Notes
    -----
    Costs k gradients by `stencil`, 2 k evaluations of f a coordinate for "central", and 6 k more a
    coordinate and f(x) without `exact`; nothing for steps that are lost in ``x + h`` everywhere.
    Long steps may take f where it is not finite.

    References
    ----------
    .. [1] P. E. Gill, W. Murray, M. H. Wright, Practical Optimization, Academic Press (1981),
       section 8.5.1.
    .. [2] L. F. Richardson, Philosophical Transactions of the Royal Society A 210 (1911), 307-357.

    Examples
    --------
    >>> sweep = step_sweep(np.exp, np.array(0.0), [1e-8, 1e-5, 1e-2], exact=1.0)
    >>> sweep.best
    array([1.e-05])
    >>> sweep.errors[2].round(8)  # h**2 / 6
    array([1.667e-05])
    """
    steps = _checked(steps, exact)
    order = 2 if stencil == "complex" else named(stencil, "complex").order
    parameters = Parameters(x)
    if not parameters.size:
        raise ValueError("x must have a coordinate, got none")
    names = tuple(parameters.name(k) for k in range(parameters.size))
    truth = None if exact is None else parameters.spread(exact, "exact")
    if coordinate is not None:
        if stencil == "complex":
            raise ValueError("coordinate must be None where stencil='complex': all cost no more")
        k = _place(coordinate, parameters)
        names, truth = names[k : k + 1], None if truth is None else truth[k : k + 1]
        f, parameters = _along(f, parameters, k)
    gradient = functools.partial(
        numerical_gradient, f, parameters.x, args=args, workers=workers, backend=backend,
        nonfinite="keep",
    )  # fmt: skip
    derivatives = _derivatives(gradient, parameters, steps, stencil)
    source = "exact"
    if truth is None:
        value = number(f(parameters.x, *args))
        truth = _estimate(gradient, parameters, steps, value)
        source = "six-point, extrapolated"
    return StepSweep(steps, derivatives, truth, source, names, order)


def _checked(steps: Any, exact: Any) -> Floats:
    given = as_numbers(steps, "steps")
    if given.ndim != 1 or given.dtype.kind not in "iuf":
        raise TypeError(f"steps must be a list or 1-D array of numbers, got {steps!r}")
    ascending: Floats = np.unique(given.astype(float))
    if not (np.isfinite(ascending) & (ascending > 0)).all():
        raise ValueError(f"steps must be finite and above 0, got {given}")
    least = 4 if exact is None else 1
    if len(ascending) < least:
        raise ValueError(
            f"steps must hold {least} or more, got {len(ascending)}; to estimate the true "
            "derivative takes 4, with exact=... one is enough"
        )
    return ascending


def _place(coordinate: int | tuple[int, ...], parameters: Parameters) -> int:
    """Return where in the long vector a coordinate stands."""
    try:
        if isinstance(coordinate, tuple):
            (leaf,) = parameters.leaves
            return int(np.ravel_multi_index(coordinate, leaf.shape))
        place: int = range(parameters.size)[coordinate]
        return place
    except (TypeError, ValueError, IndexError):
        raise ValueError(
            f"coordinate must be a place below {parameters.size}, or an index where x is one "
            f"array; got {coordinate!r}"
        ) from None


def _along(
    f: Callable[..., Any], parameters: Parameters, k: int
) -> tuple[Callable[..., Any], Parameters]:
    """Return `f` as a function of coordinate `k` alone, and where it is.

    It moves in place if it can, for an f that reads x from outside.
    """
    ((leaf, (i, *_), _),) = parameters.split(range(k, k + 1))
    array = parameters.leaves[leaf]

    def along(t: Array, *args: Any) -> Any:
        if not parameters.movable[leaf]:
            point = parameters.vector()
            point[k] = t
            return f(parameters.build(point), *args)
        saved = array.flat[i]
        array.flat[i] = t
        try:
            return f(parameters.x, *args)
        finally:
            array.flat[i] = saved

    return along, Parameters(np.array(array.flat[i]))


def _derivatives(
    gradient: Gradient, parameters: Parameters, steps: Floats, stencil: str | Stencil
) -> Array:
    """Return the gradient for each step, NaN where that is lost, shape (steps, coordinates)."""
    derivatives = np.full((len(steps), parameters.size), np.nan, parameters.dtype)
    for row, h in zip(derivatives, steps.tolist(), strict=True):
        lost = _lost(parameters, stencil, h)
        all_lost = np.concatenate([one.ravel() for one in lost])
        if all_lost.all():
            continue
        # A step that is lost would be refused: take some other, and forget what comes of it.
        some = [
            np.where(one, np.sqrt(np.finfo(leaf.dtype).eps) * np.maximum(1, np.abs(leaf)), h)
            for one, leaf in zip(lost, parameters.leaves, strict=True)
        ]
        taken = parameters.rebuild(some) if all_lost.any() else h
        row[:] = np.where(all_lost, np.nan, _vector(gradient(taken, stencil=stencil)))
    return derivatives


def _lost(parameters: Parameters, stencil: str | Stencil, h: float) -> list[Array]:
    """Tell where the first move of a formula leaves x where it is, for each array."""
    if stencil == "complex":
        return [np.zeros(leaf.shape, bool) for leaf in parameters.leaves]
    move = named(stencil).moves[0][0] * h
    return [np.asarray(leaf + leaf.dtype.type(move) == leaf) for leaf in parameters.leaves]


def _estimate(gradient: Gradient, parameters: Parameters, steps: Floats, value: float) -> Array:
    """Return the derivatives by extrapolating the six-point formula, with the best pair of steps.

    `value` is f(x): where two estimates are nothing but rounding they may agree by chance, so that
    the rounding that is to be expected counts as well.
    """
    six = STENCILS["six-point"]
    derivatives = _derivatives(gradient, parameters, steps, six)
    ratios = (steps[1:] / steps[:-1])[:, np.newaxis] ** six.order
    finer = derivatives[:-1] + (derivatives[:-1] - derivatives[1:]) / (ratios - 1)
    x = _vector(parameters.x)
    eps = np.concatenate([np.full(a.size, np.finfo(a.dtype).eps) for a in parameters.leaves])
    noise = eps * (abs(value) + np.abs(x * finer[:-1])) / steps[:-2, np.newaxis]
    doubt = np.abs(finer[:-1] - finer[1:]) + noise
    best = np.where(np.isnan(doubt), math.inf, doubt).argmin(axis=0)
    truth: Array = finer[best, np.arange(parameters.size)]
    return truth


def _vector(structure: Any) -> Array:
    """Return a gradient as one long vector."""
    return np.concatenate([leaf.ravel() for leaf in Parameters(structure).leaves])

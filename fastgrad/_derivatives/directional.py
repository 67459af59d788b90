"""The derivative of any function along one direction."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from fastgrad._derivatives.arguments import begin
from fastgrad._derivatives.info import make_info
from fastgrad._formulas.along import Along, Direction, longest_step
from fastgrad._formulas.bounds import Bounds, read_bounds
from fastgrad._formulas.stencils import Stencil, named
from fastgrad._formulas.step_sizes import StepSizes, first_steps, positive
from fastgrad._structures import Parameters
from fastgrad._typing import Array


def directional_derivative(
    f: Callable[..., Any],
    x: Any,
    v: Any,
    h: float | None = None,
    *,
    args: tuple[Any, ...] = (),
    stencil: str | Stencil = "central",
    bounds: Any = None,
    nonfinite: Literal["raise", "keep"] = "raise",
    full_output: bool = False,
) -> Any:
    """Return the derivative of `f` at `x` along `v`: of f(x + t v) by t, at t = 0.

    By default ``(f(x + h v) - f(x - h v)) / 2h``. It is the gradient, or the Jacobian, times v;
    v is not normalised.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns a number or an array. It may ignore its argument and read x from
        its closure: x is moved in place and put back.
    x : ndarray of float, number, pandas object, or dict, list or tuple of arrays
        Where. It holds the same bits after the call as before, also after an exception in f or
        Ctrl-C.
    v : like x
        The direction: of the structure and the shapes of x, finite. Along 0 the derivative is 0,
        as the formula has it.
    h : float, optional
        The step of t, absolute. By default the largest with which no coordinate moves by more than
        the default step of `numerical_gradient`: ``1e-4 / max(|v|)`` for float64, so that twice as
        long a v gives twice the derivative.
    args, stencil : optional
        As for `numerical_gradient`, without "complex".
    bounds : tuple, list of pairs, or scipy.optimize.Bounds, optional
        As for `numerical_gradient`: where the line leaves the bounds on one side, a formula of the
        same order looks to the other, with a smaller step where not even that fits. Fixed
        coordinates do not move, whatever v says.
    nonfinite : {"raise", "keep"}
        What to do when f is not finite: raise, or carry on with it.
    full_output : bool, default False
        Return ``(derivative, info)`` with a `fastgrad.Info`, whose step is that of t.

    Returns
    -------
    ndarray, shape f.shape
        A NumPy number where f returns one.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, v moves nothing at this h, or leads out of the bounds
        forwards and backwards: f has not been evaluated then.
    FloatingPointError
        If f is not finite somewhere.
    Exception
        What f raises, with a note that says where.

    See Also
    --------
    numerical_gradient, jacobian : along all coordinates.

    Notes
    -----
    Costs two evaluations of f for "central", "forward" and "backward", four and six for
    "five-point" and "six-point", one more near a bound; with `full_output` one more for those that
    do not use f(x); and one that tells whether f reads x from outside. They are so few that they
    run here, one after the other, without workers.

    The formula is the central difference of one variable (M. Abramowitz, I. A. Stegun (eds.),
    Handbook of Mathematical Functions, 1964, 25.3.21), t.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([3.0, 4.0])
    >>> directional_derivative(lambda x: x[0] ** 2 + x[1] ** 2, x, [1.0, -1.0]).round(6)
    np.float64(-2.0)
    """
    start = time.perf_counter()
    formula, request = named(stencil), begin(f, x, args, nonfinite=nonfinite)
    parameters = request.parameters
    limits = read_bounds(parameters, bounds)
    along = read_direction(parameters, v, limits)

    def make(eps: float) -> Along:
        step = _longest(parameters, along, eps) if h is None else positive(h, "h must be a number")
        return Along(Direction(parameters, along, formula, step, limits), with_value=full_output)

    found = request.derivatives(make, numbers=False)
    derivative = found.rows[0].reshape(found.shape)[()]
    return (derivative, make_info(start, found, parameters)) if full_output else derivative


def read_direction(parameters: Parameters, v: Any, bounds: Bounds | None) -> Array:
    """Return `v` as one long vector, 0 along fixed coordinates; it and x must be finite."""
    along = parameters.vector_of(v, "v")
    parameters.vector_of(parameters.rebuild(parameters.leaves), "x")
    return along if bounds is None else np.where(bounds.fixed, 0.0, along)


def _longest(parameters: Parameters, along: Array, eps: float) -> float:
    """Return the step with which no coordinate moves by more than its default."""
    sizes = StepSizes(parameters, None, None, first_steps, eps)
    every = range(parameters.size)
    return longest_step(along, sizes.of(every, parameters.vector()))

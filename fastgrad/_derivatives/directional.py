"""The derivative of any function along one direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from fastgrad._derivatives.arguments import Request
from fastgrad._derivatives.engine import differentiate
from fastgrad._formulas.along import Along, Direction
from fastgrad._formulas.bounds import Bounds
from fastgrad._formulas.stencils import Stencil, named
from fastgrad._formulas.step_sizes import Default, StepSizes, first_steps, positive
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
        ``f(x, *args)`` returns a number or an array; else as in `numerical_gradient`.
    x, args, nonfinite
        As in `numerical_gradient`.
    v : like x
        The direction: of the structure and the shapes of x, finite. Along 0 the derivative is 0,
        as the formula has it.
    h : float, optional
        The step of t, absolute. By default the largest with which no coordinate moves by more than
        the default step of `numerical_gradient`: ``1e-4 / max(|v|)`` for float64, so that twice as
        long a v gives twice the derivative.
    stencil : {"central", "forward", "backward", "five-point", "six-point"} or Stencil
        The formula.
    bounds : tuple, list of pairs, or scipy.optimize.Bounds, optional
        As in `numerical_gradient`, for the line. Fixed coordinates do not move, whatever v says.
    full_output : bool, default False
        Return ``(derivative, info)`` with an `Info`, whose step is that of t.

    Returns
    -------
    ndarray, shape f.shape
        A NumPy number where f returns one.

    Raises
    ------
    TypeError, ValueError, FloatingPointError, Exception
        As in `numerical_gradient`; also, before f is evaluated, if v moves nothing at this h, or
        leads out of the bounds forwards and backwards.

    See Also
    --------
    numerical_gradient, jacobian : along all coordinates.

    Notes
    -----
    Costs two evaluations of f for "central", "forward" and "backward", four and six for
    "five-point" and "six-point", one more near a bound; with `full_output` one more for those that
    do not use f(x); and one that tells whether f reads x from outside. They are so few that they
    run here, one after the other, without workers.

    Examples
    --------
    >>> x = np.array([3.0, 4.0])
    >>> directional_derivative(lambda x: x[0] ** 2 + x[1] ** 2, x, [1.0, -1.0]).round(6)
    np.float64(-2.0)
    """
    formula = named(stencil)
    request = Request(f, x, args, bounds=bounds, nonfinite=nonfinite, full_output=full_output)
    parameters = request.parameters
    along = read_direction(parameters, v, request.bounds)
    given = None if h is None else positive(h, "h must be a number")

    def make(eps: float) -> Along:
        step = longest(parameters, along, first_steps, eps) if given is None else given
        return Along(Direction(parameters, along, formula, step, request.bounds), full_output)

    found = differentiate(request, make, numbers=False)
    return request.answer(found.rows[0].reshape(found.shape)[()], found)


def read_direction(parameters: Parameters, v: Any, bounds: Bounds | None) -> Array:
    """Return `v` as one long vector, 0 along fixed coordinates; it and x must be finite."""
    along = parameters.vector_of(v, "v")
    parameters.vector_of(parameters.rebuild(parameters.leaves), "x")
    return along if bounds is None else np.where(bounds.fixed, 0.0, along)


def longest(parameters: Parameters, along: Array, default: Default, eps: float = 0.0) -> float:
    """Return the step with which no coordinate moves by more than its default."""
    sizes = StepSizes(parameters, None, None, default, eps)
    each, moving = sizes.of(range(parameters.size), parameters.vector()), along != 0
    with np.errstate(over="ignore"):
        steps = each[moving] / np.abs(along[moving])
    return float(steps.min()) if len(steps) else 1.0

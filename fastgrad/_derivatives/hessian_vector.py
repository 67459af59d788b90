"""The Hessian of any function times a vector, without the Hessian."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from fastgrad._derivatives.arguments import Request
from fastgrad._derivatives.engine import differentiate
from fastgrad._derivatives.info import Found
from fastgrad._formulas.along import Along, Direction, GradientAlong
from fastgrad._formulas.coordinates import Coordinates
from fastgrad._formulas.stencils import Stencil, named
from fastgrad._formulas.step_sizes import StepSizes, second_steps
from fastgrad._formulas.steps import Steps
from fastgrad._parallel.team import SERIAL
from fastgrad._typing import Array


def hessian_vector_product(
    f: Callable[..., Any] | None,
    x: Any,
    v: Any,
    h: float | None = None,
    *,
    gradient: Callable[..., Any] | None = None,
    args: tuple[Any, ...] = (),
    stencil: str | Stencil = "central",
    workers: int | None = None,
    backend: str | None = None,
    batched: bool = False,
    bounds: Any = None,
    nonfinite: Literal["raise", "keep"] = "raise",
    full_output: bool = False,
) -> Any:
    """Return the Hessian of `f` at `x` times `v`, by finite differences.

    It is the derivative of the gradient along v, by default ``(g(x + h v) - g(x - h v)) / 2h``
    ([1]_), where g is `gradient`, or else the numerical gradient of f by the same formula.

    Parameters
    ----------
    f : callable or None
        As in `numerical_gradient`. Not called, and None is allowed, where `gradient` is given.
    x, args, stencil, workers, backend, batched, nonfinite
        As in `numerical_gradient`, for `gradient` as for f, without "complex". `batched` is for f.
    v : like x
        With the structure and the shapes of x, finite. For ``v = 0`` the product is 0.
    h : float, optional
        The step along v, absolute; without `gradient` also the step of the numerical gradients. By
        default the gradients take the steps of `hessian`, and the step along v is the largest with
        which no coordinate moves further than that; with `gradient` as in `directional_derivative`.
    gradient : callable, optional
        ``gradient(x, *args)`` returns the gradient of f: like x. It may read x from its closure.
    bounds : tuple, list of pairs, or scipy.optimize.Bounds, optional
        As in `numerical_gradient`, along v as along each coordinate, for f and for `gradient`. Of
        the room on a side, without `gradient`, half is for v and half for the coordinates. Fixed
        coordinates do not move, whatever v says, and the product is 0 there.
    full_output : bool, default False
        Return ``(product, info)`` with an `Info`. Its value is f(x), and NaN with `gradient`,
        whose calls then are the evaluations; its step is that along v.

    Returns
    -------
    ndarray, or dict, list or tuple of ndarray
        With the structure, the shapes, the dtypes and the labels of x.

    Raises
    ------
    TypeError, ValueError, FloatingPointError, RuntimeError, Exception
        As in `numerical_gradient` and `directional_derivative`; also if `gradient` returns
        anything that is not like x.

    Notes
    -----
    Costs as many gradients as a coordinate of `numerical_gradient` costs evaluations of f: two for
    "central", ``4 n`` evaluations of f in all for n coordinates. One more with `full_output`, and
    one that tells whether f, or `gradient`, reads x from outside.

    References
    ----------
    .. [1] J. Nocedal, S. J. Wright, Numerical Optimization, 2nd edition, Springer, 2006,
       section 8.1.

    Examples
    --------
    >>> import numpy as np
    >>> x, v = np.array([1.0, 2.0]), np.array([1.0, -1.0])
    >>> hessian_vector_product(lambda x: x[0] ** 2 * x[1], x, v).round(6)
    array([2., 2.])
    >>> g = lambda x: np.array([2 * x[0] * x[1], x[0] ** 2])
    >>> hessian_vector_product(None, x, v, gradient=g).round(6)
    array([2., 2.])
    """
    if not (gradient is None or callable(gradient)):
        raise TypeError(f"gradient must be callable or None, got {gradient!r}")
    if batched and gradient is not None:
        raise ValueError("batched=True is for f, which is not called where gradient is given")
    formula = named(stencil)
    request = Request(
        f if gradient is None else gradient, x, args, workers=workers, backend=backend,
        batched=batched, bounds=bounds, nonfinite=nonfinite, full_output=full_output,
    )  # fmt: skip
    if gradient is not None:
        found = _from_gradient(request, v, formula, h)
        found.value, found.shape, product = np.float64(math.nan), (), found.rows[0]
    else:
        found = _from_values(request, v, formula, h)
        direction, rows = found.formula.direction, list(found.rows)
        center = rows.pop() if direction.center else None
        product = direction.derivative(rows, center)
    return request.answer(request.parameters.assemble(product), found)


def _from_gradient(request: Request, v: Any, formula: Stencil, h: float | None) -> Found:
    """Return the derivative of a gradient that is known."""
    parameters, gradient, bounds = request.parameters, request.f, request.bounds

    def of_x(x: Any, *args: Any) -> Array:
        parts = parameters.matching(gradient(x, *args), "gradient")
        vector = np.concatenate([np.empty(0), *(part.reshape(-1) for part in parts)])
        return vector if bounds is None else np.where(bounds.fixed, 0.0, vector)

    direction = Direction(parameters, v, formula, h, bounds)
    here = copy.copy(request)
    here.f, here.compiled, here.team = of_x, False, SERIAL
    return differentiate(here, lambda eps: Along(direction, False), numbers=False)


def _from_values(request: Request, v: Any, formula: Stencil, h: float | None) -> Found:
    """Return the gradients at the points along v, and at x last where the formula needs it."""
    parameters, bounds = request.parameters, request.bounds

    def make(eps: float) -> GradientAlong:
        default = second_steps(formula.order)
        # Half of the room on a side is for v, and half for the coordinates.
        direction = Direction(
            parameters, v, formula, h, bounds, default=default, eps=eps, share=0.5
        )
        sizes = StepSizes(parameters, h, None, default, eps)
        # The same formulas wherever on the line x is, so that their errors cancel.
        steps = Steps(parameters, formula, sizes, bounds, between=direction.ends())
        at = [*direction.moves, *([direction.x] if direction.center else [])]
        gradients = [Coordinates(steps.moved_to(x), False) for x in at]
        return GradientAlong(direction, gradients, request.full_output)

    return differentiate(request, make)

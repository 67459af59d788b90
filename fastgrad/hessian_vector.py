"""The Hessian of any function times a vector, without the Hessian."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Literal

from fastgrad import executors
from fastgrad._typing import Array
from fastgrad.arguments import check, point_by_point
from fastgrad.engine import differentiate
from fastgrad.hessian import second_steps
from fastgrad.info import told
from fastgrad.objectives.black_box import BlackBox
from fastgrad.objectives.line import Line, direction, step
from fastgrad.stencils import CENTRAL
from fastgrad.steps import Steps
from fastgrad.structures import Parameters


def hessian_vector_product(
    f: Callable[..., Any] | None,
    x: Any,
    v: Any,
    h: float | None = None,
    *,
    gradient: Callable[..., Any] | None = None,
    args: tuple[Any, ...] = (),
    workers: int | None = None,
    backend: str | None = None,
    nonfinite: Literal["raise", "keep"] = "raise",
    full_output: bool = False,
) -> Any:
    """Return the Hessian of `f` at `x` times `v`, by finite differences.

    It is ``(g(x + h v) - g(x - h v)) / 2h`` ([1]_), where g is `gradient`, or else
    the numerical gradient of f.

    Parameters
    ----------
    f : callable or None
        ``f(x, *args)`` returns a number. It may ignore its argument and read x from its closure:
        x is moved in place and put back. A function compiled by ``numba.njit`` is called point by
        point. Not called, and None is allowed, where `gradient` is given.
    x : ndarray of float, number, or dict, list or tuple of arrays
        Where. It holds the same bits after the call as before, also after an exception in f,
        Ctrl-C, or the loss of a worker.
    v : like x
        Of the structure and the shapes of x, finite. For ``v = 0`` the product is 0.
    h : float, optional
        The step along v, absolute; without `gradient` also the step of the numerical gradients. By
        default the gradients take ``eps**(1/4) * max(1, |x|)`` for each coordinate, as `hessian`
        does, and the step along v is the largest with which no coordinate moves further than that;
        with `gradient` as in `directional_derivative`.
    gradient : callable, optional
        ``gradient(x, *args)`` returns the gradient of f: like x. It may read x from its closure.
    args : tuple, optional
        Further arguments of `f` and `gradient`.
    workers, backend : int and str, optional
        Who works on the numerical gradients: as for `numerical_gradient`, with "processes" where
        nothing else is said.
    nonfinite : {"raise", "keep"}
        What to do when f or `gradient` is not finite: raise, or carry on with it.
    full_output : bool, default False
        Return ``(product, info)`` with a `fastgrad.Info`. Its value is f(x), and NaN with
        `gradient`, whose calls then are the evaluations; its step is that along v.

    Returns
    -------
    ndarray, or dict, list or tuple of ndarray
        Of the structure, the shapes and the dtypes of x.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or v moves nothing at this h: before anything is evaluated. If
        `gradient` returns anything that is not like x.
    FloatingPointError
        If f or `gradient` is not finite somewhere.
    RuntimeError, Exception
        As for `numerical_gradient`.

    See Also
    --------
    hessian : all of it.

    Notes
    -----
    Costs two calls of `gradient`; without it ``4 n`` evaluations of f for n coordinates, and one
    more with `full_output`. Where work is spread, two more here and two in each worker.

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
    start = time.perf_counter()
    if not (gradient is None or callable(gradient)):
        raise TypeError(f"gradient must be callable or None, got {gradient!r}")
    check(f if gradient is None else gradient, args, nonfinite)
    executor = executors.choose(workers, backend, default="processes")
    parameters = Parameters(x)
    vector = direction(parameters, v)
    keep = nonfinite == "keep"
    used = executors.SERIAL
    objective: BlackBox | None = None
    if gradient is not None:
        known = gradient
        each = Steps(parameters, CENTRAL, None, None).used(parameters) if h is None else h

        def g(x: Any) -> Array:
            return parameters.vector(known(x, *args), "gradient")
    else:
        each = second_steps(parameters) if h is None else h
        steps = Steps(parameters, CENTRAL, each, None)
        of_x = point_by_point(f, args, parameters)
        objective = numerical = BlackBox(of_x, parameters, steps, keep)

        def g(x: Any) -> Array:
            nonlocal used
            values, used = differentiate(numerical, executor)
            return values

    h = step(parameters, vector, each) if h is None else h
    line = Line(g, parameters, vector, CENTRAL, h, keep)
    product = parameters.assemble(line.derivative())
    if not full_output:
        return product
    value, evaluations = math.nan, 2
    if objective is not None:
        objective.evaluate()
        value = objective.value
        evaluations = objective.evaluations + 2 * objective.steps.evaluations(parameters)
    return product, told(start, used, value=value, evaluations=evaluations, step=h)

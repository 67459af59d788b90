"""The Hessian of any function times a vector, without the Hessian."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from fastgrad import executors
from fastgrad._typing import Array
from fastgrad.arguments import by_steps, check, compiled, one_array
from fastgrad.directions import Direction, longest_step, vector
from fastgrad.engine import differentiate
from fastgrad.gradient import FIRST_ORDER
from fastgrad.hessian import second_steps
from fastgrad.info import told
from fastgrad.objectives.line import Line
from fastgrad.stencils import Stencil, named
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
    stencil: str | Stencil = "central",
    workers: int | None = None,
    backend: str | None = None,
    batched: bool = False,
    bounds: tuple[Any, Any] | None = None,
    nonfinite: Literal["raise", "keep"] = "raise",
    full_output: bool = False,
) -> Any:
    """Return the Hessian of `f` at `x` times `v`, by finite differences.

    It is the derivative of the gradient along v, by default ``(g(x + h v) - g(x - h v)) / 2h``
    ([1]_), where g is `gradient`, or else the numerical gradient of f by the same formula.

    Parameters
    ----------
    f : callable or None
        ``f(x, *args)`` returns a number. It may ignore its argument and read x from its closure:
        x is moved in place and put back. A function compiled by ``numba.njit`` is driven from a
        compiled loop. Not called, and None is allowed, where `gradient` is given.
    x : ndarray of float, number, or dict, list or tuple of arrays
        Where. It holds the same bits after the call as before, also after an exception in f,
        Ctrl-C, or the loss of a worker.
    v : like x
        Of the structure and the shapes of x, finite. For ``v = 0`` the product is 0.
    h : float, optional
        The step along v, absolute; without `gradient` also the step of the numerical gradients. By
        default the gradients take the steps of `hessian`, and the step along v is the largest with
        which no coordinate moves further than that;
        with `gradient` as in `directional_derivative`.
    gradient : callable, optional
        ``gradient(x, *args)`` returns the gradient of f: like x. It may read x from its closure.
    args : tuple, optional
        Further arguments of `f` and `gradient`.
    stencil : {"central", "forward", "backward", "five-point", "six-point"} or Stencil
        The formula.
    workers, backend : int and str, optional
        Who works on the numerical gradients, as for `numerical_gradient`.
    batched : bool, default False
        `f` takes many points at once, as for `numerical_gradient`. Not with `gradient`.
    bounds : tuple, optional
        ``(lower, upper)``, each a number or like x; infinity is allowed. Neither f nor `gradient`
        is evaluated outside: a formula of the same order looks to the side that has room, along v
        as along each coordinate, with a smaller step where not even that fits. Of the room on a
        side, without `gradient`, half is for v and half for the coordinates.
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
        If an argument does not fit, v moves nothing at this h, or leads out of the bounds
        forwards and backwards: before anything is evaluated. If `gradient` returns anything that
        is not like x.
    FloatingPointError
        If f or `gradient` is not finite somewhere.
    RuntimeError, Exception
        As for `numerical_gradient`.

    See Also
    --------
    hessian : all of it.

    Notes
    -----
    Costs as many gradients as the formula has points: two for "central", "forward" and "backward",
    four and six for "five-point" and "six-point", one more near a bound. Without `gradient` each
    of them costs what `numerical_gradient` says: ``4 n`` evaluations of f in all for "central" and
    n coordinates. One more with `full_output`. Where work is spread, one more for each of the
    gradients here and in each worker.

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
    if batched and gradient is not None:
        raise ValueError("batched=True is for f, which is not called where gradient is given")
    check(f if gradient is None else gradient, args, nonfinite)
    formula = named(stencil)
    executor = executors.choose(workers, backend, compiled=compiled(f))
    parameters = Parameters(x)
    if batched:
        one_array(parameters)
    along = vector(parameters, v)
    keep = nonfinite == "keep"
    each = h
    if each is None and gradient is None:
        each = second_steps(parameters, formula)
    elif each is None:
        each = Steps(parameters, formula, None, None).used(parameters)
    h = longest_step(parameters, along, each) if h is None else h
    share = 0.5 if gradient is None else 1.0
    direction = Direction(parameters, along, formula, h, bounds, share)
    used, value, evaluations = executors.SERIAL, math.nan, 0
    if gradient is not None:
        known = gradient

        def g(x: Any) -> Array:
            nonlocal evaluations
            evaluations += 1
            return parameters.vector(known(x, *args), "gradient")
    else:
        # The same formulas wherever on the line x is, so that their errors cancel.
        steps = Steps(parameters, formula, each, bounds, between=direction.ends())
        here = partial(by_steps, FIRST_ORDER, f, parameters, args, steps, keep, batched)

        def g(x: Any) -> Array:
            nonlocal used, evaluations
            objective = here()
            values, used = differentiate(objective, executor)
            evaluations += objective.evaluations + steps.evaluations(parameters)
            return values

    product = parameters.assemble(Line(g, parameters, direction, keep).derivative())
    if not full_output:
        return product
    if gradient is None:
        objective = here()
        if math.isnan(objective.value):
            objective.evaluate()
        value = objective.value
        evaluations += objective.evaluations
    return product, told(start, used, value=value, evaluations=evaluations, step=direction.h)

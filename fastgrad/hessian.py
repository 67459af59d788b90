"""The Hessian of any function, from its values alone."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from fastgrad import executors
from fastgrad.arguments import Kinds, by_steps, check, compiled
from fastgrad.engine import differentiate
from fastgrad.info import told
from fastgrad.objectives.second_order import BatchedSecondOrder, SecondOrder
from fastgrad.second_stencils import second
from fastgrad.stencils import Stencil, named
from fastgrad.step_sizes import taken
from fastgrad.steps import Steps
from fastgrad.structures import Parameters


@functools.cache
def _jitted() -> Callable[..., Any]:
    from fastgrad.objectives.jitted_second_order import JittedSecondOrder

    return JittedSecondOrder.of


SECOND_ORDER = Kinds(SecondOrder, BatchedSecondOrder, _jitted)


def hessian(
    f: Callable[..., Any],
    x: Any,
    h: Any = None,
    *,
    args: tuple[Any, ...] = (),
    stencil: str | Stencil = "central",
    workers: int | None = None,
    backend: str | None = None,
    batched: bool = False,
    bounds: tuple[Any, Any] | None = None,
    nonfinite: Literal["raise", "keep"] = "raise",
    progress: bool = False,
    full_output: bool = False,
) -> Any:
    """Return the second derivatives of `f` at `x` by finite differences.

    By default it is ``(f(x + h_i) - 2 f(x) + f(x - h_i)) / h_i**2`` on the diagonal, and off it
    ``(f(x + h_i + h_j) - f(x + h_i - h_j) - f(x - h_i + h_j) + f(x - h_i - h_j)) / (4 h_i h_j)``
    ([1]_, 25.3.23 and 25.3.26), where h_i moves coordinate i. Both have an error of second order.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns a number. It may ignore its argument and read x from its closure:
        x is moved in place and put back. A function compiled by ``numba.njit`` is driven from a
        compiled loop.
    x : ndarray of float, or number
        Where: one array of any shape. It holds the same bits after the call as before, also after
        an exception in f, Ctrl-C, or the loss of a worker.
    h : float or array of x's shape, optional
        The steps, absolute. By default ``eps**(1/(order + 2)) * max(1, |x|)`` for each coordinate,
        with the order of the stencil (2 for "central": ``eps**(1/4)``) and the eps of x's dtype:
        there truncation, h**order, and rounding, eps / h**2, are about equal.
    args : tuple, optional
        Further arguments of `f`.
    stencil : {"central", "forward", "backward", "five-point", "six-point"} or Stencil
        The formula, with weights w_a at offsets o_a. Off the diagonal it is taken along both
        coordinates, ``sum_ab w_a w_b f(x + o_a h_i + o_b h_j) / (h_i h_j)``. On the diagonal the
        formula for the second derivative on the same offsets is used, and where they are too few
        for its order, as those to one side are, on one more.
    workers, backend : int and str, optional
        As for `numerical_gradient`. An item of work is a row of the upper triangle.
    batched : bool, default False
        `f` takes many points at once, a read-only array of shape ``(k, *x.shape)``, and returns k
        numbers. A batch holds the points of one row of the upper triangle, or 64 MiB of them.
    bounds : tuple, optional
        ``(lower, upper)``, each a number or of x's shape; infinity is allowed. Nothing outside is
        evaluated: near a bound a one-sided formula of the same order is used for the coordinate,
        with a smaller step where not even that fits.
    nonfinite : {"raise", "keep"}
        What to do when f is not finite: raise, or carry on with it.
    progress : bool, default False
        Show a bar with the time left.
    full_output : bool, default False
        Return ``(hessian, info)`` with a `fastgrad.Info`.

    Returns
    -------
    ndarray, shape x.shape + x.shape
        With the dtype of x. Symmetric to the bit: each pair of coordinates is evaluated once.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; f has not been evaluated then.
    FloatingPointError
        If f is not finite somewhere; the message names the coordinates and the sides.
    RuntimeError, Exception
        As for `numerical_gradient`.

    See Also
    --------
    hessian_vector_product : one direction alone.

    Notes
    -----
    Costs ``1 + 2 n + 2 n (n - 1)`` evaluations of f for "central" and n coordinates,
    ``1 + 2 n + n (n - 1) / 2`` for "forward" and "backward" ([2]_, 8.1), ``1 + 4 n + 8 n (n - 1)``
    and ``1 + 6 n + 18 n (n - 1)`` for "five-point" and "six-point"; for a compiled f one more. Near
    a bound, one more for each coordinate. Where work is spread, one more here and one in each
    worker. Beside the result, its upper triangle is held once more.

    References
    ----------
    .. [1] M. Abramowitz, I. A. Stegun (eds.), Handbook of Mathematical Functions, National Bureau
       of Standards, 1964, section 25.3.
    .. [2] J. Nocedal, S. J. Wright, Numerical Optimization, 2nd edition, Springer, 2006.

    Examples
    --------
    >>> hessian(lambda x: x[0] ** 2 * x[1], np.array([1.0, 2.0])).round(6)
    array([[4., 2.],
           [2., 0.]])
    """
    start = time.perf_counter()
    check(f, args, nonfinite)
    formula = named(stencil)
    executor = executors.choose(workers, backend, compiled=compiled(f))
    parameters = Parameters(x)
    if not isinstance(parameters.x, np.ndarray):
        raise TypeError(
            f"x must be one array, got a {type(x).__name__}; join its arrays with np.concatenate"
        )
    h = second_steps(parameters, formula) if h is None else h
    steps = Steps(parameters, second(formula), h, bounds)
    objective = by_steps(SECOND_ORDER, f, parameters, args, steps, nonfinite == "keep", batched)
    vector, used = differentiate(objective, executor, progress=progress)
    result = objective.assemble(vector)
    if not full_output:
        return result
    evaluations = objective.evaluations + int(objective.weights().sum())
    step = steps.used(parameters)
    return result, told(start, used, value=objective.value, evaluations=evaluations, step=step)


def second_steps(parameters: Parameters, stencil: Stencil) -> Any:
    """Return the default steps of second derivatives, as they are taken, in the structure of x."""
    steps = [np.empty(0)]
    for x in parameters.leaves:
        h = np.finfo(x.dtype).eps ** (1 / (stencil.order + 2)) * np.maximum(1, np.abs(x))
        steps.append(taken(x, h).reshape(-1))
    return parameters.assemble(np.concatenate(steps))

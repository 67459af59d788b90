"""The Hessian of any function, from its values alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from fastgrad import executors
from fastgrad.arguments import check, point_by_point
from fastgrad.engine import differentiate
from fastgrad.info import told
from fastgrad.objectives.second_order import SecondOrder
from fastgrad.stencils import CENTRAL
from fastgrad.step_sizes import taken
from fastgrad.steps import Steps
from fastgrad.structures import Parameters


def hessian(
    f: Callable[..., Any],
    x: Any,
    h: Any = None,
    *,
    args: tuple[Any, ...] = (),
    workers: int | None = None,
    backend: str | None = None,
    nonfinite: Literal["raise", "keep"] = "raise",
    progress: bool = False,
    full_output: bool = False,
) -> Any:
    """Return the second derivatives of `f` at `x` by finite differences.

    On the diagonal it is ``(f(x + h_i) - 2 f(x) + f(x - h_i)) / h_i**2``, and off the diagonal
    ``(f(x + h_i + h_j) - f(x + h_i - h_j) - f(x - h_i + h_j) + f(x - h_i - h_j)) / (4 h_i h_j)``
    ([1]_, 25.3.23 and 25.3.26), where h_i moves coordinate i. Both have an error of second order.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns a number. It may ignore its argument and read x from its closure:
        x is moved in place and put back. A function compiled by ``numba.njit`` is called point by
        point.
    x : ndarray of float, or number
        Where: one array of any shape. It holds the same bits after the call as before, also after
        an exception in f, Ctrl-C, or the loss of a worker.
    h : float or array of x's shape, optional
        The steps, absolute. By default ``eps**(1/4) * max(1, |x|)`` for each coordinate, with the
        eps of x's dtype: there truncation, h**2, and rounding, eps / h**2, are about equal.
    args : tuple, optional
        Further arguments of `f`.
    workers, backend : int and str, optional
        As for `numerical_gradient`, with "processes" where nothing else is said. An item of work is
        a row of the upper triangle.
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
    Costs ``1 + 2 n + 2 n (n - 1)`` evaluations of f for n coordinates. Where work is spread, one
    more here and one in each worker. Beside the result, its upper triangle is held once more.

    References
    ----------
    .. [1] M. Abramowitz, I. A. Stegun (eds.), Handbook of Mathematical Functions, National Bureau
       of Standards, 1964, section 25.3.

    Examples
    --------
    >>> hessian(lambda x: x[0] ** 2 * x[1], np.array([1.0, 2.0])).round(6)
    array([[4., 2.],
           [2., 0.]])
    """
    start = time.perf_counter()
    check(f, args, nonfinite)
    executor = executors.choose(workers, backend, default="processes")
    parameters = Parameters(x)
    if not isinstance(parameters.x, np.ndarray):
        raise TypeError(
            f"x must be one array, got a {type(x).__name__}; join its arrays with np.concatenate"
        )
    steps = Steps(parameters, CENTRAL, second_steps(parameters) if h is None else h, None)
    of_x = point_by_point(f, args, parameters)
    objective = SecondOrder(of_x, parameters, steps, nonfinite == "keep")
    vector, used = differentiate(objective, executor, progress=progress)
    result = objective.assemble(vector)
    if not full_output:
        return result
    evaluations = objective.evaluations + 2 * parameters.size**2
    step = steps.used(parameters)
    return result, told(start, used, value=objective.value, evaluations=evaluations, step=step)


def second_steps(parameters: Parameters) -> Any:
    """Return the default steps of second derivatives, as they are taken, in the structure of x."""
    steps = [np.empty(0)]
    for x in parameters.leaves:
        h = np.finfo(x.dtype).eps ** 0.25 * np.maximum(1, np.abs(x))
        steps.append(taken(x, h).reshape(-1))
    return parameters.assemble(np.concatenate(steps))

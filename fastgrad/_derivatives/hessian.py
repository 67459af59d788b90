"""The Hessian of any function, from its values alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from fastgrad._derivatives.arguments import Request, check_one_array
from fastgrad._derivatives.engine import differentiate
from fastgrad._formulas.second_order import SecondOrder, second
from fastgrad._formulas.stencils import Stencil, named
from fastgrad._formulas.step_sizes import StepSizes, second_steps
from fastgrad._formulas.steps import Steps


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
    bounds: Any = None,
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
    f, x, args, workers, backend, batched, bounds, nonfinite, progress, full_output
        As in `numerical_gradient`, for x that is one array. Rows and columns of fixed coordinates
        are 0.
    h : float or array of x's shape, optional
        The steps, absolute. By default ``eps**(1/(order + 2)) * max(1, |x|)`` for each coordinate,
        with the order of the stencil (2 for "central") and the eps of x's dtype: there truncation,
        h**order, and rounding, eps / h**2, are about equal.
    stencil : {"central", "forward", "backward", "five-point", "six-point"} or Stencil
        The formula, with weights w_a at offsets o_a. Off the diagonal it is taken along both
        coordinates, ``sum_ab w_a w_b f(x + o_a h_i + o_b h_j) / (h_i h_j)``. On the diagonal the
        formula for the second derivative on the same offsets is used, or on one more.

    Returns
    -------
    ndarray, shape x.shape + x.shape
        With the dtype of x, of a Series as a DataFrame with its labels. Symmetric to the bit: each
        pair of coordinates is evaluated once.

    Raises
    ------
    TypeError, ValueError, FloatingPointError, RuntimeError, Exception
        As in `numerical_gradient`.

    See Also
    --------
    hessian_vector_product : one direction alone.

    Notes
    -----
    Costs ``2 + 2 n + 2 n (n - 1)`` evaluations of f for "central" and n coordinates,
    ``2 + 2 n + n (n - 1) / 2`` for "forward" and "backward" ([2]_, 8.1), ``2 + 4 n + 8 n (n - 1)``
    and ``2 + 6 n + 18 n (n - 1)`` for "five-point" and "six-point"; near a bound, one more for each
    coordinate. Beside the result, its upper triangle is held once more.

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
    formula = named(stencil)
    request = Request(
        f, x, args, workers=workers, backend=backend, batched=batched, bounds=bounds,
        nonfinite=nonfinite, progress=progress, full_output=full_output,
    )  # fmt: skip
    parameters = request.parameters
    check_one_array(parameters, "hessian")

    def make(eps: float) -> SecondOrder:
        sizes = StepSizes(parameters, h, None, second_steps(formula.order), eps)
        steps = Steps(parameters, second(formula), sizes, request.bounds, keep_nan=request.keep)
        return SecondOrder(steps, full_output)

    found = differentiate(request, make)
    shape, dtype = parameters.leaves[0].shape, parameters.dtypes[0]
    rows = found.formula.hessian(found.rows, found.value)
    result = parameters.labelled(0, rows.astype(dtype).reshape(shape + shape), times=2)
    return request.answer(result, found)

"""The derivative of any function along one direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from fastgrad._derivatives.arguments import Request
from fastgrad._derivatives.engine import differentiate
from fastgrad._formulas.along import Along, Direction
from fastgrad._formulas.stencils import Stencil


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

    By default ``(f(x + h v) - f(x - h v)) / 2h``. It is what `numerical_gradient` or `jacobian`
    returns, times v; v is not normalised.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns a number or an array; else as in `numerical_gradient`.
    x, args, stencil, bounds, nonfinite, full_output
        As in `numerical_gradient`, without "complex"; the step in `Info` is that of t. Fixed
        coordinates do not move, whatever v says.
    v : like x
        The direction: of the structure and the shapes of x, finite. Along 0 the derivative is 0.
    h : float, optional
        The step of t, absolute. By default the largest with which no coordinate moves by more than
        the default step of `numerical_gradient`: ``1e-4 / max(|v|)`` for float64, so that twice as
        long a v gives twice the derivative.

    Returns
    -------
    ndarray, shape f.shape
        A NumPy number where f returns one.

    Raises
    ------
    TypeError, ValueError, FloatingPointError, Exception
        As in `numerical_gradient`; also if v moves nothing at this h, or leads out of the bounds
        forwards and backwards.

    Notes
    -----
    Costs what one coordinate of `numerical_gradient` does, three evaluations of f for "central".
    They are so few that they run here, one after the other, without workers.

    Examples
    --------
    >>> x = np.array([3.0, 4.0])
    >>> directional_derivative(lambda x: x[0] ** 2 + x[1] ** 2, x, [1.0, -1.0]).round(6)
    np.float64(-2.0)
    """
    request = Request(f, x, args, bounds=bounds, nonfinite=nonfinite, full_output=full_output)

    def make(eps: float) -> Along:
        direction = Direction(request.parameters, v, stencil, h, request.bounds, eps=eps)
        return Along(direction, full_output)

    found = differentiate(request, make, numbers=False)
    return request.answer(found.rows[0].reshape(found.shape)[()], found)

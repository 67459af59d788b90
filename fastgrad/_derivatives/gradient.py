"""The numerical gradient of any function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

from fastgrad._checks import check_flags
from fastgrad._derivatives.arguments import Request, check, make_steps
from fastgrad._derivatives.engine import differentiate
from fastgrad._derivatives.searches import check_rule, search
from fastgrad._formulas.complex_step import refuse_bounds
from fastgrad._formulas.coordinates import Coordinates
from fastgrad._formulas.stencils import Stencil, named
from fastgrad._formulas.step_sizes import StepSizes
from fastgrad._parallel.team import choose
from fastgrad._structures import Parameters


def numerical_gradient(
    f: Callable[..., Any],
    x: Any,
    h: Any = None,
    *,
    relative_step: float | None = None,
    args: tuple[Any, ...] = (),
    stencil: str | Stencil = "central",
    workers: int | None = None,
    backend: str | None = None,
    batched: bool = False,
    bounds: Any = None,
    nonfinite: Literal["raise", "keep"] = "raise",
    errors: Literal["raise", "nan"] = "raise",
    progress: bool = False,
    full_output: bool = False,
) -> Any:
    """Return the gradient of `f` at `x` by finite differences.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns a number. It gets arrays of its own at every evaluation, which it
        may keep and change. It may also read x from its closure, as in *Deep Learning from
        Scratch*: that is found out, and x is moved in place, one coordinate at a time, and put
        back. A function compiled by ``numba.njit`` is driven from a compiled loop.
    x : ndarray of float, number, pandas object, or dict, list or tuple of arrays
        Any shape, memory order and structure. It holds the same bits after the call as before,
        whatever happens. f gets an object of the same kind: a Series or a DataFrame with the
        labels of x where x is one. A `batched` f gets arrays.
    h : float, "auto", "quick", or array or structure like x, optional
        The step, absolute; one for each coordinate where x is an array and `h` has its shape, or
        a structure of numbers or arrays where x is one. By default the book's 1e-4 while
        ``|x| <= 10``, and beyond it the power of 2 next to ``1e-4 * |x| / 10``; where x or f are
        less precise than float64 ``eps**(1/3)`` while ``|x| <= 1``, and beyond it the power of 2
        next to ``eps**(1/3) * |x|``. Where rounding of ``x + h`` changes a step, the derivative is
        divided by what is left of it. "auto" and "quick" choose a step for each coordinate, and
        estimate the error: see the notes.
    relative_step : float, optional
        Instead of `h`: steps of ``relative_step * |x|``, and of `relative_step` where x is 0. No
        step is below the eps of x, 2.2e-16 for float64: f of size 1 would not see it.
    args : tuple, optional
        Further arguments of `f`.
    stencil : {"central", "forward", "backward", "five-point", "six-point", "complex"} or Stencil
        The formula; see `fastgrad.STENCILS`. "complex" is the complex step, ``Im f(x + ih) / h``
        [1]_ [2]_, by default with ``h = 1e-20 * min(1, |x|)``: exact to rounding, for f that is
        analytic and computes with its argument alone. f takes a complex copy of x, or many where
        `batched`, and returns a complex number for each. Anything in f that drops the imaginary
        part (abs, max, comparisons, ``.real``, ``.conj()``) makes the result wrong.
    workers : int, optional
        How many workers at most; -1 is one for each core. The result does not depend on it, and
        work too short to be worth sharing is not shared. None takes what
        ``joblib.parallel_config`` says, and 1 outside of it.
    backend : str, optional
        "threads", "processes", or the name of a joblib backend. None takes what
        ``joblib.parallel_config`` says, and outside of it threads for a compiled f and processes
        for any other.
    batched : bool, default False
        `f` takes many points at once, an array of shape ``(k, *x.shape)``, and returns k
        numbers. A batch takes at most 64 MiB.
    bounds : tuple, list of pairs, or scipy.optimize.Bounds, optional
        ``(lower, upper)``, each a number or like x; or ``[(lo, hi), ...]``, a pair for each
        coordinate in the order of ``x.ravel()``. Infinity and None stand for no bound. Nothing
        outside is evaluated: near a bound a one-sided formula of the same order is used, with a
        smaller step where not even that fits. A coordinate whose bounds are equal is fixed, as in
        ``scipy.optimize.minimize``: the derivative by it is 0, and costs nothing.
    nonfinite : {"raise", "keep"}
        What to do when f is not finite: raise, or carry on with it. "keep" also takes an x that
        holds NaN.
    errors : {"raise", "nan"}
        What to do when f raises an exception: hand it on, or carry on with NaN and note it in
        ``Info.failures``.
    progress : bool, default False
        Show a bar in evaluations, with the time left.
    full_output : bool, default False
        Return ``(gradient, info)`` with an `Info`.

    Returns
    -------
    ndarray, or dict, list or tuple of ndarray
        With the structure, the shapes, the dtypes and the labels of x.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; f has not been evaluated then.
    FloatingPointError
        If f is not finite somewhere; the message names the coordinate and the side.
    RuntimeError
        If f has another value in a worker than here: its copy does not see x move, say. If workers
        were killed again and again, or a cluster was lost.
    Exception
        What f raises, with a note that names the coordinate.

    See Also
    --------
    grad : the same as a function of x.
    fastgrad.reference.numerical_gradient : the plain loop.

    Notes
    -----
    Costs two evaluations of f a coordinate for "central", one for "forward", "backward" and
    "complex", four and six for "five-point" and "six-point". One more is f(x), where the formula,
    `bounds` or `full_output` ask for it; and one tells whether f reads x from outside. Where it
    does, two more are spent, and those that workers had begun. Where fast evaluations, or those of
    an f that reads x, are spread over processes, one here and one in each process prove that f does
    the same there. A compiled f costs one or two at x instead.

    ``h="auto"`` looks at f with two steps that are far apart, until both show the same slope: large
    ones alone may span whole periods of f. From the large one on, differences at falling steps are
    extrapolated to the step 0 [3]_ [4]_, and the value with the least estimated error is taken. f
    counts as not finite where it raises a ValueError, an ArithmeticError or a RuntimeWarning: the
    steps then stay nearer to x. Costs 6 evaluations a coordinate where f is a quadratic in it, some
    12 mostly, more where f is noisy or has a kink, and some 300 at the very most; and two for f(x).

    ``h="quick"`` extrapolates two central differences: 4 evaluations a coordinate, and two for
    f(x). Where their slopes or curvatures differ by more than they do for smooth functions, this is
    "auto".

    Workers use as many BLAS threads as the caller: the bits of a matrix product depend on that
    number. For an f that spends its time in BLAS, call inside
    ``threadpoolctl.threadpool_limits(1)`` to have whole workers instead.

    References
    ----------
    .. [1] W. Squire, G. Trapp, Using complex variables to estimate derivatives of real functions,
       SIAM Review 40 (1998), 110-112.
    .. [2] J. R. R. A. Martins, P. Sturdza, J. J. Alonso, The complex-step derivative
       approximation, ACM Transactions on Mathematical Software 29 (2003), 245-262.
    .. [3] L. F. Richardson, The deferred approach to the limit, Philosophical Transactions of the
       Royal Society A 226 (1927), 299-361.
    .. [4] C. J. F. Ridders, Accurate computation of F'(x) and F'(x) F''(x), Advances in Engineering
       Software 4 (1982), 75-76.

    Examples
    --------
    >>> numerical_gradient(lambda x: x[0] ** 2 + x[1] ** 3, np.array([3.0, 4.0])).round(6)
    array([ 6., 48.])
    >>> numerical_gradient(lambda p: p["a"] * p["b"][0], {"a": 2.0, "b": np.array([5.0])})
    {'a': array(5.), 'b': array([2.])}
    >>> gradient, info = numerical_gradient(np.sin, np.array(1.0), "auto", full_output=True)
    >>> bool(abs(gradient - np.cos(1.0)) < info.error < 1e-13)
    True
    """
    request = Request(
        f, x, args, stencil=stencil, workers=workers, backend=backend, batched=batched,
        bounds=bounds, nonfinite=nonfinite, errors=errors, progress=progress,
        full_output=full_output,
    )  # fmt: skip
    if isinstance(h, str):
        check_rule(h, relative_step, stencil)
        found = search(request, h)
        return request.answer(request.parameters.assemble(found.rows["derivative"]), found)

    def make(eps: float) -> Coordinates:
        return Coordinates(make_steps(request, stencil, h, relative_step, eps), full_output)

    found = differentiate(request, make)
    return request.answer(request.parameters.assemble(found.rows), found)


def grad(
    f: Callable[..., Any],
    h: Any = None,
    *,
    relative_step: float | None = None,
    stencil: str | Stencil = "central",
    workers: int | None = None,
    backend: str | None = None,
    batched: bool = False,
    bounds: Any = None,
    nonfinite: Literal["raise", "keep"] = "keep",
    errors: Literal["raise", "nan"] = "raise",
    progress: bool = False,
) -> Callable[..., Any]:
    """Return the function ``g(x, *args)`` that is the numerical gradient of ``f(x, *args)``.

    Takes the options of `numerical_gradient`. Where f is not finite the gradient is not, either,
    unless `nonfinite` is "raise": optimizers try such points, and turn back.

    For SciPy: ``scipy.optimize.minimize(f, x0, jac=fastgrad.grad(f, workers=2))``.

    Examples
    --------
    >>> grad(lambda x, a: a * x**2)(np.array(3.0), 5.0).round(6)
    np.float64(30.0)
    """
    check(f, (), nonfinite, errors)
    check_flags(batched=batched, progress=progress)
    if isinstance(h, str):
        check_rule(h, relative_step, stencil)
    elif stencil == "complex":
        refuse_bounds(bounds)
    else:
        named(stencil, "complex")
    if not hasattr(h, "__len__"):  # Others have the structure of x.
        StepSizes(Parameters(()), h, relative_step)
    choose(workers, backend)
    derivative = functools.partial(
        numerical_gradient, f, h=h, relative_step=relative_step, stencil=stencil, workers=workers,
        backend=backend, batched=batched, bounds=bounds, nonfinite=nonfinite, errors=errors,
        progress=progress,
    )  # fmt: skip

    @functools.wraps(f, assigned=("__module__",), updated=())
    def gradient(x: Any, *args: Any) -> Any:
        return derivative(x, args=args)

    return gradient

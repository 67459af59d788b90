"""The numerical gradient of any function."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from fastgrad import executors
from fastgrad.arguments import (
    Kinds,
    by_steps,
    check,
    compiled,
    one_array,
    point_by_point,
)
from fastgrad.complex_step import ComplexSteps, refuse_bounds
from fastgrad.engine import differentiate
from fastgrad.info import told
from fastgrad.objectives.adaptive import Adaptive, check_rule
from fastgrad.objectives.batched import Batched
from fastgrad.objectives.black_box import BlackBox
from fastgrad.stencils import Stencil, named
from fastgrad.steps import Steps
from fastgrad.structures import Parameters

if TYPE_CHECKING:
    from fastgrad.objectives.jitted import Jitted


@functools.cache
def _jitted() -> Callable[..., Any]:
    from fastgrad.objectives.jitted import Jitted

    return Jitted.of


@functools.cache
def _short_work() -> Callable[..., Any]:
    from fastgrad import short_work

    return short_work.gradient


FIRST_ORDER = Kinds(BlackBox, Batched, _jitted)


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
    bounds: tuple[Any, Any] | None = None,
    nonfinite: Literal["raise", "keep"] = "raise",
    progress: bool = False,
    full_output: bool = False,
) -> Any:
    """Return the gradient of `f` at `x` by finite differences.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns a number. It may ignore its argument and read x from its closure,
        as in *Deep Learning from Scratch*: x is moved in place, one coordinate at a time, and put
        back. A function compiled by ``numba.njit`` is driven from a compiled loop.
    x : ndarray of float, number, or dict, list or tuple of arrays
        Where. Any shape, memory order and structure. It holds the same bits after the call as
        before: after success, an exception in f, Ctrl-C, or the loss of a worker.
    h : float, "auto", "quick", or array or structure like x, optional
        The step, absolute; one for each coordinate where x is an array and `h` has its shape, or
        a structure of numbers or arrays where x is one. By default the book's 1e-4, and
        ``eps**(1/3) * max(1, |x|)`` for arrays of less precision than float64. "auto" and "quick"
        choose a step for each coordinate, and estimate the error: see the notes.
    relative_step : float, optional
        Instead of `h`: steps of ``relative_step * |x|``, and of `relative_step` where x is 0. Below
        float64 it is the step that is left of that after ``x + h`` has been rounded.
    args : tuple, optional
        Further arguments of `f`.
    stencil : {"central", "forward", "backward", "five-point", "six-point", "complex"} or Stencil
        The formula; see `fastgrad.STENCILS`. "complex" is the complex step, ``Im f(x + ih) / h``
        [1]_ [2]_, by default with ``h = 1e-20 * min(1, |x|)``: exact to rounding, for f that is
        analytic and computes with its argument alone. f takes a complex copy of x (complex128,
        of its structure), or many where `batched`, and returns a complex number for each. Anything
        in f that drops the imaginary part (abs, max, comparisons, ``.real``, ``.conj()``) makes the
        result wrong. A compiled f is called from Python, and compiled for complex numbers by numba.
    workers : int, optional
        How many workers at most; -1 is one for each core. The result does not depend on it, and
        work too short to be worth sharing is not shared. None takes what
        ``joblib.parallel_config`` says, and 1 outside of it.
    backend : str, optional
        "threads", "processes", or the name of a joblib backend. None takes what
        ``joblib.parallel_config`` says, and outside of it threads for a compiled f and processes
        for any other.
    batched : bool, default False
        `f` takes many points at once, a read-only array of shape ``(k, *x.shape)``, and returns k
        numbers. A batch takes at most 64 MiB.
    bounds : tuple, optional
        ``(lower, upper)``, each a number or like x; infinity is allowed. Nothing outside is
        evaluated: near a bound a one-sided formula of the same order is used, with a smaller step
        where not even that fits.
    nonfinite : {"raise", "keep"}
        What to do when f is not finite: raise, or carry on with it.
    progress : bool, default False
        Show a bar with the time left.
    full_output : bool, default False
        Return ``(gradient, info)`` with an `Info`.

    Returns
    -------
    ndarray, or dict, list or tuple of ndarray
        Of the structure, the shapes and the dtypes of x.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; f has not been evaluated then.
    FloatingPointError
        If f is not finite somewhere; the message names the coordinate and the side.
    RuntimeError
        If the copy of f in a worker does not see x move, or workers were killed again and again.
    Exception
        What f raises, with a note that names the coordinate.

    See Also
    --------
    grad : the same as a function of x.
    fastgrad.reference.numerical_gradient : the plain loop.

    Notes
    -----
    Costs two evaluations of f a coordinate for "central", one for "forward", "backward" and
    "complex" and one in all, four and six for "five-point" and "six-point"; one more with `bounds`
    or `full_output`, for a compiled f one or two more. Where work is spread, one more here and one
    in each worker prove that the worker's copy of f sees its copy of x. Whether that pays is told
    by the time that the first coordinates take.

    ``h="auto"`` extrapolates central differences to the step 0 [3]_: at steps that halve, from a
    quarter to a half of the size of the coordinate on, and, as soon as these would do, at steps
    between them: as much truncation goes, and larger steps mean less rounding. Rows are added until
    truncation is less than rounding. The value with the least estimated error is taken, as
    in [4]_. Where no truncation shows, steps grow; where differences do not converge, or f is not
    finite, they shrink; near a bound, differences to one side are extrapolated. The error is
    estimated from how far a value moves without its largest and without its smallest step, from the
    rounding of f, and from the mean of ``f(x + h)`` and ``f(x - h)``, which shares the series and
    tends to f(x): if it stops to do so, f has noise or a kink. Costs 4 evaluations a coordinate
    where f is a quadratic in it, 6 for a polynomial of degree 4, 8 to 14 mostly, 20 and more where
    the size of x misleads, and some 200 at the very most; and one for f(x).

    ``h="quick"`` takes the step ``(3 eps |f| / |third derivative|)**(1/3)`` at which truncation and
    rounding of the central difference are balanced, the third derivative estimated from four
    values at a larger step [5]_ [6]_. Costs 5 evaluations a coordinate, 3 where the larger step
    will do, and one for f(x). It sees no noise but rounding.

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
    .. [5] J. Dumontet and J. Vignes, Détermination du pas optimal dans le calcul des dérivées sur
       ordinateur, RAIRO Analyse numérique 11 (1977), 13-25.
    .. [6] A. V. Kostyrka, pnd, an R package of parallel numerical derivatives: ``step.plugin``.

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
    start = time.perf_counter()
    check(f, args, nonfinite)
    by_numba = compiled(f)
    executor = executors.choose(workers, backend, compiled=by_numba)
    keep = nonfinite == "keep"
    special = batched or keep or progress or full_output
    if by_numba and not special and relative_step is None and bounds is None:
        short = _short_work()(f, x, h, args, stencil, executor)
        if short is not None:
            return short
    parameters = Parameters(x)
    if batched:
        one_array(parameters)
    objective: Adaptive | Batched | BlackBox | Jitted
    steps: Steps | None = None
    if isinstance(h, str):
        check_rule(h, relative_step, stencil, batched)
        objective = Adaptive(point_by_point(f, args, parameters), parameters, h, bounds, keep)
    elif stencil == "complex":
        steps = ComplexSteps(parameters, h, relative_step, bounds)
        of_x, kind = point_by_point(f, args, parameters), Batched if batched else BlackBox
        objective = kind(of_x, parameters.complex_copy(), steps, keep)
    else:
        steps = Steps(parameters, named(stencil, "complex"), h, bounds, relative_step)
        objective = by_steps(FIRST_ORDER, f, parameters, args, steps, keep, batched)
    vector, used = differentiate(objective, executor, progress=progress)
    gradient = parameters.assemble(vector if steps else vector["derivative"])
    if not full_output:
        return gradient
    if math.isnan(objective.value):
        objective.evaluate()
    return gradient, told(
        start,
        used,
        value=objective.value,
        evaluations=objective.evaluations
        + (steps.evaluations(parameters) if steps else int(vector["count"].sum())),
        step=steps.used(parameters) if steps else parameters.assemble(vector["step"]),
        error=None if steps else parameters.assemble(vector["error"]),
    )


def grad(
    f: Callable[..., Any],
    h: Any = None,
    *,
    relative_step: float | None = None,
    stencil: str | Stencil = "central",
    workers: int | None = None,
    backend: str | None = None,
    batched: bool = False,
    bounds: tuple[Any, Any] | None = None,
    nonfinite: Literal["raise", "keep"] = "raise",
    progress: bool = False,
) -> Callable[..., Any]:
    """Return the function ``g(x, *args)`` that is the numerical gradient of ``f(x, *args)``.

    Takes the options of `numerical_gradient`.

    Examples
    --------
    >>> grad(lambda x, a: a * x**2)(np.array(3.0), 5.0).round(6)
    np.float64(30.0)

    A gradient for SciPy, on two workers::

        scipy.optimize.minimize(f, x0, jac=fastgrad.grad(f, workers=2))
    """
    check(f, (), nonfinite)
    if isinstance(h, str):
        check_rule(h, relative_step, stencil, batched)
    elif stencil == "complex":
        refuse_bounds(bounds)
    else:
        named(stencil, "complex")
    executors.choose(workers, backend)

    @functools.wraps(f, assigned=("__module__",), updated=())
    def gradient(x: Any, *args: Any) -> Any:
        return numerical_gradient(
            f,
            x,
            h,
            relative_step=relative_step,
            args=args,
            stencil=stencil,
            workers=workers,
            backend=backend,
            batched=batched,
            bounds=bounds,
            nonfinite=nonfinite,
            progress=progress,
        )

    return gradient

"""The numerical gradient of any function."""

from __future__ import annotations

import functools
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastgrad import executors
from fastgrad.engine import differentiate
from fastgrad.objectives.batched import Batched
from fastgrad.objectives.black_box import BlackBox
from fastgrad.stencils import Stencil, named
from fastgrad.steps import Steps
from fastgrad.structures import Parameters

if TYPE_CHECKING:
    from fastgrad.objectives.jitted import Jitted


@dataclass(frozen=True)
class Info:
    """What `numerical_gradient` did.

    Attributes
    ----------
    value : float
        f(x).
    evaluations : int
        How often f was evaluated here and in the workers, without the one call in which each worker
        proves that its copy of f works.
    step : float, ndarray or structure
        h; where it differs between coordinates in the structure of x.
    seconds : float
        Duration of the call.
    backend : str
        "serial", "threads", "processes" or the name of joblib's backend that did the work.
    workers : int
        How many workers did it.
    """

    value: float
    evaluations: int
    step: Any
    seconds: float
    backend: str
    workers: int


def numerical_gradient(
    f: Callable[..., Any],
    x: Any,
    h: float | None = None,
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
    h : float, optional
        The step, absolute. By default the book's 1e-4, and ``eps**(1/3) * max(1, |x|)`` for
        arrays of less precision than float64.
    args : tuple, optional
        Further arguments of `f`.
    stencil : {"central", "forward", "backward", "five-point", "six-point"} or Stencil
        The formula; see `fastgrad.STENCILS`.
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
    Costs two evaluations of f a coordinate for "central", one for "forward" and "backward" and one
    in all, four and six for "five-point" and "six-point"; one more with `bounds` or
    `full_output`, for a compiled f one or two more. Where work is spread, one more here and one in
    each worker prove that the worker's copy of f sees its copy of x. Whether that pays is told by
    the time that the first coordinates take.

    Workers use as many BLAS threads as the caller: the bits of a matrix product depend on that
    number. For an f that spends its time in BLAS, call inside
    ``threadpoolctl.threadpool_limits(1)`` to have whole workers instead.

    Examples
    --------
    >>> numerical_gradient(lambda x: x[0] ** 2 + x[1] ** 3, np.array([3.0, 4.0])).round(6)
    array([ 6., 48.])
    >>> numerical_gradient(lambda p: p["a"] * p["b"][0], {"a": 2.0, "b": np.array([5.0])})
    {'a': array(5.), 'b': array([2.])}
    """
    start = time.perf_counter()
    _check(f, args, nonfinite)
    compiled = _compiled(f)
    executor = executors.choose(workers, backend, default="threads" if compiled else "processes")
    parameters = Parameters(x)
    steps = Steps(parameters, named(stencil), h, bounds)
    keep = nonfinite == "keep"
    objective: Batched | BlackBox | Jitted
    if batched:
        if not isinstance(parameters.x, np.ndarray):
            raise TypeError(f"x must be one array where batched=True, got a {type(x).__name__}")
        objective = Batched(_with(args, f), parameters, steps, keep)
    else:
        driven = _driven(f, parameters, args, steps, keep) if compiled else None
        objective = driven or BlackBox(_with(args, f), parameters, steps, keep)
    vector, used = differentiate(objective, executor, progress=progress)
    gradient = parameters.assemble(vector)
    if not full_output:
        return gradient
    if math.isnan(objective.value):
        objective.evaluate()
    return gradient, Info(
        value=objective.value,
        evaluations=objective.evaluations + steps.evaluations(parameters),
        step=steps.used(parameters),
        seconds=time.perf_counter() - start,
        backend={"fastgrad-threads": "threads", "loky": "processes"}.get(used.name, used.name),
        workers=used.workers,
    )


def grad(
    f: Callable[..., Any],
    h: float | None = None,
    *,
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
    _check(f, (), nonfinite)
    named(stencil)
    executors.choose(workers, backend)

    @functools.wraps(f, assigned=("__module__",), updated=())
    def gradient(x: Any, *args: Any) -> Any:
        return numerical_gradient(
            f,
            x,
            h,
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


def _check(f: object, args: object, nonfinite: object) -> None:
    if not callable(f):
        raise TypeError(f"f must be callable, got {f!r}")
    if not isinstance(args, tuple):
        raise TypeError(f"args must be a tuple, got {args!r}; for one argument pass (argument,)")
    if not isinstance(nonfinite, str) or nonfinite not in ("raise", "keep"):
        raise ValueError(f"nonfinite must be 'raise' or 'keep', got {nonfinite!r}")


def _with(args: tuple[Any, ...], f: Callable[..., Any]) -> Callable[[Any], Any]:
    return (lambda x: f(x, *args)) if args else f


def _compiled(f: object) -> bool:
    """Tell whether `f` was compiled by numba, without importing it for functions that are not."""
    dispatcher = sys.modules.get("numba.core.dispatcher")
    return dispatcher is not None and isinstance(f, dispatcher.Dispatcher)


def _driven(
    f: Any, parameters: Parameters, args: tuple[Any, ...], steps: Steps, keep: bool
) -> Jitted | None:
    """Return the objective for a compiled `f`, or None where only Python can call it."""
    from fastgrad.objectives.jitted import Jitted, drivable

    if not drivable(parameters.x):
        return None
    objective = Jitted(f, parameters, args, steps, keep)
    return objective if objective.returns_number else None

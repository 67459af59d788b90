"""Check a gradient against the numerical one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastgrad import executors
from fastgrad._typing import Array
from fastgrad.arguments import check, one_array, with_args
from fastgrad.check_report import CheckReport
from fastgrad.comparison import check_tolerances, compare
from fastgrad.gradient import numerical_gradient
from fastgrad.stencils import Stencil, named
from fastgrad.steps import Steps
from fastgrad.structures import Parameters


class GradientMismatch(AssertionError):  # noqa: N818, it is what assert_gradient is named after
    """A gradient that is not the derivative of its function. `report` is the `CheckReport`."""

    def __init__(self, report: CheckReport) -> None:
        super().__init__(report)
        self.report = report


def check_gradient(
    f: Callable[..., Any],
    x: Any,
    gradient: Any,
    *,
    h: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    stencil: str | Stencil = "central",
    args: tuple[Any, ...] = (),
    workers: int | None = None,
    backend: str | None = None,
    batched: bool = False,
    bounds: tuple[Any, Any] | None = None,
    progress: bool = False,
) -> CheckReport:
    """Compare a gradient with the numerical one, in every entry, and say what is wrong with it.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns a number, as for `numerical_gradient`.
    x : ndarray of float, number, or dict, list or tuple of arrays
        Where. It holds the same bits after the call as before.
    gradient : callable, or like x
        ``gradient(x, *args)``, or what it returns: real numbers in the structure and the shapes
        of x.
    h, stencil, workers, backend, batched, bounds, progress
        As for `numerical_gradient`, without "auto", "quick" and "complex". `gradient` is called
        with x itself where f is `batched`.
    rtol, atol : float, optional
        An entry passes where ``|gradient - numerical| <= atol + rtol * max(|gradient|,
        |numerical|)``. If one of them is given, that alone decides, see Notes.
    args : tuple, optional
        Further arguments of `f`, and of `gradient` where it is called.

    Returns
    -------
    CheckReport
        Prints as a table; ``report.passed``, and one `ArrayCheck` an array in ``report.arrays``.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; f has not been evaluated then. A gradient that changes x is
        refused too, and x put back.
    FloatingPointError, RuntimeError, Exception
        As for `numerical_gradient`, and what `gradient` raises.

    See Also
    --------
    assert_gradient : the same as an assertion.
    fastgrad.TwoLayerNet.check_gradient : for the network, in milliseconds.

    Notes
    -----
    Costs an evaluation of f more than `numerical_gradient`. Without `rtol` and `atol` they are
    derived from f(x), the step, the formula and the dtypes, see `fastgrad.agreement`; nobody can
    know beforehand how strongly f is curved, or how noisy it is. So where entries differ, the three
    worst of each array are looked at with about 80 evaluations, and if truncation or noise account
    for some of it, the gradient has to agree with the limit of the differences with h, h / 2,
    h / 4 ... (Richardson's extrapolation, see `fastgrad.limit`). That costs as much again, once or
    twice as a rule and four times at most, and decides: a right gradient passes also with a
    one-sided formula, whose truncation is of the size of h. What is wrong is then told from the
    limit. With `bounds`, these looks stay within them, too; a kink cannot be seen at a bound.

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> check_gradient(lambda x: np.sum(x**2), x, lambda x: 2 * x).passed
    True
    >>> print(check_gradient(lambda x: np.sum(x**2), x, lambda x: -2 * x).diagnosis)
    x: 3 of 3 entries differ, wrong sign: the gradient is the right one times -1
    """
    check(f, args, "raise")
    check_tolerances(rtol, atol)
    executors.choose(workers, backend)
    parameters, formula = Parameters(x), named(stencil)
    if batched:
        one_array(parameters)
    steps = Steps(parameters, formula, h, bounds)
    given = parameters.matching(_value(gradient, parameters, args), "gradient")
    of_x = with_args(args, f)

    def numerical(h: Any) -> Any:
        return numerical_gradient(
            f,
            parameters.x,
            h,
            args=args,
            stencil=formula,
            workers=workers,
            backend=backend,
            batched=batched,
            bounds=bounds,
            progress=progress,
        )

    used = steps.used(parameters)
    label = f"h = {used:g}" if isinstance(used, float) else "h of each coordinate"
    return compare(
        (lambda x: of_x(x[np.newaxis])) if batched else of_x,
        parameters,
        given,
        numerical,
        h=h,
        steps=steps,
        rtol=rtol,
        atol=atol,
        title=f"gradient against finite differences of order {formula.order}, {label}",
    )


def assert_gradient(
    f: Callable[..., Any],
    x: Any,
    gradient: Any,
    *,
    h: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    stencil: str | Stencil = "central",
    args: tuple[Any, ...] = (),
    workers: int | None = None,
    backend: str | None = None,
    batched: bool = False,
    bounds: tuple[Any, Any] | None = None,
    progress: bool = False,
) -> None:
    """Raise `GradientMismatch` with the report unless the gradient is right.

    Takes the arguments of `check_gradient`, raises what it raises.

    Examples
    --------
    >>> assert_gradient(lambda x: np.sum(x**3), np.array([1.0, 2.0]), lambda x: 3 * x**2)
    """
    report = check_gradient(
        f,
        x,
        gradient,
        h=h,
        rtol=rtol,
        atol=atol,
        stencil=stencil,
        args=args,
        workers=workers,
        backend=backend,
        batched=batched,
        bounds=bounds,
        progress=progress,
    )
    if not report.passed:
        raise GradientMismatch(report)


def _value(gradient: Any, parameters: Parameters, args: tuple[Any, ...]) -> Any:
    """Return the gradient, called if it can be; x is put back and the caller told if it moved."""
    if not callable(gradient):
        return gradient
    saved = [leaf.copy() for leaf in parameters.leaves]
    changed: list[str] = []
    try:
        value = gradient(parameters.x, *args)
    finally:
        changed = _put_back(parameters, saved)
    if changed:
        raise ValueError(f"gradient must leave x as it is, but it changed {', '.join(changed)}")
    return value


def _put_back(parameters: Parameters, saved: list[Array]) -> list[str]:
    """Restore x and return the names of the arrays that had changed."""
    changed = []
    for name, leaf, copy in zip(parameters.names, parameters.leaves, saved, strict=True):
        if not np.array_equal(leaf, copy) or leaf.tobytes() != copy.tobytes():
            leaf[...] = copy
            changed.append(name)
    return changed

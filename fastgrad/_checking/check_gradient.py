"""Check a gradient against the numerical one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastgrad._checking.compare import Problem, Side, find_kinks, judge, spare
from fastgrad._checking.explain import explain
from fastgrad._checking.report import CheckReport, array_check
from fastgrad._checks import check_flags, positive
from fastgrad._derivatives.arguments import check, check_one_array
from fastgrad._derivatives.gradient import numerical_gradient
from fastgrad._evaluation.in_place import restore
from fastgrad._formulas.stencils import CENTRAL, Stencil, named
from fastgrad._formulas.step_sizes import BOOK_STEP, EPS
from fastgrad._structures import Parameters


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
        The point. It holds the same bits after the call as before.
    gradient : callable, or like x
        ``gradient(x, *args)``, or what it returns: real numbers in the structure and shapes of x.
    h, stencil, args, workers, backend, batched, bounds, progress
        As for `numerical_gradient`, but `h` is the book's 1e-4 also beyond ``|x| = 10``; without
        "auto", "quick" and "complex". `gradient` gets one x also where f is `batched`.
    rtol : float, optional
        What may differ, beside the larger of the two entries. By default a part in 1e5, and
        ``sqrt(eps)`` below float64. 0 asks for full precision: entries may then differ by rounding
        and truncation only.
    atol : float, optional
        If it is given, an entry passes where ``|gradient - numerical| <= atol + rtol *
        max(|gradient|, |numerical|)``, and nothing else is allowed for.

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

    Notes
    -----
    Costs ``2 n + 3`` evaluations of f. Where entries of an array differ, 20 to 40 more tell how
    noisy f is, and for up to 16 entries ``h="auto"`` finds the derivative, with some 10 to 30 each.
    If more entries differ, and the step matters, the whole gradient is taken twice more. So a right
    gradient passes also where h is too large or too small for f, and the report says so. It says so
    too where no differences can tell, because rounding of f hides entries or f is too steep: these
    entries pass.

    Differences below 3e-4 of the largest entry that are spread over the whole gradient and stay
    with h pass, too, and are told: such is the 1e-7 in the loss of *Deep Learning from Scratch*,
    which its backprop leaves out. A given `rtol` lets none of these pass.

    The report names a mistake only if undoing it makes the entries agree.

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> print(check_gradient(lambda x: np.sum(x**2), x, lambda x: -2 * x).diagnosis)
    x: 3 of 3 entries differ, wrong sign. The gradient is the right one times -1.
    """
    check(f, args, "raise")
    check_flags(batched=batched, progress=progress)
    check_tolerances(rtol=rtol, atol=atol)
    formula, parameters = named(stencil), Parameters(x)
    if batched:
        check_one_array(parameters, "batched=True")
    given = parameters.rebuild(parameters.matching(_value(gradient, parameters, args), "gradient"))
    differences = functools.partial(
        numerical_gradient, f, x, args=args, stencil=formula, workers=workers, backend=backend,
        batched=batched, bounds=bounds, progress=progress,
    )  # fmt: skip
    found, info = differences(_book_steps(parameters) if h is None else h, full_output=True)
    label = f"h = {info.step:g}" if isinstance(info.step, float) else "h of each coordinate"
    return compare(
        lambda x: f(np.expand_dims(x, 0) if batched else x, *args), x, given,
        lambda h: found if h is info.step else differences(h), h=info.step, rtol=rtol, atol=atol,
        title=f"gradient against finite differences of order {formula.order}, {label}",
        stencil=formula, bounds=bounds,
    )  # fmt: skip


def assert_gradient(
    f: Callable[..., Any], x: Any, gradient: Any, *, h: Any = None, rtol: float | None = None,
    atol: float | None = None, stencil: str | Stencil = "central", args: tuple[Any, ...] = (),
    workers: int | None = None, backend: str | None = None, batched: bool = False,
    bounds: tuple[Any, Any] | None = None, progress: bool = False,
) -> None:  # fmt: skip
    """Raise `GradientMismatch` with the report unless the gradient is right.

    Takes the arguments of `check_gradient`, raises what it raises.

    Examples
    --------
    >>> assert_gradient(lambda x: np.sum(x**3), np.array([1.0, 2.0]), lambda x: 3 * x**2)
    """
    report = check_gradient(
        f, x, gradient, h=h, rtol=rtol, atol=atol, stencil=stencil, args=args, workers=workers,
        backend=backend, batched=batched, bounds=bounds, progress=progress,
    )  # fmt: skip
    if not report.passed:
        raise GradientMismatch(report)


def compare(
    f: Callable[[Any], Any], x: Any, gradient: Any, numerical: Callable[[Any], Any], *,
    h: Any, title: str, rtol: float | None = None, atol: float | None = None, name: str = "x",
    stencil: Stencil = CENTRAL, bounds: tuple[Any, Any] | None = None,
) -> CheckReport:  # fmt: skip
    """Return the report on a gradient whose numerical one comes from elsewhere.

    `numerical` takes steps, `h` at first, and returns the numerical gradient by `stencil`, near
    bounds by one-sided formulas. `name` is how the caller writes x.
    """
    check_tolerances(rtol=rtol, atol=atol)
    parameters = Parameters(x)
    given, found = parameters.matching(gradient, "gradient"), parameters.matching(numerical(h), "f")
    problem = Problem(f, parameters, numerical, h, stencil, bounds, rtol, atol, name)
    arrays = {}
    with np.errstate(all="ignore"):
        sides = [Side(problem, k, *pair) for k, pair in enumerate(zip(given, found, strict=True))]
        for side in sides:
            judge(side)
        spare(problem, sides)
        for side in sides:
            find_kinks(side)
        for side, leaf, place in zip(sides, parameters.leaves, parameters.names, strict=True):
            key, finding = name + place[1:], explain(side, sides)
            parts = side.gradient, side.limit, side.wrong, side.blur
            shaped = [part.reshape(leaf.shape) for part in parts]
            arrays[key] = array_check(key, shaped, side.rtol, finding)
    return CheckReport(arrays, title)


def check_tolerances(**tolerances: Any) -> None:
    """Refuse what is not a tolerance."""
    for name, value in tolerances.items():
        if value is not None:
            positive(name, value, zero=True)


def _book_steps(parameters: Parameters) -> Any:
    """Return the book's step at any |x|, as f may vary on its scale; below float64 longer ones.

    There rounding of f would hide what is to be seen: ``eps**(1/3) * max(1, |x|)``.
    """
    eps = parameters.eps(range(parameters.size))
    if np.all(eps <= EPS):
        return BOOK_STEP
    size = np.maximum(1, np.abs(parameters.vector()))
    return parameters.assemble(np.where(eps <= EPS, BOOK_STEP, np.cbrt(eps) * size))


def _value(gradient: Any, parameters: Parameters, args: tuple[Any, ...]) -> Any:
    """Return the gradient, called if it can be; x is put back and the caller told if it moved."""
    if not callable(gradient):
        return gradient
    saved = [leaf.copy() for leaf in parameters.leaves]
    try:
        value = gradient(parameters.x, *args)
        pairs = zip(parameters.names, parameters.leaves, saved, strict=True)
        changed = [name for name, leaf, copy in pairs if leaf.tobytes() != copy.tobytes()]
    finally:
        restore(parameters, saved)
    if changed:
        raise ValueError(f"gradient must leave x as it is, but it changed {', '.join(changed)}")
    return value
